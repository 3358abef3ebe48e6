"""What a perturbation is: it draws its parameters from a generator, then applies them, purely."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audit.errors import UnknownNameError, UsageError
from audit.perturbations.donors import DonorPool
from audit.records import Record, TextRegion
from audit.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that a perturbation may look at."""

    image: NDArray[np.uint8]
    """Stored grey (h, w); read-only."""
    record: Record
    """What the manifest says of it."""
    regions: tuple[TextRegion, ...]
    """Text regions in pixels of `image`."""
    donors: DonorPool
    """The other images of the cohort."""
    lungs: NDArray[np.bool_] | None = None
    """(h, w), true inside the lungs; None where the manifest has no mask."""
    background: Callable[[tuple[int, int]], NDArray[np.uint8]] | None = None
    """Returns the text-free mean of the classes' mean images at a shape (h, w); None where there is none."""


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """What `draw` returns where the edit cannot be made: the image is counted under this reason."""

    reason: str
    """In a few words, the same for every image that it concerns: "no text"."""


class Perturbation(Protocol):
    """One edit. Changing the pixels that it makes raises its version."""

    name: str
    version: int
    needs: tuple[str, ...]
    """What a cohort must have for it to apply to any image, of `NEEDS`; usually nothing."""

    def draw(self, scene: Scene, rng: np.random.Generator) -> Any | NotApplicable:
        """Choose the edit's parameters for one image; say why if it does not apply to it."""
        ...

    def apply(self, image: NDArray[np.uint8], drawn: Any) -> NDArray[np.uint8]:
        """Return an edited copy of grey (h, w), of the same shape; the same `drawn` gives the same pixels."""
        ...


NEEDS = ("several sources", "lung masks")
"""What a perturbation may need of a cohort."""

PERTURBATIONS: Registry[Perturbation] = Registry("perturbation", "audit.perturbations")


def make_perturbation(name: str, parameters: Mapping[str, Any]) -> Perturbation:
    """Make a registered perturbation with its parameters.

    Raises
    ------
    UnknownNameError
        If no perturbation has that name.
    UsageError
        If it does not take these parameters.
    """
    maker = PERTURBATIONS[name]
    try:
        made = maker(**parameters)
    except TypeError as error:
        raise UsageError(f"The perturbation {name!r} cannot be made with {dict(parameters)}: {error}.") from error
    lacking = [part for part in ("name", "version", "needs", "draw", "apply") if not hasattr(made, part)]
    if lacking:
        raise UsageError(f"The perturbation {name!r} is broken: {made!r} has no {', '.join(lacking)}.")
    unknown = sorted(set(made.needs) - set(NEEDS))
    if unknown:
        raise UnknownNameError(f"need of the perturbation {name!r}", unknown[0], NEEDS)
    return made


def changed_pixels(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where an edit changed the image, (h, w)."""
    return np.asarray(before != after)
