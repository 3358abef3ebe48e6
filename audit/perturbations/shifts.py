"""How an image moves from one group of images to another: by grey curve, sharpness, noise or frame.

Grey curve, sharpness and noise move by the difference between the groups' means. A frame is there or not, and the mean of both is like
neither: frames are dealt to the images so that as little as possible changes (optimal transport, by assignment).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from audit.data.pixels.colour import by_channel
from audit.data.pixels.facts import GreyImage, StoredImage
from audit.perturbations.base import Scene
from audit.perturbations.looks import Frame, with_aspect, with_border
from audit.perturbations.properties import Groups, frame_without_text, mean_curve, mean_texture
from audit.perturbations.sharpness import Blur, blur_between, blurred, noise_between, noisy

Field = NDArray[np.float64]


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
class FrameShift:
    """Another frame and aspect ratio are taken on."""

    frame: Frame
    """Which."""

    def __call__(self, image: StoredImage) -> StoredImage:
        """Return a copy in the frame."""
        return with_border(with_aspect(image, self.frame), self.frame)


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
    """Between which curves, by which blur or noise, or into which frame."""


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
    return NoiseShift(levels=levels, seed=int(rng.integers(2**32))) if levels > 0 else None


def frame_shift(groups: Groups, scene: Scene, rng: np.random.Generator) -> Shift:
    """Return how an image takes on the frame and the aspect ratio of the image that stands for it in the other group."""
    own, other = groups.own.frames, groups.other.frames
    # Every image of the other group stands for as many of the own one as any other, within one.
    slots = np.concatenate([np.tile(np.arange(len(other)), len(own) // len(other)), rng.permutation(len(other))])
    slots = slots[: len(own)]
    _, columns = linear_sum_assignment(frame_distances(own, other)[:, slots])
    # Images that are alike stand for each other.
    distances = frame_distances([frame_without_text(scene.image, scene.regions)], own)[0]
    alike = np.flatnonzero(distances == distances.min())
    taken = other[slots[columns[int(rng.choice(alike))]]]
    return FrameShift(frame=taken)


def frame_distances(these: Sequence[Frame], those: Sequence[Frame]) -> Field:
    """Return the share of the image that changes between two frames, (n, m), roughly: by widths, levels and aspect ratio."""
    (shares, levels, aspects), (other_shares, other_levels, other_aspects) = (
        (
            np.array([f.shares for f in frames]),
            np.array([f.levels for f in frames]),
            np.array([f.aspect for f in frames]),
        )
        for frames in (these, those)
    )
    widths = np.abs(shares[:, None] - other_shares).sum(axis=2)
    wider = np.maximum(shares.sum(axis=1)[:, None], other_shares.sum(axis=1))
    level = np.abs(levels[:, None] - other_levels).mean(axis=2) / 255
    return np.asarray(widths + wider * level + np.abs(np.log(aspects[:, None] / other_aspects)), dtype=np.float64)


def _mapped(image: GreyImage, own: Field, other: Field) -> GreyImage:
    own = own + 1e-6 * np.arange(len(own))  # strictly rising, for levels may repeat
    levels = np.arange(256.0)
    table = np.interp(levels, own, other)
    below, above = levels < own[0], levels > own[-1]
    table[below] = other[0] * levels[below] / max(own[0], 1e-9)
    table[above] = 255 - (255 - other[-1]) * (255 - levels[above]) / max(255 - own[-1], 1e-9)
    return np.asarray(np.clip(np.rint(table), 0, 255), dtype=np.uint8)[image]
