"""Text masking (Bassi & Attux 2021, section 6.2), and the placebo that masks the same shapes without text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.errors import UnknownNameError, UsageError
from audit.perturbations.base import PERTURBATIONS, Scene
from audit.records import TextRegion

GreyImage = NDArray[np.uint8]
Box = tuple[int, int, int, int]

# Pixels around a box that an inpainting or a local median may look at.
_CONTEXT_PX = 12
_TRIES = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskDraw:
    """Where to mask."""

    boxes: tuple[Box, ...]
    """(x0, y0, x1, y1) in pixels, half-open."""


def _black(image: GreyImage, box: Box) -> GreyImage:
    x0, y0, x1, y1 = box
    return np.zeros((y1 - y0, x1 - x0), dtype=np.uint8)


def _context(image: GreyImage, box: Box) -> tuple[GreyImage, Box]:
    """Return the surroundings of a box, and the box in their own pixels."""
    x0, y0, x1, y1 = box
    top, left = max(0, y0 - _CONTEXT_PX), max(0, x0 - _CONTEXT_PX)
    around = image[top : y1 + _CONTEXT_PX, left : x1 + _CONTEXT_PX]
    return around, (x0 - left, y0 - top, x1 - left, y1 - top)


def _median(image: GreyImage, box: Box) -> GreyImage:
    around, (x0, y0, x1, y1) = _context(image, box)
    ring = np.ones(around.shape, dtype=bool)
    ring[y0:y1, x0:x1] = False
    level = np.median(around[ring]) if ring.any() else 0
    return np.full((y1 - y0, x1 - x0), np.uint8(level), dtype=np.uint8)


def _inpaint(image: GreyImage, box: Box) -> GreyImage:
    """Continue the surroundings into the box (Navier-Stokes, Bertalmio et al. 2001)."""
    around, (x0, y0, x1, y1) = _context(image, box)
    hole = np.zeros(around.shape, dtype=np.uint8)
    hole[y0:y1, x0:x1] = 255
    if hole.all():
        return np.zeros((y1 - y0, x1 - x0), dtype=np.uint8)
    filled = np.asarray(cv2.inpaint(np.ascontiguousarray(around), hole, 3, cv2.INPAINT_NS), dtype=np.uint8)
    return filled[y0:y1, x0:x1]


FILLS: Mapping[str, Callable[[GreyImage, Box], GreyImage]] = {"black": _black, "median": _median, "inpaint": _inpaint}


class _Mask:
    """Shared by the edit and its placebo: which boxes a mask covers, and what it is filled with."""

    def __init__(self, *, fill: str = "black", pad_share: float = 0.25, min_pad_px: int = 2) -> None:
        if fill not in FILLS:
            raise UnknownNameError("fill", fill, FILLS)
        if not 0 <= pad_share <= 2 or min_pad_px < 0:
            raise UsageError(
                f"A mask needs pad_share in 0..2 and min_pad_px from 0, found {pad_share} and {min_pad_px}."
            )
        self._fill = FILLS[fill]
        self._pad_share = pad_share
        self._min_pad_px = min_pad_px

    def boxes(self, regions: Sequence[TextRegion], shape: tuple[int, int]) -> tuple[Box, ...]:
        """Return the boxes that cover `regions`, grown by a share of their short side."""
        grown = []
        for region in regions:
            short_px = min(region.x1 - region.x0, region.y1 - region.y0)
            pad_px = max(self._min_pad_px, round(self._pad_share * short_px))
            padded = region.padded(pad_px, shape)
            if padded.x1 > padded.x0 and padded.y1 > padded.y0:
                grown.append((padded.x0, padded.y0, padded.x1, padded.y1))
        return tuple(grown)

    def apply(self, image: GreyImage, drawn: MaskDraw) -> GreyImage:
        """Return a copy of grey (h, w) in which every box is filled from the unedited surroundings."""
        edited = image.copy()
        for box in drawn.boxes:
            x0, y0, x1, y1 = box
            # Filled from the copy, so that two overlapping boxes do not leave text between them.
            edited[y0:y1, x0:x1] = self._fill(edited, box)
        return edited


@PERTURBATIONS.register("text-mask")
class TextMask(_Mask):
    """Cover every text region.

    Parameters
    ----------
    fill : {"black", "median", "inpaint"}
        Black as in the paper; the median of a ring around the box; or the surroundings continued inwards.
        Black replaces one artefact by another, so judge it beside a fill that leaves none.
    pad_share : float
        How far a box grows, as a share of its short side.
    min_pad_px : int
        How far it grows at least, in pixels of the stored image.
    """

    name = "text-mask"
    version = 1

    def draw(self, scene: Scene, rng: np.random.Generator) -> MaskDraw | None:
        """Return the boxes over the image's text; None if it has no text."""
        height, width = scene.image.shape
        boxes = self.boxes(scene.regions, (height, width))
        return MaskDraw(boxes=boxes) if boxes else None


@PERTURBATIONS.register("placebo-mask")
class PlaceboMask(_Mask):
    """Cover the same shapes at the same distance from the border, where there is no text.

    Takes the parameters of `text-mask`. The distance is matched because networks look at borders:
    a mask in the middle of the chest would be no control for one in a corner.
    """

    name = "placebo-mask"
    version = 1

    def draw(self, scene: Scene, rng: np.random.Generator) -> MaskDraw | None:
        """Return moved boxes; None if there is no text or no free place for one of them."""
        height, width = scene.image.shape
        text = self.boxes(scene.regions, (height, width))
        if not text:
            return None
        placed: list[Box] = []
        for box in text:
            moved = _relocate(box, (*text, *placed), (height, width), rng)
            if moved is None:
                return None
            placed.append(moved)
        return MaskDraw(boxes=tuple(placed))


def _relocate(box: Box, taken: Sequence[Box], shape: tuple[int, int], rng: np.random.Generator) -> Box | None:
    """Move a box along the border at its own distance from it; anywhere if that band is full."""
    height, width = shape
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    distance = min(x0, y0, width - x1, height - y1)
    for attempt in range(2 * _TRIES):
        if attempt < _TRIES:
            left, top = _along_border(w, h, distance, shape, rng)
        else:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
        moved = (left, top, left + w, top + h)
        if not any(_overlap(moved, other) for other in taken):
            return moved
    return None


def _along_border(w: int, h: int, distance: int, shape: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Draw the corner of a box (w, h) whose nearest border is `distance` px away, on any of the four sides."""
    height, width = shape
    far_left, far_top = width - w - distance, height - h - distance
    # Free travel along each side, plus one so that a side that a box just fits into is still possible.
    travel_x, travel_y = max(0, far_left - distance) + 1, max(0, far_top - distance) + 1
    side = int(rng.choice(4, p=np.array([travel_x, travel_x, travel_y, travel_y]) / (2 * (travel_x + travel_y))))
    along_x, along_y = distance + int(rng.integers(travel_x)), distance + int(rng.integers(travel_y))
    left, top = ((along_x, distance), (along_x, far_top), (distance, along_y), (far_left, along_y))[side]
    return min(max(left, 0), width - w), min(max(top, 0), height - h)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
