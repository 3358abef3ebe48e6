"""Pictures for reports: images as JPEG, relevance as a transparent PNG to lay over them."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LONG_SIDE_PX = 384
JPEG_QUALITY = 75
_WARM = (230, 97, 1)
_COLD = (45, 90, 170)


def shown_size(shape: tuple[int, ...], long_side_px: int = LONG_SIDE_PX) -> tuple[int, int]:
    """Return (width, height) at which an image of shape (h, w) is shown."""
    scale = min(1.0, long_side_px / max(shape[:2]))
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def image_jpeg(image: NDArray[np.uint8], size: tuple[int, int]) -> bytes:
    """Return an image, (h, w) or (h, w, 3), as JPEG of (width, height)."""
    buffer = io.BytesIO()
    Image.fromarray(image).resize(size, Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def relevance_png(relevance: NDArray[np.floating]) -> bytes:
    """Colour a heatmap (h, w) by sign and strength: warm is evidence for the output, cold against it."""
    relevance = np.asarray(relevance, dtype=np.float64)
    limit = float(np.quantile(np.abs(relevance), 0.995)) or 1.0
    strength = np.clip(relevance / limit, -1.0, 1.0)
    pixels = np.zeros((*relevance.shape, 4), dtype=np.uint8)
    pixels[..., :3] = np.where(strength[..., None] >= 0, np.array(_WARM), np.array(_COLD))
    pixels[..., 3] = np.rint(255 * np.sqrt(np.abs(strength)))
    buffer = io.BytesIO()
    # The map's own size: the browser scales it, and a PNG of 128 px costs a tenth of one of 384.
    Image.fromarray(pixels, "RGBA").quantize(64).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
