"""PP-OCR as text finder, looking at the image in several sizes and turned: markers are single, tilted or mirrored letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.records import LUNG_MARGIN_SHARE, TextRegion
from audit.text.merging import area_px, covered_share, intersection_px, merge_regions
from audit.text.ppocr import PpOcr
from audit.text.reading import BARE_SHAPES, MARGIN_SHARE, best_reading, is_bare, read_region

LONG_SIDE_PX = 640
"""Working size; at 1,024 px and more, ribs look like strokes."""
MAX_UPSCALE = 1.5
"""Beyond it a small image gains no information, only cost."""
VIEWS = ((1.0, 0), (1.0, 1), (0.5, 0), (0.5, 1))
"""(share of the working size, quarter turns). At half of it, letters of a third of the image are still letters."""
PIXEL_PROBABILITY = 0.2
# What the network marks with less is no text, nor is a large region with less than the second; from the third on it is text at the border,
# where little else looks so, read or not.
POSSIBLE_PROBABILITY = 0.4
LARGE_PROBABILITY = 0.5
LIKELY_PROBABILITY = 0.6
# What is marked with so much needs no certain reading anywhere: the reader knows upright Latin letters best.
CERTAIN_PROBABILITY = 0.8
# The network marks the core of a line; its training target was the outline shrunk by this ratio.
UNCLIP_RATIO = 1.6
# Lungs, vertebrae and wires are sometimes taken for text. A marker hardly covers a twentieth of the image and lies in its outer fifth:
# what covers more or lies further inside must be read, what covers a quarter must be a word, and nothing that covers half of it is text.
UNREAD_AREA_SHARE = 0.05
WORD_AREA_SHARE = 0.25
WORD_LETTERS = 2
MAX_AREA_SHARE = 0.5
# How surely it must be read: what is marked with certainty, and what is not.
CERTAIN_READING_CONFIDENCE = 0.5
READING_CONFIDENCE = 0.95
# A doubtful region needs no reading if this share of it is in a region that is text, or if it shares as much with one that was not read.
_KNOWN_SHARE = 0.8
_SAME_SHARE = 0.7
_MIN_SIDE_PX = 3


class RapidOcrFinder:
    """PP-OCR in four views, with every region read.

    Parameters
    ----------
    networks : PpOcr, optional
        To share with another finder; loaded if omitted.

    Raises
    ------
    TextError
        If the package rapidocr is missing.
    """

    name = "rapidocr"
    looks_up = False
    about = "PP-OCR in four views"

    def __init__(self, networks: PpOcr | None = None) -> None:
        self._networks = networks or PpOcr()
        self.parts = ((self.name, "3"), *self._networks.parts)
        self.version = f"3, {self._networks.version}"

    def config(self) -> Mapping[str, Any]:
        """Return the settings that change what is found."""
        return {
            "long_side_px": LONG_SIDE_PX,
            "max_upscale": MAX_UPSCALE,
            "views": [list(view) for view in VIEWS],
            "pixel_probability": PIXEL_PROBABILITY,
            "probabilities": [POSSIBLE_PROBABILITY, LARGE_PROBABILITY, LIKELY_PROBABILITY, CERTAIN_PROBABILITY],
            "unclip_ratio": UNCLIP_RATIO,
            "area_shares": [UNREAD_AREA_SHARE, WORD_AREA_SHARE, MAX_AREA_SHARE],
            "word_letters": WORD_LETTERS,
            "inner_margin_share": LUNG_MARGIN_SHARE,
            "reading_confidences": [CERTAIN_READING_CONFIDENCE, READING_CONFIDENCE],
            "bare_shapes": BARE_SHAPES,
        }

    def find(self, image: NDArray[np.uint8]) -> Sequence[TextRegion]:
        """Return the regions of one grey image (h, w), each with the string that was read."""
        return [read_region(region, image, self._networks) for region in self.find_unread(image)]

    def find_unread(self, image: NDArray[np.uint8]) -> list[TextRegion]:
        """Return the regions without their strings; only doubtful ones are read, to tell text from lungs, vertebrae and wires."""
        clear: list[TextRegion] = []
        doubtful: list[TextRegion] = []
        working_px = min(LONG_SIDE_PX, MAX_UPSCALE * max(image.shape))
        for share, quarter_turns in VIEWS:
            for region in _regions(self._networks.text_map(image, share * working_px, quarter_turns), image.shape):
                (doubtful if _is_doubtful(region, image.shape) else clear).append(region)
        unread_px = UNREAD_AREA_SHARE * image.shape[0] * image.shape[1]
        read: list[TextRegion] = []
        unread: list[TextRegion] = []
        # The smallest first: merged, a letter would be lost with the lung around it.
        for region in sorted(doubtful, key=lambda r: (area_px(r), r.y0, r.x0, r.y1, r.x1)):
            if region.confidence < LARGE_PROBABILITY and area_px(region) > unread_px:
                continue  # a lung; a letter of that size is marked more surely
            if covered_share(region, [*clear, *read]) >= _KNOWN_SHARE or _is_like(region, unread):
                continue  # known, or read in vain where another view was surer of it
            (read if self._can_be_read(region, image) else unread).append(region)
        return merge_regions(clear + read)

    def _can_be_read(self, region: TextRegion, image: NDArray[np.uint8]) -> bool:
        large = area_px(region) > WORD_AREA_SHARE * image.shape[0] * image.shape[1]
        certain = region.confidence >= CERTAIN_PROBABILITY and not large
        inner = _is_inner(region, image.shape)
        # The region has a margin of its own; with more of it the neighbourhood may be read along, with less a letter be cut.
        for margin_share in (0.0, MARGIN_SHARE):
            text, sure, _ = best_reading(region, image, self._networks, margin_share=margin_share, any_script=certain)
            if certain and sure >= CERTAIN_READING_CONFIDENCE and not (inner and is_bare(text)):
                return True
            letters = sum(c.isalnum() for c in text)
            if sure >= READING_CONFIDENCE and (letters >= WORD_LETTERS or not (large or is_bare(text))):
                return True
        return False


def _is_like(region: TextRegion, others: Sequence[TextRegion]) -> bool:
    """Say whether a region is nearly one of the others, as another view has marked it no less surely."""
    surer = (other for other in others if other.confidence >= region.confidence)
    shared = ((intersection_px(region, other), area_px(other)) for other in surer)
    return any(both >= _SAME_SHARE * (area_px(region) + area - both) for both, area in shared)


def _is_doubtful(region: TextRegion, shape: tuple[int, ...]) -> bool:
    """Say whether a region of an image of `shape` (h, w) is only text if it can be read."""
    height, width = shape[:2]
    if region.confidence < LIKELY_PROBABILITY or area_px(region) > UNREAD_AREA_SHARE * height * width:
        return True
    return _is_inner(region, shape)


def _is_inner(region: TextRegion, shape: tuple[int, ...]) -> bool:
    """Say whether the middle of a region lies where the lungs may be: not in the outer fifth of an image of `shape` (h, w)."""
    x, y = (region.x0 + region.x1) / 2 / shape[1], (region.y0 + region.y1) / 2 / shape[0]
    return all(LUNG_MARGIN_SHARE < place < 1 - LUNG_MARGIN_SHARE for place in (x, y))


def _regions(text_map: NDArray[np.float32], shape: tuple[int, ...]) -> list[TextRegion]:
    """Turn a map of probabilities (h', w') into regions of an image of `shape` (h, w)."""
    height, width = shape[:2]
    scale = np.array([width / text_map.shape[1], height / text_map.shape[0]])
    n, part_of, boxes, _ = cv2.connectedComponentsWithStats(
        (text_map > PIXEL_PROBABILITY).astype(np.uint8), connectivity=8
    )
    regions = []
    for number in range(1, n):
        x, y, w, h, _area = (int(v) for v in boxes[number])
        if min(w, h) < _MIN_SIDE_PX:
            continue
        window = np.s_[y : y + h, x : x + w]
        inside = part_of[window] == number
        confidence = float(text_map[window][inside].mean())
        if confidence < POSSIBLE_PROBABILITY:
            continue
        outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        (cx, cy), (rw, rh), turn = cv2.minAreaRect(np.concatenate(outlines))
        rw, rh = rw + 1, rh + 1
        grow = 2 * UNCLIP_RATIO * rw * rh / (2 * (rw + rh))
        corners = cv2.boxPoints(((cx + x + 0.5, cy + y + 0.5), (rw + grow, rh + grow), turn)) * scale
        x0, y0 = (int(v) for v in np.maximum(0, np.floor(corners.min(axis=0))))
        x1, y1 = (int(v) for v in np.minimum((width, height), np.ceil(corners.max(axis=0))))
        if x1 - x0 < 2 or y1 - y0 < 2 or (x1 - x0) * (y1 - y0) > MAX_AREA_SHARE * height * width:
            continue
        regions.append(
            TextRegion(
                x0=x0,
                y0=y0,
                x1=x1,
                y1=y1,
                confidence=confidence,
                detector=RapidOcrFinder.name,
                polygon=tuple((float(px), float(py)) for px, py in corners),
            )
        )
    return regions
