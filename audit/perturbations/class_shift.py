"""The grey curve or the sharpness of another class: whether the network distinguishes classes by how their images were acquired."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.colour import by_channel
from audit.data.pixels.facts import GreyImage, StoredImage
from audit.errors import UnknownNameError
from audit.perturbations.base import PERTURBATIONS, NotApplicable, Scene
from audit.perturbations.properties import MIN_PATIENTS, ClassProperties
from audit.perturbations.sharpness import Blur, Texture, blur_between, blurred, noise_between, noisy

Field = NDArray[np.float64]
_TOWARDS = ("other-class", "shuffled")


@dataclass(frozen=True, kw_only=True)
class CurveDraw:
    """From which to which grey curve levels move."""

    own: Field
    """(c, q) mean of the image's class, of each channel."""
    other: Field
    """(c, q) mean of the class that it moves towards."""


@dataclass(frozen=True, kw_only=True)
class BlurDraw:
    """What an image loses."""

    by: Blur
    """Between the means of the classes."""


@dataclass(frozen=True, kw_only=True)
class NoiseDraw:
    """What an image gains."""

    levels: float
    """Standard deviation, in grey levels: between the means of the classes."""
    seed: int
    """Of the noise."""


ShiftDraw = CurveDraw | BlurDraw | NoiseDraw


def shift_curve(image: StoredImage, drawn: CurveDraw) -> StoredImage:
    """Map levels as the mean curve of the own class maps to the other's, in each channel; levels beyond both keep their order."""
    return by_channel(_mapped, image, list(drawn.own), list(drawn.other))


def _mapped(image: GreyImage, own: Field, other: Field) -> GreyImage:
    own = own + 1e-6 * np.arange(len(own))  # strictly rising, for levels may repeat
    levels = np.arange(256.0)
    table = np.interp(levels, own, other)
    below, above = levels < own[0], levels > own[-1]
    table[below] = other[0] * levels[below] / max(own[0], 1e-9)
    table[above] = 255 - (255 - other[-1]) * (255 - levels[above]) / max(255 - own[-1], 1e-9)
    return np.asarray(np.clip(np.rint(table), 0, 255), dtype=np.uint8)[image]


_SUSPECTS = {
    "grey-curve": "the grey curve (exposure, contrast, gamma)",
    "sharpness": "the sharpness (resolution, blur, compression)",
    "noise": "the noise",
}


@PERTURBATIONS.register("class-shift")
class ClassShift:
    """Shift one global property by the average difference between the image's class and another one, measured outside the lungs.

    Means are used, not single donors, because differences between patients would mask the difference between the classes. Sharpness
    is only taken away and noise is only added (`audit.perturbations.sharpness`): of two classes the images of one are edited.

    Parameters
    ----------
    of : {"grey-curve", "sharpness", "noise"}
        What is moved.
    towards : {"other-class", "shuffled"}
        Another class, each with equal chance (the edit); or the same with the labels shuffled over the patients (its placebo: as much
        of a shift as classes of these sizes have by chance).
    """

    name = "class-shift"
    version = 3
    needs: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    adds: tuple[str, ...]
    seamless = True

    def __init__(self, *, of: str, towards: str = "other-class") -> None:
        if of not in _SUSPECTS:
            raise UnknownNameError("property of images", str(of), _SUSPECTS)
        if towards not in _TOWARDS:
            raise UnknownNameError("class shift", str(towards), _TOWARDS)
        self._of = of
        self._shuffled = towards == "shuffled"
        self.adds = (of,)
        self.suspect = _SUSPECTS[of]

    def draw(self, scene: Scene, rng: np.random.Generator) -> ShiftDraw | NotApplicable:
        """Choose another class, and average."""
        known = () if scene.properties is None else scene.properties.classes()
        label = scene.record.label
        others = [other for other in known if other != label]
        if scene.properties is None or label is None or label not in known or not others:
            return NotApplicable(f"fewer than {MIN_PATIENTS} patients of the image's class or of any other")
        draw = {"grey-curve": _draw_curve, "sharpness": _draw_blur, "noise": _draw_noise}[self._of]
        return draw(scene.properties, label, others, rng, self._shuffled)

    def apply(self, image: StoredImage, drawn: ShiftDraw) -> StoredImage:
        """Return a copy of the image with the property shifted."""
        if isinstance(drawn, CurveDraw):
            return shift_curve(image, drawn)
        return blurred(image, drawn.by) if isinstance(drawn, BlurDraw) else noisy(image, drawn.levels, drawn.seed)

    def check(self, scene: Scene, edited: GreyImage) -> NotApplicable | None:
        """Return how the lungs left the range of the cohort's grey levels."""
        return None if scene.leaves_range is None else scene.leaves_range(edited, scene.lungs)


def _draw_curve(
    properties: ClassProperties, label: str, others: Sequence[str], rng: np.random.Generator, shuffled: bool
) -> CurveDraw:
    labels = [label, others[int(rng.integers(len(others)))]]
    own, other = properties.means(labels, rng if shuffled else None)
    return CurveDraw(own=own.curve, other=other.curve)


def _draw_blur(
    properties: ClassProperties, label: str, others: Sequence[str], rng: np.random.Generator, shuffled: bool
) -> BlurDraw | NotApplicable:
    found = _draw_pair(properties, label, others, rng, shuffled, lambda own, other: blur_between(own, other).width)
    return NotApplicable("no class is less sharp") if found is None else BlurDraw(by=blur_between(*found))


def _draw_noise(
    properties: ClassProperties, label: str, others: Sequence[str], rng: np.random.Generator, shuffled: bool
) -> NoiseDraw | NotApplicable:
    found = _draw_pair(properties, label, others, rng, shuffled, noise_between)
    if found is None:
        return NotApplicable("no class has more noise")
    return NoiseDraw(levels=noise_between(*found), seed=int(rng.integers(2**32)))


def _draw_pair(
    properties: ClassProperties,
    label: str,
    others: Sequence[str],
    rng: np.random.Generator,
    shuffled: bool,
    extent: Callable[[Texture, Texture], float],
) -> tuple[Texture, Texture] | None:
    """Draw a class towards which an image can be moved, and return both means; None without such a class.

    A shuffled pair is put in the order in which it can be moved: a difference by chance has no direction, and where half of the
    placebos did nothing, the edit would seem to do more.
    """
    own, *found = (p.texture for p in properties.means([label, *others]))
    reachable = [other for other, there in zip(others, found, strict=True) if extent(own, there) > 0]
    if not reachable:
        return None
    other = reachable[int(rng.integers(len(reachable)))]
    one, two = (p.texture for p in properties.means([label, other], rng if shuffled else None))
    return (one, two) if extent(one, two) > 0 else (two, one)
