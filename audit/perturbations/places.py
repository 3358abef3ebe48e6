"""Where things are and may go: boxes over text, matched places without text, free corners."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.colour import luminance
from audit.data.pixels.facts import StoredImage
from audit.data.records import LUNG_MARGIN_SHARE, TextRegion

Box = tuple[int, int, int, int]
"""(x0, y0, x1, y1) in pixels, half-open."""

PAD_SHARE = 0.25
"""How far a box over text grows, as a share of its short side."""
MIN_PAD_PX = 2
"""How far it grows at least."""
# Places looked at for one placebo, of which the one of nearest brightness is taken.
_CANDIDATES = 12
_TRIES = 200
# A corner's distance from the border, as a share of the image's side.
_MARGIN_SHARE = 0.03
# Share of a box inside the lungs from which on it lies "in the lungs".
_LUNG_SHARE = 0.1


def text_boxes(
    regions: Sequence[TextRegion],
    shape: tuple[int, int],
    *,
    pad_share: float = PAD_SHARE,
    min_pad_px: int = MIN_PAD_PX,
) -> tuple[Box, ...]:
    """Return the boxes that cover `regions` of an image of `shape` (h, w), grown by a share of their short side."""
    grown = []
    for region in regions:
        short_px = min(region.x1 - region.x0, region.y1 - region.y0)
        padded = region.padded(max(min_pad_px, round(pad_share * short_px)), shape)
        if padded.x1 > padded.x0 and padded.y1 > padded.y0:
            grown.append((padded.x0, padded.y0, padded.x1, padded.y1))
    return tuple(grown)


def cover(boxes: Iterable[Box], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels (h, w) that lie in any of the boxes."""
    covered = np.zeros(shape, dtype=np.bool_)
    for x0, y0, x1, y1 in boxes:
        covered[y0:y1, x0:x1] = True
    return covered


def around(boxes: Sequence[Box]) -> Box:
    """Return the smallest box that contains all boxes."""
    return (
        min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)
    )  # fmt: skip


def relocate_all(image: NDArray[np.uint8], boxes: Sequence[Box], rng: np.random.Generator) -> tuple[Box, ...] | None:
    """Move every box to a place without boxes, matched in distance to the border and in local brightness.

    The distance is matched because networks look at borders: a mask in the middle of the chest is not a control for one in a
    corner. The brightness is matched because a rectangle on air is a different edit than one on bone.

    Parameters
    ----------
    image : ndarray of uint8, (h, w) or (h, w, 3)
        Whose brightness is matched.
    boxes : sequence of Box
        What to move; their old places stay forbidden.
    rng : numpy Generator
        For the candidates.

    Returns
    -------
    tuple of Box or None
        In the order of `boxes`; None if there is no room for one of them.
    """
    height, width = image.shape[:2]
    covered = cover(boxes, (height, width))
    brightness = _Brightness(image, covered)
    placed: list[Box] = []
    for box in boxes:
        candidates = _candidates(box, (*boxes, *placed), (height, width), rng)
        if not candidates:
            return None
        wanted = brightness.around(box)
        placed.append(min(candidates, key=lambda c: abs(brightness.inside(c) - wanted)))
    return tuple(placed)


def inner_part(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return what counts as the lungs of an image of `shape` (h, w) without a mask: all but its outer fifth."""
    height, width = shape
    inside = np.zeros(shape, dtype=np.bool_)
    dy, dx = round(LUNG_MARGIN_SHARE * height), round(LUNG_MARGIN_SHARE * width)
    inside[dy : height - dy, dx : width - dx] = True
    return inside


def in_lungs(box: Box, lungs: NDArray[np.bool_] | None, shape: tuple[int, int]) -> bool:
    """Say whether a box lies in the lungs: by the mask, or without one by its distance from the border."""
    x0, y0, x1, y1 = box
    if lungs is not None:
        return bool(lungs[y0:y1, x0:x1].mean() > _LUNG_SHARE)
    height, width = shape
    x, y = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height
    return LUNG_MARGIN_SHARE < x < 1 - LUNG_MARGIN_SHARE and LUNG_MARGIN_SHARE < y < 1 - LUNG_MARGIN_SHARE


def free_corner(
    size: tuple[int, int],
    taken: Sequence[Box],
    lungs: NDArray[np.bool_] | None,
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> Box | None:
    """Draw a corner of an image of `shape` (h, w) that fits a box of `size` (h, w), without text or lungs; else a place at the border."""
    height, width = shape
    h, w = size
    margin_y, margin_x = round(_MARGIN_SHARE * height), round(_MARGIN_SHARE * width)
    tops, lefts = (margin_y, height - h - margin_y), (margin_x, width - w - margin_x)
    if min(tops) < 0 or min(lefts) < 0:
        return None
    for corner in rng.permutation(4).tolist():
        top, left = tops[corner // 2], lefts[corner % 2]
        box = (left, top, left + w, top + h)
        masked = lungs is not None and in_lungs(box, lungs, shape)
        if not masked and not any(overlap(box, other) for other in taken):
            return box
    # If every corner is occupied, anywhere at the same distance from the border.
    seed = (margin_x, margin_y, margin_x + w, margin_y + h)
    along = (box for box in _candidates(seed, taken, shape, rng) if lungs is None or not in_lungs(box, lungs, shape))
    return next((box for box in along if lungs is not None or not in_lungs(box, None, shape)), None)


def overlap(a: Box, b: Box) -> bool:
    """Say whether two boxes share a pixel."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


class _Brightness:
    """Mean grey levels of boxes: of their own pixels, for a dozen boxes are a small part of an image."""

    def __init__(self, image: StoredImage, covered: NDArray[np.bool_]) -> None:
        self._image, self._covered = image, covered

    def inside(self, box: Box) -> float:
        """Return the mean level of what is not covered in a box."""
        x0, y0, x1, y1 = box
        free = ~self._covered[y0:y1, x0:x1]
        levels = luminance(self._image[y0:y1, x0:x1])
        n_free = int(free.sum())
        return int(levels[free].sum(dtype=np.int64)) / n_free if n_free else 0.0

    def around(self, box: Box) -> float:
        """Return the mean level of the pixels that are not covered, in a box and its surroundings of the same width."""
        x0, y0, x1, y1 = box
        reach = max(x1 - x0, y1 - y0) // 2 + 2
        height, width = self._covered.shape
        return self.inside((max(0, x0 - reach), max(0, y0 - reach), min(width, x1 + reach), min(height, y1 + reach)))


def _candidates(box: Box, taken: Sequence[Box], shape: tuple[int, int], rng: np.random.Generator) -> list[Box]:
    """Draw places along the border at the box's own distance from it; anywhere if that band is full."""
    height, width = shape
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    distance = min(x0, y0, width - x1, height - y1)
    found: list[Box] = []
    for attempt in range(2 * _TRIES):
        if attempt < _TRIES:
            left, top = _along_border(w, h, distance, shape, rng)
        elif found:
            break
        else:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
        moved = (left, top, left + w, top + h)
        if not any(overlap(moved, other) for other in taken):
            found.append(moved)
            if len(found) == _CANDIDATES:
                break
    return found


def _along_border(w: int, h: int, distance: int, shape: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Draw the corner of a box (w, h) whose nearest border is `distance` px away, on any of the four sides."""
    height, width = shape
    far_left, far_top = width - w - distance, height - h - distance
    # Free positions along each side, plus one so that a side that a box just fits into remains possible.
    travel_x, travel_y = max(0, far_left - distance) + 1, max(0, far_top - distance) + 1
    side = int(rng.choice(4, p=np.array([travel_x, travel_x, travel_y, travel_y]) / (2 * (travel_x + travel_y))))
    along_x, along_y = distance + int(rng.integers(travel_x)), distance + int(rng.integers(travel_y))
    left, top = ((along_x, distance), (along_x, far_top), (distance, along_y), (far_left, along_y))[side]
    return min(max(left, 0), width - w), min(max(top, 0), height - h)
