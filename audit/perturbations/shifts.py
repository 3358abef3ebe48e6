"""How an image moves from one group of images to another: by grey curve, sharpness, noise, compression or frame.

Grey curve, sharpness and noise move by the difference between the groups' means. A frame or a compression is there or not, and the mean
of both is like neither: they are dealt to the images so that as little as possible changes (optimal transport, by assignment or rank).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.colour import by_channel
from audit.data.pixels.facts import GreyImage, StoredImage
from audit.perturbations.base import Scene
from audit.perturbations.compression import compressed, jpeg_quality
from audit.perturbations.frames import Frame, frame_without_text
from audit.perturbations.framing import Framing, dealt_frames, frame_distances, framed
from audit.perturbations.groups import Groups, mean_curve, mean_texture
from audit.perturbations.sharpness import Blur, blur_between, blurred, noise_between, noisy

Field = NDArray[np.float64]

_SLOPES = (0.25, 4.0)
"""Least and largest rise of levels above the curves."""
_ALIKE = 0.02
"""Largest distance of frames that count as the same: a fiftieth of the image changes."""
_ALIKE_QUALITY = 2.0
"""Largest loss of JPEG quality that counts as none: it is not told more exactly."""
_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")


class Shift(Protocol):
    """How one image moves."""

    def __call__(self, image: StoredImage) -> StoredImage:
        """Return a moved copy."""


@dataclass(frozen=True, kw_only=True)
class Stay:
    """The image is where it should be."""

    def __call__(self, image: StoredImage) -> StoredImage:
        """Return a copy."""
        return image.copy()


@dataclass(frozen=True, kw_only=True)
class CurveShift:
    """Levels move from one grey curve to another."""

    start: Field
    """(c, q) levels at even shares of the pixels, of each channel."""
    end: Field
    """(c, q) where they move."""

    def __call__(self, image: StoredImage) -> StoredImage:
        """Map levels as one curve maps to the other; levels beyond both keep their order."""
        return by_channel(_mapped, image, list(self.start), list(self.end))


@dataclass(frozen=True, kw_only=True)
class BlurShift:
    """Sharpness is lost."""

    by: Blur
    """How much."""

    def __call__(self, image: StoredImage) -> StoredImage:
        """Return a blurred copy."""
        return blurred(image, self.by)


@dataclass(frozen=True, kw_only=True)
class NoiseShift:
    """Noise is gained."""

    levels: float
    """Standard deviation, in grey levels."""
    seed: int
    """Of the noise."""

    def __call__(self, image: StoredImage) -> StoredImage:
        """Return a noisy copy."""
        return noisy(image, self.levels, self.seed)


@dataclass(frozen=True, kw_only=True)
class CompressionShift:
    """Detail is lost by a JPEG encoding."""

    quality: int
    """Of the encoding."""

    def __call__(self, image: StoredImage) -> StoredImage:
        """Return an encoded and decoded copy."""
        return compressed(image, self.quality)


@dataclass(frozen=True, kw_only=True)
class FrameShift:
    """Another frame and aspect ratio are taken on."""

    frame: Frame
    """Which."""
    way: Framing
    """How."""

    def __call__(self, image: StoredImage) -> StoredImage:
        """Return a copy in the frame."""
        return framed(image, self.frame, self.way)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Several moves, one after the other."""

    steps: tuple[Shift, ...]
    """In their order."""

    def __call__(self, image: StoredImage) -> StoredImage:
        """Return a copy moved by all."""
        moved = image  # each step returns a copy
        for step in self.steps:
            moved = step(moved)
        return moved if self.steps else image.copy()


@dataclass(frozen=True, kw_only=True)
class ShiftDraw:
    """How an image is moved."""

    shift: Shift
    """Between which curves, by which blur or noise, to which quality, or into which frame."""


def curve_shift(groups: Groups, scene: Scene, rng: np.random.Generator) -> Shift:
    """Return how levels move by the difference of the mean curves."""
    return CurveShift(start=mean_curve(groups.own), end=mean_curve(groups.other))


def blur_shift(groups: Groups, scene: Scene, rng: np.random.Generator) -> Shift | None:
    """Return how an image loses what the other group lacks in sharpness; None where that is sharper."""
    by = blur_between(mean_texture(groups.own), mean_texture(groups.other))
    return BlurShift(by=by) if by.width > 0 else None


def noise_shift(groups: Groups, scene: Scene, rng: np.random.Generator) -> Shift | None:
    """Return how an image gains the noise that the other group has more of; None where that has less."""
    levels = noise_between(mean_texture(groups.own), mean_texture(groups.other))
    if levels <= 0:
        return None
    # The noise itself is chance: each half of a pair of draws has its own.
    return NoiseShift(levels=levels, seed=int(rng.integers(2**32)) + (scene.half or 0))


def compression_shift(groups: Groups, scene: Scene, rng: np.random.Generator) -> Shift | None:
    """Return how an image is compressed to the quality of its rank in the other group; None where that is compressed no more."""
    own, other = np.sort(groups.own.qualities), np.sort(groups.other.qualities)
    # Of equal qualities chance decides which rank an image has; it decides the same for both halves of the patients.
    among = float(rng.random())
    if not len(own) or not len(other) or other.mean() >= own.mean():
        return None
    here = jpeg_quality(scene.image)
    below, up_to = (float(np.searchsorted(own, here, side=side)) / len(own) for side in _SIDES)
    rank = below + among * (up_to - below)
    there = float(other[min(int(rank * len(other)), len(other) - 1)])
    return CompressionShift(quality=round(there)) if there < here - _ALIKE_QUALITY else Stay()


def frame_shift(groups: Groups, scene: Scene, rng: np.random.Generator) -> Shift:
    """Return how an image takes on the frame and the aspect ratio of the image that stands for it in the other group."""
    own, other = groups.own.frames, groups.other.frames
    columns = dealt_frames(own, other, rng)
    here = frame_without_text(scene.image, scene.regions)
    # Images that are alike stand for each other.
    distances = frame_distances([here], own)[0]
    alike = np.flatnonzero(distances == distances.min())
    taken = other[int(columns[int(rng.choice(alike))])]
    # No two frames are the same: without this every image would move a little, under the placebo as well.
    if float(frame_distances([here], [taken])[0, 0]) <= _ALIKE:
        return Stay()
    return FrameShift(frame=taken, way=groups.framing)


def _mapped(image: GreyImage, own: Field, other: Field) -> GreyImage:
    own = own + 1e-6 * np.arange(len(own))  # strictly rising, for levels may repeat
    levels = np.arange(256.0)
    table = np.interp(levels, own, other)
    below, above = levels < own[0], levels > own[-1]
    table[below] = other[0] * levels[below] / max(own[0], 1e-9)
    # White of an overexposed image is not white in a darker one: levels continue as the upper part of the curves rises.
    upper = 3 * len(own) // 4
    slope = np.clip((other[-1] - other[upper]) / max(own[-1] - own[upper], 1.0), *_SLOPES)
    table[above] = other[-1] + slope * (levels[above] - own[-1])
    return np.asarray(np.clip(np.rint(table), 0, 255), dtype=np.uint8)[image]
