"""What a perturbation is: it draws its parameters from a generator, then applies them, purely."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audit.errors import UsageError
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
    """Where text of other images comes from."""


class Perturbation(Protocol):
    """One edit. Changing the pixels that it makes raises its version."""

    name: str
    version: int

    def draw(self, scene: Scene, rng: np.random.Generator) -> Any | None:
        """Choose the edit's parameters for one image; None if it does not apply to it."""
        ...

    def apply(self, image: NDArray[np.uint8], drawn: Any) -> NDArray[np.uint8]:
        """Return an edited copy of grey (h, w); the same `drawn` gives the same pixels."""
        ...


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
        return maker(**parameters)
    except TypeError as error:
        raise UsageError(f"The perturbation {name!r} cannot be made with {dict(parameters)}: {error}.") from error
