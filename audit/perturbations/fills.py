"""What a mask is filled with. Every fill sees the unedited image and all covered pixels, so the order of boxes does not matter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.colour import by_channel
from audit.data.pixels.facts import GreyImage, StoredImage
from audit.perturbations.memory import OnceAnImage
from audit.perturbations.places import Box, cover

Covered = NDArray[np.bool_]

# Pixels around a box that an inpainting or a local median may look at.
CONTEXT_PX = 12


def _surroundings(box: Box, context_px: int) -> tuple[slice, slice, Box]:
    """Return the slices of a box with its context, and the box in their pixels."""
    x0, y0, x1, y1 = box
    top, left = max(0, y0 - context_px), max(0, x0 - context_px)
    return (
        slice(top, y1 + context_px),
        slice(left, x1 + context_px),
        (x0 - left, y0 - top, x1 - left, y1 - top),
    )


def _black(image: StoredImage, box: Box, covered: Covered) -> StoredImage:
    x0, y0, x1, y1 = box
    return np.zeros((y1 - y0, x1 - x0, *image.shape[2:]), dtype=np.uint8)


def _median(image: StoredImage, box: Box, covered: Covered) -> StoredImage:
    rows, columns, (x0, y0, x1, y1) = _surroundings(box, CONTEXT_PX)
    ring = ~covered[rows, columns]
    level = np.median(image[rows, columns][ring], axis=0) if ring.any() else np.median(image, axis=(0, 1))
    return np.full((y1 - y0, x1 - x0, *image.shape[2:]), level.astype(np.uint8), dtype=np.uint8)


def inpaint(image: StoredImage, box: Box, covered: Covered) -> StoredImage:
    """Continue the surroundings into the box (Navier-Stokes, Bertalmio et al. 2001).

    Parameters
    ----------
    image : ndarray of uint8, (h, w) or (h, w, 3)
        Unedited.
    box : (x0, y0, x1, y1)
        Half-open, inside the image.
    covered : ndarray of bool, (h, w)
        Pixels that must not be used: the box itself, and text next to it.

    Returns
    -------
    ndarray of uint8, of the box's shape, with the channels of the image
    """
    rows, columns, _ = _surroundings(box, CONTEXT_PX)
    hole = np.ascontiguousarray(covered[rows, columns], dtype=np.uint8)
    # For a single row, opencv's inpainting reads uninitialised memory, so the result varies.
    if hole.all() or min(hole.shape) < 2:
        return _median(image, box, covered)
    return _inpainted(image, (box, hole.shape, hole.tobytes()))


def _of_hole(image: StoredImage, key: Any) -> StoredImage:
    box, shape, hole = key
    rows, columns, (x0, y0, x1, y1) = _surroundings(box, CONTEXT_PX)
    filled = by_channel(_continued, image[rows, columns], np.frombuffer(hole, dtype=np.uint8).reshape(shape))
    return np.asarray(filled, dtype=np.uint8)[y0:y1, x0:x1]


_inpainted = OnceAnImage(_of_hole, 64)


def _continued(around: GreyImage, hole: NDArray[np.uint8]) -> GreyImage:
    return np.asarray(cv2.inpaint(np.ascontiguousarray(around), hole, 3, cv2.INPAINT_NS), dtype=np.uint8)


def without_text(image: StoredImage, boxes: Sequence[Box]) -> StoredImage:
    """Return a copy of the image in which all boxes are inpainted."""
    height, width = image.shape[:2]
    covered = cover(boxes, (height, width))
    clean = image.copy()
    for box in boxes:
        x0, y0, x1, y1 = box
        clean[y0:y1, x0:x1] = inpaint(image, box, covered)
    return clean


def inpaint_all(image: StoredImage, boxes: Sequence[Box]) -> StoredImage:
    """Return a copy of the image in which the shape that boxes form is inpainted as a whole."""
    height, width = image.shape[:2]
    around = (min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes))
    covered = cover(boxes, (height, width))
    filled = inpaint(image, around, covered)
    clean = image.copy()
    part, hole = (
        clean[around[1] : around[3], around[0] : around[2]],
        covered[around[1] : around[3], around[0] : around[2]],
    )
    part[hole] = filled[hole]
    return clean


def _blur(image: StoredImage, box: Box, covered: Covered) -> StoredImage:
    """Blur the content until no stroke is left: a bright patch remains, but it is illegible."""
    sigma = max(2.0, 0.5 * min(box[2] - box[0], box[3] - box[1]))
    rows, columns, (x0, y0, x1, y1) = _surroundings(box, round(3 * sigma))
    around = np.ascontiguousarray(image[rows, columns])
    return np.asarray(cv2.GaussianBlur(around, (0, 0), sigma), dtype=np.uint8)[y0:y1, x0:x1]


FILLS: Mapping[str, Callable[[StoredImage, Box, Covered], StoredImage]] = {
    "black": _black,
    "median": _median,
    "inpaint": inpaint,
    "blur": _blur,
}
"""Name -> fill; `black` as in the paper."""
FILLED: Mapping[str, str] = {
    "black": "covered in black",
    "median": "covered in grey",
    "inpaint": "inpainted",
    "blur": "blurred",
}
"""Fill -> what it does to a region, in words."""
BY_STROKES = frozenset({"inpaint", "median"})
"""Fills of the strokes of text alone: what lies between letters is kept. The others fill whole boxes, as the paper does."""
SEAMLESS = frozenset({"inpaint"})
"""Fills that leave no artefact of their own: black shows a rectangle, the median is flat, blurred text stays bright."""
