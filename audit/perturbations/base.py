"""What a perturbation is: it draws its parameters from a generator, then applies them as a pure function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import CONTENTS
from audit.data.records import Record, TextRegion
from audit.errors import AuditError, UnknownNameError, UsageError, shown_string, shown_value
from audit.perturbations.donors import DonorPool
from audit.perturbations.properties import GroupProperties
from audit.perturbations.suspects import Suspects
from audit.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that a perturbation may look at."""

    image: NDArray[np.uint8]
    """As stored, grey (h, w) or in colour (h, w, 3); read-only."""
    record: Record
    """Its record in the manifest."""
    regions: tuple[TextRegion, ...]
    """Text regions in pixels of `image`."""
    donors: DonorPool
    """The other images of the cohort."""
    lungs: NDArray[np.bool_] | None = None
    """(h, w), true inside the lungs; None where the manifest has no mask."""
    properties: GroupProperties | None = None
    """Grey curve, sharpness, noise and frames of each class; None where there are none."""
    sources: GroupProperties | None = None
    """The same of each source within each class; None where there are none."""
    suspects: Suspects | None = None
    """Objects that the run's search proposed; None where it did not search."""
    background: Callable[[tuple[int, int]], NDArray[np.uint8]] | None = None
    """Returns the text-free mean of the classes' mean images at a shape (h, w); None where there is none."""
    half: int | None = None
    """Of a perturbation whose draws come in pairs (`Halving`), which half of the patients this draw sees, 0 or 1; None for all."""
    split: int = 0
    """Number of the split into halves; a part of the images shares it, so that one can see what the patients of a half have taught."""
    leaves_range: Callable[[NDArray[np.uint8], NDArray[np.bool_] | None], NotApplicable | None] | None = None
    """Says how an edited image (h, w) with its lungs leaves the grey levels of the cohort's own (`audit.perturbations.plausible`); None
    where there is no cohort."""


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """Returned by `draw` if the edit cannot be applied: the image is counted under this reason."""

    reason: str
    """In a few words, the same for every image that it applies to: "no text"."""


class Perturbation(Protocol):
    """One edit and its declarations: results are measured and reported by these, never by its name."""

    name: str
    version: int
    """Raised whenever the pixels that it makes change."""
    needs: tuple[str, ...]
    """What a cohort must have for it to apply to any image, of `NEEDS`; usually nothing."""
    removes: tuple[str, ...]
    """What it removes, from `audit.data.conditions.CONTENTS`. Effects of an edit that removes text are reported by word and
    corrected for the finder's recall."""
    adds: tuple[str, ...]
    """What it adds from other images, from the same list."""
    keeps: tuple[str, ...]
    """The only content that it keeps, from the same list: it tests whether this alone is sufficient to predict the class."""
    seamless: bool
    """Whether it leaves no artefact of its own: among several fills of a mask, a report takes the seamless one."""
    suspect: str
    """What a network relies on if it reacts to this edit, in words: "the text". A suite may use other words."""

    def draw(self, scene: Scene, rng: np.random.Generator) -> Any | NotApplicable:
        """Choose the edit's parameters for one image, or return why it does not apply."""
        ...

    def apply(self, image: NDArray[np.uint8], drawn: Any) -> NDArray[np.uint8]:
        """Return an edited copy of an image (h, w) or (h, w, 3), of the same shape; the same `drawn` gives the same pixels.

        Three equal channels are edited as the one grey channel is.
        """
        ...


@runtime_checkable
class Titled(Protocol):
    """A perturbation that has a name for people; a condition of any other is called after its own name."""

    title: str
    """What is done to the image, with these parameters: "Text inpainted", or "Look of another source", which it is given. A suite may use
    others."""


@runtime_checkable
class Halving(Protocol):
    """A perturbation that learns from other images how it edits one, and can learn it from either half of the patients (`Scene.half`)."""

    halves: bool
    """Whether it does so with these parameters: two draws with the same generator then differ in the patients alone. Which patients
    belong to which half is decided by `Scene.split`."""


@runtime_checkable
class SelfChecking(Protocol):
    """A perturbation that checks its result, because only the result shows whether it is still a plausible radiograph."""

    def check(self, scene: Scene, edited: NDArray[np.uint8]) -> NotApplicable | None:
        """Return why the edited image (h, w) must not be predicted; None where it may."""
        ...


@runtime_checkable
class Comparing(Protocol):
    """A perturbation that uses measurements of the whole cohort: these are made once, before, and not by each process for itself."""

    compares: tuple[str, ...]
    """What it uses of a scene, of `MEASURED`."""


MEASURED = ("properties", "sources", "background", "leaves_range")
"""What of a scene is measured on a sample of the whole cohort."""
NEEDS = ("class with several sources", "lung masks")
"""What a perturbation may need of a cohort; each fits "the cohort has no ..."."""
_PARTS = ("name", "version", "needs", "removes", "adds", "keeps", "seamless", "suspect", "draw", "apply")

PERTURBATIONS: Registry[Callable[..., Perturbation]] = Registry("perturbation", "audit.perturbations")


def make_perturbation(name: str, parameters: Mapping[str, Any]) -> Perturbation:
    """Make a registered perturbation with its parameters.

    Raises
    ------
    UnknownNameError
        If no perturbation has that name.
    UsageError
        If it does not take these parameters, or lacks a part of `Perturbation`.
    """
    maker = PERTURBATIONS[name]
    try:
        made = maker(**parameters)
    except AuditError:
        raise
    except (
        Exception
    ) as error:  # it may be foreign code, or be given anything: whatever it raises, it does not accept these parameters
        raise UsageError(
            f"The perturbation {name!r} cannot be created with {shown_value(dict(parameters), 120)}: "
            f"{shown_string(str(error), 200)}."
        ) from error
    lacking = [part for part in _PARTS if not hasattr(made, part)]
    if lacking:
        raise UsageError(
            f"The perturbation {name!r} is incomplete: {made!r} has no {', '.join(lacking)}. See docs/guides/extend.md."
        )
    if type(made.version) is not int or made.version < 1:
        raise UsageError(
            f"The version of the perturbation {name!r} must be a whole number from 1, found {shown_value(made.version)}."
        )
    for kind, declared, known in (
        ("need", made.needs, NEEDS),
        ("content", (*made.removes, *made.adds, *made.keeps), CONTENTS),
    ):
        unknown = sorted(set(declared) - set(known))
        if unknown:
            raise UnknownNameError(f"{kind} of the perturbation {name!r}", unknown[0], known)
    return made


def changed_pixels(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where an edit changed the image, (h, w)."""
    apart = before != after
    return np.asarray(apart.any(axis=-1) if apart.ndim == 3 else apart)
