"""The uniform frame of an image, such as a collimator's or padding, and its aspect ratio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from audit.data.pixels.colour import luminance
from audit.data.pixels.facts import GreyImage, StoredImage
from audit.data.records import TextRegion
from audit.perturbations.fills import without_text
from audit.perturbations.memory import OnceAnImage
from audit.perturbations.places import text_boxes

# A row belongs to the frame if it is this flat (grey levels between its 2 % and 98 % quantiles).
_FLAT_LEVELS = 8
# Rows or columns that are looked at together for it.
_LINES = 16
_WIDEST_FRAME_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The uniform frame around an image, and its aspect ratio."""

    shares: tuple[float, float, float, float]
    """Width at the top, bottom, left and right, as shares of the sides."""
    levels: tuple[int, ...]
    """Its level in each channel."""
    aspect: float
    """Height over width of the image."""


def find_frame(image: StoredImage) -> Frame:
    """Find the uniform frame of an image (h, w) or (h, w, 3), and its aspect ratio."""
    grey = luminance(image)
    shares = tuple(_uniform(lines) / len(lines) for lines in (grey, grey[::-1], grey.T, grey.T[::-1]))
    top, bottom, left, right = (min(share, _WIDEST_FRAME_SHARE) for share in shares)
    px = frame_px((top, bottom, left, right), image.shape)
    parts = (
        image[: px[0]],
        image[image.shape[0] - px[1] :],
        image[:, : px[2]],
        image[:, image.shape[1] - px[3] :],
    )
    pixels = np.concatenate([part.reshape(-1, *image.shape[2:]) for part in parts])
    level = np.median(pixels, axis=0) if pixels.size else np.zeros(image.shape[2:])
    return Frame(
        shares=(top, bottom, left, right),
        levels=tuple(int(v) for v in np.atleast_1d(level)),
        aspect=image.shape[0] / image.shape[1],
    )


def frame_without_text(image: StoredImage, regions: Sequence[TextRegion]) -> Frame:
    """Return the frame of an image as if no text were in it: text in a frame does not end it."""
    return _frame_once(image, tuple(regions))


def _frame(image: StoredImage, regions: Any) -> Frame:
    return frame_of(image, image_without_text(image, regions))


def frame_of(image: StoredImage, clean: StoredImage) -> Frame:
    """Return the frame of an image: text in it does not end it, nor does what was continued where text was beside it."""
    seen, found = find_frame(image), find_frame(clean)
    shares = tuple(np.maximum(seen.shares, found.shares).tolist())
    return replace(found if any(found.shares) else seen, shares=shares)


def image_without_text(image: StoredImage, regions: Sequence[TextRegion]) -> StoredImage:
    """Return an image whose text is filled from its surroundings."""
    height, width = image.shape[:2]
    return without_text(image, text_boxes(regions, (height, width)))


def frame_px(frame: tuple[float, float, float, float], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return a frame (top, bottom, left, right) given as shares of the sides in pixels of a shape (h, w)."""
    top, bottom, left, right = frame
    return round(top * shape[0]), round(bottom * shape[0]), round(left * shape[1]), round(right * shape[1])


def resized(image: StoredImage, shape: tuple[int, int]) -> StoredImage:
    """Return a copy of an image in another shape (h, w), averaged where it becomes smaller."""
    if image.shape[:2] == shape:
        return image.copy()
    how = cv2.INTER_AREA if image.shape[0] * image.shape[1] > shape[0] * shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(image), shape[::-1], interpolation=how), dtype=np.uint8)


def _uniform(lines: GreyImage) -> int:
    """Return how many lines (n, pixels) from the first on are flat and of one level; none if all are.

    A bright line along the border of a radiograph with a black frame is one pixel wide, whatever follows.
    """
    level = None
    for start in range(0, len(lines), _LINES):  # few images have a frame of more than the first of them
        ends = np.quantile(lines[start : start + _LINES], [0.02, 0.98], axis=1)
        middle = ends.mean(axis=0)
        level = middle[0] if level is None else level
        flat = (ends[1] - ends[0] <= _FLAT_LEVELS) & (np.abs(middle - level) <= _FLAT_LEVELS)
        if not flat.all():
            return start + int(np.argmin(flat))
    return 0


_frame_once = OnceAnImage(_frame, 1)
