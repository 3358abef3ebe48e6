"""Groups of patients whose images are compared: a class, a source within one, or what chance made of one; and their means."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audit.perturbations.frames import Frame
from audit.perturbations.framing import FRAMINGS, Framing
from audit.perturbations.sharpness import Texture

Field = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Some patients (n): a class, or what chance made of one."""

    curves: Field
    """(n, c, q) means over the images of each patient: levels of each channel at even shares of the pixels."""
    textures: Field
    """(n, r) means over the images of each patient: rows of `Texture`."""
    frames: tuple[Frame, ...]
    """Of one image of each patient."""
    qualities: Field
    """Of JPEG compression, of one image of each patient."""

    def half(self, part: int, rng: np.random.Generator) -> Group:
        """Return one half of its patients, part 0 or 1; the same generator gives halves without a common patient."""
        rows, frames, qualities = (
            rng.permutation(len(found))[part::2] for found in (self.curves, self.frames, self.qualities)
        )
        return Group(
            curves=self.curves[rows],
            textures=self.textures[rows],
            frames=tuple(self.frames[row] for row in frames.tolist()),
            qualities=self.qualities[qualities],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Groups:
    """Two groups: images of the first are moved towards the second."""

    own: Group
    """The group of an image."""
    other: Group
    """Where it is moved."""
    framing: Framing = FRAMINGS[0]
    """How frames are taken on."""

    def half(self, part: int, rng: np.random.Generator) -> Groups:
        """Return one half of the patients of both, part 0 or 1."""
        return replace(self, own=self.own.half(part, rng), other=self.other.half(part, rng))

    def turned(self) -> Groups:
        """Return the way back."""
        return replace(self, own=self.other, other=self.own)

    def by_chance(self, rng: np.random.Generator) -> Groups:
        """Return two groups of the same sizes that differ by chance alone.

        The patients of both are dealt anew, each as far from the mean of the first group as it is from that of its own. Were
        the values themselves dealt, groups that differ would make chance look larger than it is. Frames and qualities, which are dealt
        and have no mean, are those of the first group: frames are dealt among its own patients, and qualities between two halves of them.
        """
        n = len(self.own.curves)
        order = rng.permutation(n + len(self.other.curves))
        curves, textures = (
            np.concatenate([_about(there, there), _about(away, there)])[order]
            for there, away in ((self.own.curves, self.other.curves), (self.own.textures, self.other.textures))
        )
        frames, qualities = self.own.frames, rng.permutation(self.own.qualities)
        return Groups(
            own=Group(curves=curves[:n], textures=textures[:n], frames=frames, qualities=qualities[0::2]),
            other=Group(curves=curves[n:], textures=textures[n:], frames=frames, qualities=qualities[1::2]),
        )


def mean_curve(group: Group) -> Field:
    """Return the mean grey curve of a group, (c, q), rising."""
    return np.asarray(np.maximum.accumulate(group.curves.mean(axis=0), axis=-1), dtype=np.float64)


def mean_texture(group: Group) -> Texture:
    """Return the mean texture of a group; of each band over the images that know it."""
    return Texture.from_row(known_mean(group.textures))


def known_mean(rows: Field) -> Field:
    """Average each column over the rows that know it; nan where none does."""
    known = np.isfinite(rows)
    n = known.sum(axis=0)
    return np.asarray(np.where(n > 0, np.where(known, rows, 0.0).sum(axis=0) / np.maximum(n, 1), np.nan))


def _about(values: Field, centre: Field) -> Field:
    """Return values (n, ...) of a class moved to the mean of another, their spread corrected for the mean that they are taken from."""
    n = len(values)
    return np.asarray(known_mean(centre) + (values - known_mean(values)) * np.sqrt(n / max(1, n - 1)), dtype=np.float64)
