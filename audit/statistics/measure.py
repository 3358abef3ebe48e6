"""What a measure is: one record that contains everything known about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import Role
from audit.statistics.outputs import Move, Outputs
from audit.statistics.patient_sums import Scale

Values = NDArray[np.float64]
Over = Literal["images", "classes", "each class"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """Everything that is known about one measure."""

    name: str
    """Its name in files, rules and on the command line."""
    words: str
    """What it is."""
    unit: str
    """Its unit and range."""
    of: Literal["network", "edit", "control"]
    """network: how good a network is as it is, so that under a condition its change from the unedited images is reported; edit: what an
    edit does; control: what is measured of a condition that must change nothing."""
    better: Literal["higher", "lower", "near 0"]
    """Which way a network should lie; of a change from clean near 0, or the way that the measure itself should go."""
    scale: Scale
    """Where the value of one image lies, before any difference is taken."""
    counted: bool = False
    """Whether values are counts, or averages of counts over draws."""
    over: Over = "images"
    """images: its mean over images; classes: the mean over the classes of their means; each class: a figure for each."""
    change: Callable[[Move], Values] | None = None
    """(n,) what one draw of a condition does to each image; None where it has no number of its own for each image."""
    clean: Callable[[Outputs], Values] | None = None
    """(n,) its value on each unedited image; of an unbounded measure their spread is its natural unit."""
    toward: Callable[[Move, NDArray[np.int64]], Values] | None = None
    """(n,) how far each image moves towards a class, given for each: that of the edit's donor."""
    made_of: str = ""
    """Measure whose numbers for each image it is made of; empty where they are its own, or there are none."""
    turned: bool = False
    """Whether these change their sign."""
    standardised: bool = False
    """Whether these are divided by their natural unit, which differs between networks."""
    on_clean: bool = False
    """Whether its value on the unedited images is reported."""
    of_findings: str = ""
    """What it is of all outputs of a multi-label network together; empty where `words` say it."""
    of_outputs: bool = False
    """Whether it is measured of multi-label networks alone."""
    by_group: bool = False
    """Whether that value is also compared between groups of images."""
    headline_of: Role | None = None
    """Role of the judged conditions that it sums up, compared with their placebos."""
    judged_of: Role | None = None
    """Role of the judged conditions under which it is compared with its tolerance."""
    judged_in_groups: bool = False
    """Whether it is judged for each class, and for each common word where the edit removes text."""
    corrects: str = ""
    """Measure of which it is the value with a text finder that misses nothing; empty for all others."""
    tolerance: float | None = None
    """Largest effect that counts as small where no other is set, absolute; None where it is never judged."""
    one_sided: bool = False
    """Whether only the harmful side is meaningful. For sufficiency, the placebo itself keeps part of the image, so an
    irrelevant part may well predict less than its placebo."""
    tabled: bool = False
    """Whether it has a row under each judged condition in the report."""
    axis: str = ""
    """Title of its axis, for a headline measure."""
    explained: str = ""
    """What its figure shows, in one or two sentences, for a headline measure."""
    finding: str = ""
    """The sentence on a sensitive effect, for a headline measure: a format of suspect, Suspect, reads, When (the edit as a
    clause), points, interval."""
    demand: str = ""
    """The reason for its default rule, in one sentence."""

    @property
    def title(self) -> str:
        """Its name in prose."""
        return self.name.replace("_", " ")

    @property
    def falls(self) -> bool:
        """Whether a fall is the harm; of the others a rise is."""
        return self.better == "higher"

    @property
    def of_images(self) -> bool:
        """Whether it is a mean over all images of a number that each of them has."""
        return self.over == "images" and (self.change is not None or bool(self.made_of))

    @property
    def comparable(self) -> bool:
        """Whether it can be compared between two runs image by image; this requires a unit that does not depend on the network."""
        return self.of_images and not self.standardised and not self.of_outputs

    def scale_under(self, *, controlled: bool) -> Scale:
        """Return where the value of one image lies under a condition, or, controlled, compared with its placebo."""
        if self.scale == "unbounded" or (self.of == "edit" and not controlled):
            return self.scale
        return "difference"
