"""Markers found without OCR: small bright shapes with sharp edges, as lead letters and burned-in overlays are.

A white top-hat (the image minus its opening) leaves what is brighter than its surroundings and smaller than the opening's
disc, on black background and over the mediastinum alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.records import TextRegion
from audit.text.merging import merge_regions

LONG_SIDE_PX = 1024
DISC_SHARE = 0.022
MIN_SIDE_SHARE = 0.010
MAX_SIDE_SHARE = 0.09
MAX_ASPECT = 8.0
FILL = (0.12, 0.95)
CONTRAST_LEVELS = 35
PAD_SHARE = 0.15
# What makes a shape a marker where nothing can be read: a stronger contrast, mostly sharp edges, one thickness of stroke.
ALONE_CONTRAST_LEVELS = 60.0
ALONE_SHARPNESS = 0.5
ALONE_STROKE_SHARE = 0.022
_MAX_UPSCALE = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A shape that could be a letter."""

    x0: float
    """Left edge, in pixels of the stored image, as the others."""
    y0: float
    """Top edge."""
    x1: float
    """Right edge."""
    y1: float
    """Bottom edge."""
    contrast: float
    """Median height above the surroundings, in grey levels."""
    sharpness: float
    """Share of edge pixels whose slope is a quarter of the contrast or more, in one stored pixel at most 1,024 to a side."""
    stroke_share: float
    """Thickest stroke, as a share of the image's long side."""

    def region(self, shape: tuple[int, ...], *, text: str, confidence: float, detector: str) -> TextRegion | None:
        """Return the padded box, clipped to an image of `shape` (h, w); None if nothing of it is inside."""
        height, width = shape[:2]
        pad = PAD_SHARE * min(self.x1 - self.x0, self.y1 - self.y0)
        x0, y0 = max(0, int(np.floor(self.x0 - pad))), max(0, int(np.floor(self.y0 - pad)))
        x1, y1 = min(width, int(np.ceil(self.x1 + pad))), min(height, int(np.ceil(self.y1 + pad)))
        if x1 - x0 < 2 or y1 - y0 < 2:
            return None
        return TextRegion(x0=x0, y0=y0, x1=x1, y1=y1, text=text, confidence=confidence, detector=detector)


def find_marks(image: NDArray[np.uint8]) -> list[Mark]:
    """Return every connected bright shape of a letter's size in a grey image (h, w)."""
    height, width = image.shape
    scale = min(LONG_SIDE_PX / max(height, width), _MAX_UPSCALE)
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    working = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    long_side = max(size)
    disc_px = int(DISC_SHARE * long_side)
    # Letters cut by the edge stay shapes: the edge's grey goes on.
    working = cv2.copyMakeBorder(working, disc_px, disc_px, disc_px, disc_px, cv2.BORDER_REPLICATE)
    smooth = cv2.GaussianBlur(working, (3, 3), 0)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * (disc_px // 2) + 1,) * 2)
    risen = cv2.morphologyEx(smooth, cv2.MORPH_TOPHAT, disc)
    slope = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)) / 8
    # Enlarging flattens every slope.
    steep = 0.25 / max(1.0, scale)
    n, shape_of, boxes, _ = cv2.connectedComponentsWithStats((risen > CONTRAST_LEVELS).astype(np.uint8), connectivity=8)
    marks = []
    for number in range(1, n):
        x, y, w, h, area = (int(v) for v in boxes[number])
        longer, shorter = max(w, h), min(w, h)
        if not MIN_SIDE_SHARE * long_side <= longer <= MAX_SIDE_SHARE * long_side:
            continue
        if shorter < 3 or longer / shorter > MAX_ASPECT or not FILL[0] < area / (w * h) < FILL[1]:
            continue
        window = np.s_[y : y + h, x : x + w]
        inside = (shape_of[window] == number).astype(np.uint8)
        contrast = float(np.median(risen[window][inside > 0]))
        edge = (inside > 0) & (cv2.erode(inside, np.ones((3, 3), np.uint8)) == 0)
        marks.append(
            Mark(
                x0=(x - disc_px) * width / size[0],
                y0=(y - disc_px) * height / size[1],
                x1=(x - disc_px + w) * width / size[0],
                y1=(y - disc_px + h) * height / size[1],
                contrast=contrast,
                sharpness=float((slope[window][edge] > steep * contrast).mean()),
                stroke_share=2 * float(cv2.distanceTransform(np.pad(inside, 1), cv2.DIST_L2, 3).max()) / long_side,
            )
        )
    return marks


class MarksFinder:
    """The finder of last resort: no weights, nothing read; it takes clips and wires for letters now and then."""

    name = "markers"
    looks_up = False
    about = "shapes of a letter's size, without reading them"

    def __init__(self) -> None:
        # The algorithm's own, raised with every change of what it finds.
        self.parts = ((self.name, "1"), ("opencv", cv2.__version__))
        self.version = f"1, opencv {cv2.__version__}"

    def config(self) -> Mapping[str, Any]:
        """Return the settings that change what is found."""
        return {
            **shape_config(),
            "alone_contrast_levels": ALONE_CONTRAST_LEVELS,
            "alone_sharpness": ALONE_SHARPNESS,
            "alone_stroke_share": ALONE_STROKE_SHARE,
        }

    def find(self, image: NDArray[np.uint8]) -> Sequence[TextRegion]:
        """Return the shapes of one grey image (h, w) that are markers by their looks."""
        found = [
            mark.region(image.shape, text="", confidence=mark.sharpness, detector=self.name)
            for mark in find_marks(image)
            if mark.contrast >= ALONE_CONTRAST_LEVELS
            and mark.sharpness >= ALONE_SHARPNESS
            and mark.stroke_share <= ALONE_STROKE_SHARE
        ]
        return merge_regions([region for region in found if region is not None])


def shape_config() -> Mapping[str, Any]:
    """Return the settings that decide which shapes are looked at."""
    return {
        "long_side_px": LONG_SIDE_PX,
        "disc_share": DISC_SHARE,
        "side_share": [MIN_SIDE_SHARE, MAX_SIDE_SHARE],
        "max_aspect": MAX_ASPECT,
        "fill": list(FILL),
        "contrast_levels": CONTRAST_LEVELS,
        "pad_share": PAD_SHARE,
    }
