"""What `audit mend` did and proved: beside the new bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from audit.store.group import Group
from audit.store.results import Effect
from audit.store.typed import Document, RunDocument

MendVerdict = Literal["mended", "partly", "not", "worse", "inconclusive"]
Method = Literal["last-layer", "group-dro", "augment"]


class ValidationFigures(Document, frozen=True, kw_only=True):
    """One network on the validation images."""

    effects: Mapping[str, float]
    """Edit -> shortcut sensitivity: mean total variation, minus the placebo's."""
    accuracy: float
    """Share of unedited images that are classified correctly."""
    accuracy_edited: float
    """The same with the suspects edited: of each image over its edited copies, or as it is where it has none."""


class Paired(Document, frozen=True, kw_only=True):
    """Performance of the old and of the new network on the same images."""

    name: str
    """What is measured of which images."""
    n_images: int
    """Images."""
    n_patients: int
    """Patients among them."""
    before: float
    """Of the old network."""
    after: float
    """Of the new one."""
    change: float
    """New minus old."""
    low: float | None
    """Lower end of the interval of the change."""
    high: float | None
    """Upper end."""
    method: str
    """How the interval was made."""


class TriedMethod(Document, frozen=True, kw_only=True):
    """One method that was tried."""

    method: Method
    """last-layer: the last layer fitted again; group-dro: fitted for the group that it serves worst; augment: the last phase of training
    with the edits as augmentation."""
    about: str
    """How it was done, in words."""
    figures: ValidationFigures | None
    """What it gave; null where it could not be done."""
    why_not: str
    """Why it could not be done; empty where it was."""
    enough: bool
    """Whether at most a third of the effect is left at an acceptable cost on validation images."""
    honest: Paired | None = None
    """Accuracy on validation images where the shortcut plays no part, compared with the old network's; null with too few of them."""
    seconds: float
    """How long it took."""


class Compared(Document, frozen=True, kw_only=True):
    """One judged effect of the old and of the new network, on the same images."""

    title: str
    """The condition's name for people."""
    suspect: str
    """What a network relies on if it reacts, in words."""
    measure: str
    """The headline measure of the condition."""
    group: Group
    """The images that it is about."""
    before: Effect
    """Of the old network."""
    after: Effect
    """Of the new one."""
    change: Effect | None
    """New minus old, image by image; null where that cannot be said."""
    why_not: str
    """Why not; empty where it can."""
    newly: bool
    """Whether the new network exceeds the limit, and of the old one not even the estimate did."""
    worse: bool
    """Whether the effect rose significantly, corrected for all effects that are compared."""


class MendedSuspect(Document, frozen=True, kw_only=True):
    """One suspect that was to be mended."""

    suspect: str
    """In words."""
    verdict: MendVerdict
    """mended: significantly less, and at most a third of the effect or shown to be small; partly: significantly less; not: no significant
    change; worse: significantly more; inconclusive: a third or less, but the interval of the change includes 0."""
    compared: Compared
    """The effect that it is judged by."""


class Carried(Document, frozen=True, kw_only=True):
    """Training images that carry something of a suspect."""

    name: str
    """What it is: any text, a string that may be shown, a source, an object; or that the answer owes to it."""
    by_class: Mapping[str, int]
    """Class -> images that do."""


class Teacher(Document, frozen=True, kw_only=True):
    """One training image."""

    record: str
    """What the files of a run call it."""
    label: str
    """Its class."""
    owed: float
    """Probability of its class that the old network gives it as it is, minus that once the suspect is edited, minus the placebo's."""


class TaughtBy(Document, frozen=True, kw_only=True):
    """Where the old network learnt one suspect."""

    suspect: str
    """In words."""
    images_by_class: Mapping[str, int]
    """Class -> training images."""
    carried: tuple[Carried, ...]
    """What of the suspect they carry."""
    most: tuple[Teacher, ...]
    """The images whose answer owes most to it, at most twenty."""


class MendStory(Document, frozen=True, kw_only=True):
    """How a network was mended; stands in its bundle's provenance too."""

    fingerprint: str
    """Hash of everything that the network depends on: what was made of the same is used again."""
    parent: str
    """Name of the old network."""
    parent_digest: str
    """Its digest."""
    run: str
    """Name of the run whose suspects were to be mended."""
    suspects: tuple[str, ...]
    """What was to be mended, in words."""
    method: Method
    """The method that the new network was made by."""
    tried: tuple[TriedMethod, ...]
    """The methods that were tried, cheapest first."""
    before: ValidationFigures
    """The old network on the validation images."""
    edits: tuple[str, ...]
    """Conditions that training images were edited by."""
    cohort_hash: str
    """Hash of the data that the training and validation images come from."""
    n_learnt: int
    """Training and validation images that were used."""
    n_validation: int
    """Validation images among them."""
    seed: int
    """Of every draw."""
    notes: tuple[str, ...]
    """What a reader must know."""
    taught: tuple[TaughtBy, ...] = ()
    """Where the suspects were learnt; empty where any number of outputs applies to an image."""


class MendDocument(RunDocument, frozen=True, kw_only=True):
    """A mended network, and the proof."""

    FILE: ClassVar[str] = "mend.json"

    verdict: MendVerdict
    """Of all suspects together; at most partly where another suspect newly exceeds its limit or accuracy was lost that the shortcut did
    not buy."""
    summary: str
    """The verdict in sentences."""
    name: str
    """Name of the new network."""
    digest: str
    """Its digest."""
    story: MendStory
    """How it was made."""
    suspects: tuple[MendedSuspect, ...]
    """What was to be mended."""
    effects: tuple[Compared, ...]
    """Every judged effect over all images."""
    performance: tuple[Paired, ...]
    """Accuracy and AUC on unedited images: all, by source, and by whether the shortcut was right."""
    run_after: str
    """Name of the run folder of the new network."""
