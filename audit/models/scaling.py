"""Scaling as the libraries of an owner's pipeline do it, and which part of the stored image a network's input shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F  # noqa: N812

from audit.data.input_choices import Fit, Interpolation, Library
from audit.data.planned_model import InputSteps

Size = tuple[int, int]
Window = tuple[float, float, float, float]
"""Top, left, bottom and right edge of what an input shows, in pixels of the image; beyond its edges there is padding."""

_PIL = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}
_OPENCV = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
    "area": cv2.INTER_AREA,
}
METHODS: Mapping[Library, tuple[Interpolation, ...]] = MappingProxyType(
    {
        "pil": ("bilinear", "bicubic", "lanczos", "nearest", "area"),
        "opencv": ("bilinear", "bicubic", "lanczos", "nearest", "area"),
        "torch": ("bilinear", "bicubic", "nearest", "area"),
        "torch-antialias": ("bilinear", "bicubic"),
    }
)
"""Interpolations that each library has."""


def scale_image(image: NDArray[np.uint8], steps: InputSteps, size: Size) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Fit an image, (h, w) or (h, w, 3), into a size (h, w) in one of the ways of `InputSteps.fit` but none.

    Returns
    -------
    ndarray
        Of 8 bits, as PIL and OpenCV leave it; of single precision from torch, which does not round.
    """
    inner = scaled_size(image.shape, steps.fit, size, steps.shorter_px)
    how = _BY_LIBRARY[steps.library]
    found: NDArray[Any] = image if image.shape[:2] == inner else how(image, inner, steps.interpolation)
    if steps.fit == "shorter-side":
        top, left = (_centre(inner[axis], size[axis]) for axis in (0, 1))
        return found[top : top + size[0], left : left + size[1]]
    if inner == size:
        return found
    top, left = ((size[axis] - inner[axis]) // 2 for axis in (0, 1))
    below, right = size[0] - inner[0] - top, size[1] - inner[1] - left
    around = ((top, below), (left, right), *[(0, 0)] * (found.ndim - 2))
    return np.pad(found, around, constant_values=steps.pad)


def scaled_size(shape: tuple[int, ...], fit: Fit, size: Size, shorter_px: int | None) -> Size:
    """Return the size that an image (h, w) is scaled to, before its centre is taken or it is padded."""
    height, width = shape[0], shape[1]
    if fit == "letterbox":
        scale = min(size[0] / height, size[1] / width)
        return max(1, min(size[0], round(height * scale))), max(1, min(size[1], round(width * scale)))
    if fit == "shorter-side":
        shorter = shorter_px or min(size)
        # As torchvision: the longer side is rounded down.
        scaled = (
            (shorter, int(shorter * width / height)) if height <= width else (int(shorter * height / width), shorter)
        )
        return max(size[0], scaled[0]), max(size[1], scaled[1])
    return size


def window_of(shape: tuple[int, ...], steps: InputSteps) -> Window:
    """Return which part of a stored image the input shows."""
    x0, y0, x1, y1 = crop_box(shape, steps)
    height, width = y1 - y0, x1 - x0
    if steps.size_px is None or steps.fit in ("squash", "none"):
        return y0, x0, y1, x1
    size = steps.size_px
    inner = scaled_size((height, width), steps.fit, size, steps.shorter_px)
    if steps.fit == "shorter-side":
        top, left = (_centre(inner[axis], size[axis]) for axis in (0, 1))
    else:
        top, left = (-((size[axis] - inner[axis]) // 2) for axis in (0, 1))
    per_y, per_x = height / inner[0], width / inner[1]
    return y0 + top * per_y, x0 + left * per_x, y0 + (top + size[0]) * per_y, x0 + (left + size[1]) * per_x


def crop_box(shape: tuple[int, ...], steps: InputSteps) -> tuple[int, int, int, int]:
    """Return the box (x0, y0, x1, y1) that is cut out of an image (h, w) first, of at least one pixel."""
    height, width = shape[0], shape[1]
    x0, y0, x1, y1 = steps.crop
    left, top = min(round(x0 * width), width - 1), min(round(y0 * height), height - 1)
    return left, top, max(left + 1, round(x1 * width)), max(top + 1, round(y1 * height))


def onto_image(maps: NDArray[np.float32], window: Window, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Carry maps (..., h, w) of a window to maps of the whole stored image (h, w), of the same number of pixels.

    What lies on one pixel is divided among those that it covers, so that sums are kept; what lies on padding is left out.
    """
    y0, x0, y1, x1 = window
    if (y0, x0, y1, x1) == (0, 0, shape[0], shape[1]):
        return maps
    rows = _shares(maps.shape[-2], y0 / shape[0], y1 / shape[0])
    columns = _shares(maps.shape[-1], x0 / shape[1], x1 / shape[1])
    return np.asarray(rows @ maps.astype(np.float64) @ columns.T, dtype=np.float32)


def _shares(n: int, start: float, stop: float) -> NDArray[np.float64]:
    """Return (n, n) how much of each of n source cells between start and stop lies in each of n cells between 0 and 1."""
    edges = start + (stop - start) * np.arange(n + 1) / n
    target = np.arange(n + 1) / n
    low = np.maximum(edges[None, :-1], target[:-1, None])
    high = np.minimum(edges[None, 1:], target[1:, None])
    shares: NDArray[np.float64] = np.clip(high - low, 0, None) * n / (stop - start)
    return shares


def _centre(length: int, size: int) -> int:
    # Python rounds halves to even, as torchvision's centre crop does.
    return round((length - size) / 2.0)


def _by_pil(image: NDArray[np.uint8], size: Size, how: Interpolation) -> NDArray[np.uint8]:
    return np.array(Image.fromarray(image).resize((size[1], size[0]), _PIL[how]), dtype=np.uint8)


def _by_opencv(image: NDArray[np.uint8], size: Size, how: Interpolation) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(np.ascontiguousarray(image), (size[1], size[0]), interpolation=_OPENCV[how]), np.uint8)


def _by_torch(
    image: NDArray[np.uint8], size: Size, how: Interpolation, *, antialias: bool = False
) -> NDArray[np.float32]:
    planes = np.array(image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0), dtype=np.float32, order="C")
    values = torch.from_numpy(planes)[None]
    if how in ("nearest", "area"):
        found = F.interpolate(values, size=size, mode=how)
    else:
        found = F.interpolate(values, size=size, mode=how, align_corners=False, antialias=antialias)
    scaled = found[0].clamp(0, 255).numpy()
    return np.ascontiguousarray(scaled[0] if image.ndim == 2 else np.moveaxis(scaled, 0, -1), dtype=np.float32)


def _by_torch_antialias(image: NDArray[np.uint8], size: Size, how: Interpolation) -> NDArray[np.float32]:
    return _by_torch(image, size, how, antialias=True)


_BY_LIBRARY: Mapping[Library, Callable[..., NDArray[np.uint8] | NDArray[np.float32]]] = MappingProxyType(
    {"pil": _by_pil, "opencv": _by_opencv, "torch": _by_torch, "torch-antialias": _by_torch_antialias}
)
