"""PP-OCR as text finder, looking at the image in several sizes and turned: markers are single, tilted or mirrored letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.records import TextRegion
from audit.text.merging import area_px, merge_regions
from audit.text.ppocr import PpOcr
from audit.text.reading import best_reading, read_region

VIEWS = ((640, 0), (640, 1), (800, 0), (800, 1))
"""(long side in px, quarter turns). At 1,024 px and more, ribs look like strokes."""
PIXEL_PROBABILITY = 0.2
REGION_PROBABILITY = 0.5
# The network marks the core of a line; its training target was the outline shrunk by this ratio.
UNCLIP_RATIO = 1.6
# A whole lung is sometimes taken for text. A marker hardly covers a twentieth of the image: what covers more must be read as several
# letters, and nothing that covers a quarter is text.
UNREAD_AREA_SHARE = 0.05
MAX_AREA_SHARE = 0.25
LARGE_READING_CONFIDENCE = 0.95
LARGE_LETTERS = 2
_MIN_SIDE_PX = 3


class RapidOcrDetector:
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
    about = "PP-OCR in four views"

    def __init__(self, networks: PpOcr | None = None) -> None:
        self._networks = networks or PpOcr()
        self.parts = ((self.name, "2"), *self._networks.parts)
        self.version = f"2, {self._networks.version}"

    def config(self) -> Mapping[str, Any]:
        """Return the settings that change what is found."""
        return {
            "views": [list(view) for view in VIEWS],
            "pixel_probability": PIXEL_PROBABILITY,
            "region_probability": REGION_PROBABILITY,
            "unclip_ratio": UNCLIP_RATIO,
            "unread_area_share": UNREAD_AREA_SHARE,
            "max_area_share": MAX_AREA_SHARE,
            "large_reading_confidence": LARGE_READING_CONFIDENCE,
            "large_letters": LARGE_LETTERS,
        }

    def detect(self, image: NDArray[np.uint8]) -> Sequence[TextRegion]:
        """Return the regions of one grey image (h, w), each with the string that was read."""
        return [read_region(region, image, self._networks) for region in self.find(image)]

    def find(self, image: NDArray[np.uint8]) -> list[TextRegion]:
        """Return the regions without their strings; only the largest are read, to tell words from lungs."""
        small: list[TextRegion] = []
        large: list[TextRegion] = []
        unread_px = UNREAD_AREA_SHARE * image.shape[0] * image.shape[1]
        for long_side_px, quarter_turns in VIEWS:
            for region in _regions(self._networks.text_map(image, long_side_px, quarter_turns), image.shape):
                (large if area_px(region) > unread_px else small).append(region)
        return merge_regions(small + [region for region in merge_regions(large) if self._is_word(region, image)])

    def _is_word(self, region: TextRegion, image: NDArray[np.uint8]) -> bool:
        # The region has a margin of its own; with more of it the neighbourhood would be read along.
        text, sure, _ = best_reading(region, image, self._networks, margin_share=0.0)
        return sure >= LARGE_READING_CONFIDENCE and sum(c.isalnum() for c in text) >= LARGE_LETTERS


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
        if confidence < REGION_PROBABILITY:
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
