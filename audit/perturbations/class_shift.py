"""The grey curve or the sharpness of another class: whether the network distinguishes classes by how their images were acquired."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.colour import by_channel
from audit.data.pixels.facts import GreyImage, StoredImage
from audit.errors import UnknownNameError
from audit.perturbations.base import PERTURBATIONS, NotApplicable, Scene
from audit.perturbations.looks import cycles, filtered
from audit.perturbations.properties import BANDS, GAIN_LIMITS, MIN_PATIENTS, Properties

Field = NDArray[np.float64]
_TOWARDS = ("other-class", "shuffled")


@dataclass(frozen=True, kw_only=True)
class ShiftDraw:
    """From where to where the property moves."""

    own: Properties
    """Mean of the image's class."""
    other: Properties
    """Mean of the class that it moves towards."""


def shift_curve(image: StoredImage, drawn: ShiftDraw) -> StoredImage:
    """Map levels as the mean curve of the own class maps to the other's, in each channel; levels beyond both keep their order."""
    return by_channel(_mapped, image, list(drawn.own.curve), list(drawn.other.curve))


def _mapped(image: GreyImage, own: Field, other: Field) -> GreyImage:
    own = own + 1e-6 * np.arange(len(own))  # strictly rising, for levels may repeat
    levels = np.arange(256.0)
    table = np.interp(levels, own, other)
    below, above = levels < own[0], levels > own[-1]
    table[below] = other[0] * levels[below] / max(own[0], 1e-9)
    table[above] = 255 - (255 - other[-1]) * (255 - levels[above]) / max(255 - own[-1], 1e-9)
    return np.asarray(np.clip(np.rint(table), 0, 255), dtype=np.uint8)[image]


def shift_sharpness(image: StoredImage, drawn: ShiftDraw) -> StoredImage:
    """Raise or damp each band of frequencies by the difference between the classes' means."""
    gains = np.clip(np.exp(drawn.other.bands - drawn.own.bands), *GAIN_LIMITS)
    known = np.isfinite(gains)
    if known.sum() < 2:
        return image.copy()
    gain = np.interp(np.log(np.maximum(cycles(image.shape), 1e-3)), np.log(BANDS[known]), gains[known], left=1.0)
    return by_channel(filtered, image, gain.astype(np.float32))


SHIFTS: Mapping[str, Callable[[StoredImage, ShiftDraw], StoredImage]] = {
    "grey-curve": shift_curve,
    "sharpness": shift_sharpness,
}
"""Property -> how an image takes it on."""
_SUSPECTS = {
    "grey-curve": "the grey curve (exposure, contrast, gamma)",
    "sharpness": "the sharpness (resolution, blur, noise)",
}


@PERTURBATIONS.register("class-shift")
class ClassShift:
    """Shift one global property by the average difference between the image's class and another one, measured outside the lungs.

    Means are used, not single donors, because differences between patients would mask the difference between the classes.

    Parameters
    ----------
    of : {"grey-curve", "sharpness"}
        What is moved.
    towards : {"other-class", "shuffled"}
        Another class, each with equal chance (the edit); or the same with the labels shuffled over the patients (its placebo: as much
        of a shift as classes of these sizes have by chance).
    """

    name = "class-shift"
    version = 2
    needs: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    adds: tuple[str, ...]
    seamless = True

    def __init__(self, *, of: str, towards: str = "other-class") -> None:
        if of not in SHIFTS:
            raise UnknownNameError("property of images", str(of), SHIFTS)
        if towards not in _TOWARDS:
            raise UnknownNameError("class shift", str(towards), _TOWARDS)
        self._shift = SHIFTS[of]
        self._shuffled = towards == "shuffled"
        self.adds = (of,)
        self.suspect = _SUSPECTS[of]

    def draw(self, scene: Scene, rng: np.random.Generator) -> ShiftDraw | NotApplicable:
        """Choose another class, and average."""
        known = () if scene.properties is None else scene.properties.classes()
        others = [label for label in known if label != scene.record.label]
        if scene.properties is None or scene.record.label not in known or not others:
            return NotApplicable(f"fewer than {MIN_PATIENTS} patients of the image's class or of any other")
        labels = [scene.record.label, others[int(rng.integers(len(others)))]]
        own, other = scene.properties.means(labels, rng if self._shuffled else None)
        return ShiftDraw(own=own, other=other)

    def apply(self, image: StoredImage, drawn: ShiftDraw) -> StoredImage:
        """Return a copy of the image with the property shifted."""
        return self._shift(image, drawn)

    def check(self, scene: Scene, edited: GreyImage) -> NotApplicable | None:
        """Return how the lungs left the range of the cohort's grey levels."""
        return None if scene.leaves_range is None else scene.leaves_range(edited, scene.lungs)
