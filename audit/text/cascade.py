"""The finder by default: what PP-OCR marks, and also every marker-like shape that can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.records import TextRegion
from audit.text.cells import CELL_LENGTHS, CELL_PX, CORE_SHARE, marked_in_cells
from audit.text.marks import find_marks, shape_config
from audit.text.merging import covered_share, merge_regions
from audit.text.ppocr import PpOcr
from audit.text.rapidocr_finder import RapidOcrFinder
from audit.text.reading import is_bare, read_region, upright_reading

MIN_CONTRAST_LEVELS = 45.0
MIN_SHARPNESS = 0.35
# Turned and mirrored, loops of wire and clips read as letters often, so a shape must be read upright. One that PP-OCR does not mark even
# in a cell of its own must be read more surely, and the same with a narrow and a wide margin.
MIN_MARKED = 0.4
MIN_READING_CONFIDENCE = 0.95
MIN_UNMARKED_CONFIDENCE = 0.98
# The shape's own padding is margin enough; a wider one may let neighbours in. It may not change the verdict.
NARROW_MARGIN_SHARE = 0.05
# A shape of which PP-OCR has this share already needs no reading.
KNOWN_SHARE = 0.8
# More shapes than this are a grid, a texture or a page of print, not markers; the clearest are read.
MAX_READ = 40


class CascadeFinder:
    """PP-OCR in four views, joined by shapes of a letter's size that it overlooked and its reader can read.

    Raises
    ------
    TextError
        If the package rapidocr is missing.
    """

    name = "cascade"
    looks_up = False
    about = "PP-OCR in four views, and shapes of a letter's size that its reader can read"

    def __init__(self) -> None:
        self._networks = PpOcr()
        self._finder = RapidOcrFinder(self._networks)
        self.parts = ((self.name, "2"), *self._finder.parts, ("opencv", cv2.__version__))
        self.version = f"2, {self._finder.version}, opencv {cv2.__version__}"

    def config(self) -> Mapping[str, Any]:
        """Return the settings that change what is found."""
        return {
            **self._finder.config(),
            "shapes": shape_config(),
            "min_contrast_levels": MIN_CONTRAST_LEVELS,
            "min_sharpness": MIN_SHARPNESS,
            "cells": [CELL_PX, CELL_LENGTHS, CORE_SHARE],
            "min_marked": MIN_MARKED,
            "min_reading_confidence": MIN_READING_CONFIDENCE,
            "min_unmarked_confidence": MIN_UNMARKED_CONFIDENCE,
            "narrow_margin_share": NARROW_MARGIN_SHARE,
            "known_share": KNOWN_SHARE,
            "max_read": MAX_READ,
        }

    def find(self, image: NDArray[np.uint8]) -> Sequence[TextRegion]:
        """Return the regions of one grey image (h, w), each with the string that was read."""
        regions = self._finder.find_unread(image)
        regions += self._overlooked(image, regions)
        return [read_region(region, image, self._networks) for region in merge_regions(regions)]

    def _overlooked(self, image: NDArray[np.uint8], known: Sequence[TextRegion]) -> list[TextRegion]:
        clear = [m for m in find_marks(image) if m.contrast >= MIN_CONTRAST_LEVELS and m.sharpness >= MIN_SHARPNESS]
        clear.sort(key=lambda m: (-m.contrast * m.sharpness, m.y0, m.x0))
        shapes = [m.region(image.shape, text="", confidence=0.0, detector=self.name) for m in clear]
        overlooked = [s for s in shapes if s is not None and covered_share(s, known) <= KNOWN_SHARE][:MAX_READ]
        narrow = {s: upright_reading(s, image, self._networks, margin_share=NARROW_MARGIN_SHARE) for s in overlooked}
        read = [s for s, (text, sure) in narrow.items() if sure >= MIN_READING_CONFIDENCE and not is_bare(text)]
        found = []
        for shape, marked in zip(read, marked_in_cells(read, image, self._networks), strict=True):
            text, sure = narrow[shape]
            if marked >= MIN_MARKED or self._reads_again(shape, image, text, sure):
                found.append(
                    TextRegion(x0=shape.x0, y0=shape.y0, x1=shape.x1, y1=shape.y1, confidence=sure, detector=self.name)
                )
        return found

    def _reads_again(self, shape: TextRegion, image: NDArray[np.uint8], text: str, sure: float) -> bool:
        again, also_sure = upright_reading(shape, image, self._networks)
        return again == text and min(sure, also_sure) >= MIN_UNMARKED_CONFIDENCE
