"""PP-OCR as text finder, looking at the image in several sizes and turned: markers are single, tilted or mirrored letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.records import TextRegion
from audit.text.merging import area_px, covered_share, merge_regions
from audit.text.ppocr import PpOcr
from audit.text.reading import BARE_SHAPES, MARGIN_SHARE, best_reading, is_bare, read_region

VIEWS = ((640, 0), (320, 0), (320, 1))
"""(long side in px, quarter turns). At 1,024 px and more, ribs look like strokes; at 320 px, letters of a third of the image are still letters."""
PIXEL_PROBABILITY = 0.2
# What the network marks with less is no text; with so much it is text at the border, where nothing else looks so, read or not.
POSSIBLE_PROBABILITY = 0.4
LIKELY_PROBABILITY = 0.6
# What is marked with so much needs no certain reading anywhere: the reader knows upright Latin letters best.
CERTAIN_PROBABILITY = 0.85
# The network marks the core of a line; its training target was the outline shrunk by this ratio.
UNCLIP_RATIO = 1.6
# Lungs, vertebrae and wires are sometimes taken for text. A marker hardly covers a twentieth of the image and lies in its outer fifth:
# what covers more or lies further inside must be read, and nothing that covers a quarter is text.
UNREAD_AREA_SHARE = 0.05
MAX_AREA_SHARE = 0.25
INNER_MARGIN_SHARE = 0.2
# How surely it must be read: what is marked with certainty, and what is not.
CERTAIN_READING_CONFIDENCE = 0.5
READING_CONFIDENCE = 0.9
# Of a merged region that others have found, this share needs no further look.
_KNOWN_SHARE = 0.8
_MIN_SIDE_PX = 3


class RapidOcrDetector:
    """PP-OCR in three views, with every region read.

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
    about = "PP-OCR in three views"

    def __init__(self, networks: PpOcr | None = None) -> None:
        self._networks = networks or PpOcr()
        self.parts = ((self.name, "3"), *self._networks.parts)
        self.version = f"3, {self._networks.version}"

    def config(self) -> Mapping[str, Any]:
        """Return the settings that change what is found."""
        return {
            "views": [list(view) for view in VIEWS],
            "pixel_probability": PIXEL_PROBABILITY,
            "probabilities": [POSSIBLE_PROBABILITY, LIKELY_PROBABILITY, CERTAIN_PROBABILITY],
            "unclip_ratio": UNCLIP_RATIO,
            "unread_area_share": UNREAD_AREA_SHARE,
            "max_area_share": MAX_AREA_SHARE,
            "inner_margin_share": INNER_MARGIN_SHARE,
            "reading_confidences": [CERTAIN_READING_CONFIDENCE, READING_CONFIDENCE],
            "bare_shapes": BARE_SHAPES,
        }

    def detect(self, image: NDArray[np.uint8]) -> Sequence[TextRegion]:
        """Return the regions of one grey image (h, w), each with the string that was read."""
        return [read_region(region, image, self._networks) for region in self.find(image)]

    def find(self, image: NDArray[np.uint8]) -> list[TextRegion]:
        """Return the regions without their strings; only doubtful ones are read, to tell text from lungs, vertebrae and wires."""
        clear: list[TextRegion] = []
        doubtful: list[TextRegion] = []
        for long_side_px, quarter_turns in VIEWS:
            for region in _regions(self._networks.text_map(image, long_side_px, quarter_turns), image.shape):
                (doubtful if _is_doubtful(region, image.shape) else clear).append(region)
        clear = merge_regions(clear)
        unknown = [r for r in merge_regions(doubtful) if covered_share(r, clear) < _KNOWN_SHARE]
        return merge_regions(clear + [region for region in unknown if self._can_be_read(region, image)])

    def _can_be_read(self, region: TextRegion, image: NDArray[np.uint8]) -> bool:
        certain = region.confidence >= CERTAIN_PROBABILITY
        # The region has a margin of its own; with more of it the neighbourhood may be read along, with less a letter be cut.
        for margin_share in (0.0, MARGIN_SHARE):
            text, sure, _ = best_reading(region, image, self._networks, margin_share=margin_share)
            if certain and sure >= CERTAIN_READING_CONFIDENCE:
                return True
            if sure >= READING_CONFIDENCE and not is_bare(text):
                return True
        return False


def _is_doubtful(region: TextRegion, shape: tuple[int, ...]) -> bool:
    """Say whether a region of an image of `shape` (h, w) is only text if it can be read."""
    height, width = shape[:2]
    if region.confidence < LIKELY_PROBABILITY or area_px(region) > UNREAD_AREA_SHARE * height * width:
        return True
    x, y = (region.x0 + region.x1) / 2 / width, (region.y0 + region.y1) / 2 / height
    return all(INNER_MARGIN_SHARE < place < 1 - INNER_MARGIN_SHARE for place in (x, y))


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
                detector=RapidOcrDetector.name,
                polygon=tuple((float(px), float(py)) for px, py in corners),
            )
        )
    return regions
