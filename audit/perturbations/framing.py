"""How an image takes on another frame and aspect ratio, and which way of doing so makes two groups alike.

A frame either covers the image (collimation, a mask) or the image is fitted into it (padding). An image is wider than others because rows
were cut, or because it has more columns. Frame and aspect ratio alone do not tell which: the anatomy does, by where it lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from audit.data.pixels.colour import luminance
from audit.data.pixels.facts import GreyImage, StoredImage
from audit.perturbations.frames import Frame, find_frame, frame_px, resized

# Largest share of a side that may be cut or added to take on an aspect ratio; the rest is stretched.
_MOST_SHARE = 0.25
# Frames whose levels differ by more lie on one another, as a white line on a black margin does.
_ANOTHER_LEVEL = 32
THUMBNAIL_PX = 64
"""Side of the square on which groups of images are compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Framing:
    """A way of taking on a frame and an aspect ratio."""

    frame: Literal["covers", "surrounds"] = "covers"
    """covers: the frame lies over the outer part of the image; surrounds: the image is fitted into it."""
    side: Literal["height", "width"] = "height"
    """Which side of the image is cut or continued to take on an aspect ratio."""


FRAMINGS = (
    Framing(frame="covers", side="height"),
    Framing(frame="covers", side="width"),
    Framing(frame="surrounds", side="height"),
    Framing(frame="surrounds", side="width"),
)
"""Every way; of equals the first is taken."""


def thumbnail(image: StoredImage) -> GreyImage:
    """Return the brightness of an image, squashed to a small square as networks do."""
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    return np.asarray(cv2.resize(luminance(image), size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def framed(image: StoredImage, frame: Frame, way: Framing, *, aspect: float | None = None) -> StoredImage:
    """Return a copy of an image (h, w) or (h, w, 3), of the same shape, with another frame and aspect ratio.

    Parameters
    ----------
    image : ndarray of uint8
    frame : Frame
        What is taken on.
    way : Framing
        How.
    aspect : float, optional
        Height over width of the image before it was squashed; that of `image` if omitted.
    """
    height, width = image.shape[:2]
    shaped = _with_aspect(image, frame.aspect / (aspect or height / width), way)
    own = find_frame(shaped)
    top, bottom, left, right = frame_px(own.shares, shaped.shape)
    new_top, new_bottom, new_left, new_right = frame_px(frame.shares, image.shape)
    within = (slice(new_top, height - new_bottom), slice(new_left, width - new_right))
    made = np.full(image.shape, frame.levels if image.ndim == 3 else frame.levels[0], dtype=np.uint8)
    inner = np.ascontiguousarray(shaped[top : height - bottom, left : width - right])
    if way.frame == "surrounds":
        made[within] = resized(inner, (height - new_top - new_bottom, width - new_left - new_right))
    elif any(frame.shares) and np.abs(np.subtract(own.levels, frame.levels)).max() > _ANOTHER_LEVEL:
        made[within] = shaped[within]  # a white line lies on a black frame
    else:
        # What the image's own frame hid is not known: the nearest pixels are continued.
        made[within] = cv2.copyMakeBorder(inner, top, bottom, left, right, cv2.BORDER_REPLICATE)[within]
    return made


def dealt_frames(own: Sequence[Frame], other: Sequence[Frame], rng: np.random.Generator) -> NDArray[np.intp]:
    """Deal the frames of one group to another so that as little as possible changes (optimal transport, by assignment).

    Returns
    -------
    ndarray of int, (own,)
        Which of `other` each of `own` takes on: every one as often as any other, within one. Dealt to the same group, no frame stays
        where it is.
    """
    slots = np.concatenate([np.tile(np.arange(len(other)), len(own) // len(other)), rng.permutation(len(other))])
    slots = slots[: len(own)]
    distances = frame_distances(own, other)[:, slots]
    if own is other:
        np.fill_diagonal(distances, distances.sum() + 1)
    _, columns = linear_sum_assignment(distances)
    return np.asarray(slots[columns], dtype=np.intp)


def frame_distances(these: Sequence[Frame], those: Sequence[Frame]) -> NDArray[np.float64]:
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


def likest_framing(
    own: Sequence[GreyImage], frames: Sequence[Frame], dealt: Sequence[Frame], other: Sequence[GreyImage]
) -> NDArray[np.float64]:
    """Return for each of `FRAMINGS` how alike the means of two groups are after the first has taken on frames of the second.

    Parameters
    ----------
    own, other : sequence of ndarray of uint8
        Thumbnails of the two groups.
    frames, dealt : sequence of Frame
        The first group's own frames, and those that its images take on.

    Returns
    -------
    ndarray, (ways,)
        Correlation of the mean images, which neither brightness nor contrast changes.
    """
    there = np.mean(np.asarray(other, dtype=np.float64), axis=0)
    return np.array([_correlation(_mean_framed(own, frames, dealt, way), there) for way in FRAMINGS])


def _mean_framed(
    own: Sequence[GreyImage], frames: Sequence[Frame], dealt: Sequence[Frame], way: Framing
) -> NDArray[np.float64]:
    moved = np.zeros(own[0].shape)
    for image, frame, taken in zip(own, frames, dealt, strict=True):
        moved += framed(image, taken, way, aspect=frame.aspect)
    return moved / len(own)


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt(np.square(one).sum() * np.square(other).sum()))
    return float((one * other).sum()) / size if size > 0 else 0.0


def _with_aspect(image: StoredImage, taller: float, way: Framing) -> StoredImage:
    """Return an image as if it were `taller` times as high for its width, squashed to its old shape."""
    height, width = image.shape[:2]
    rows = columns = 0
    if way.side == "height":
        rows = round(height * np.clip(taller - 1, -_MOST_SHARE, _MOST_SHARE) / 2)
    else:
        columns = round(width * np.clip(1 / taller - 1, -_MOST_SHARE, _MOST_SHARE) / 2)
    cut = image[max(0, -rows) : height - max(0, -rows), max(0, -columns) : width - max(0, -columns)]
    more_rows, more_columns = max(0, rows), max(0, columns)
    whole = cv2.copyMakeBorder(
        np.ascontiguousarray(cut), more_rows, more_rows, more_columns, more_columns, cv2.BORDER_REPLICATE
    )
    return resized(np.asarray(whole, dtype=np.uint8), (height, width))
