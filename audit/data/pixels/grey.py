"""From decoded values to uint8, a band of rows at a time: memory stays near that of the image itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audit.data.pixels.facts import GreyImage, StoredImage
from audit.data.pixels.limits import RefusedError

Values = NDArray[np.float64]
_BAND = 1 << 20


def bands(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of rows that hold about a million pixels each."""
    step = max(1, _BAND // max(1, shape[1]))
    for top in range(0, shape[0], step):
        yield slice(top, top + step)


def luma(rgb: NDArray[np.uint8]) -> GreyImage:
    """Return the ITU-R 601 luma of (h, w, 3), in Pillow's integers."""
    grey = np.empty(rgb.shape[:2], dtype=np.uint8)
    for band in bands(rgb.shape):
        grey[band] = np.asarray(Image.fromarray(np.ascontiguousarray(rgb[band])).convert("L"))
    return grey


def value_range(
    stored: NDArray[Any], rule: Callable[[Values], Values], padding: NDArray[np.bool_] | None = None
) -> tuple[float, float]:
    """Return the least and greatest of `rule` over an image, padding left out.

    Raises
    ------
    RefusedError
        If a value is not finite, or padding is all there is.
    """
    low, high = np.inf, -np.inf
    for band in bands(stored.shape):
        part = stored[band] if padding is None else stored[band][~padding[band]]
        if part.size == 0:
            continue
        # A rule may change the order of values, so that it is asked about each that occurs, once.
        values = rule((np.unique(part) if part.dtype.itemsize <= 2 else part.ravel()).astype(np.float64))
        if not np.isfinite(values).all():
            raise RefusedError("contains values that are not finite", "Export it again")
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    if high < low:
        raise RefusedError("contains only padding", "Remove it from the manifest")
    return low, high


def render(stored: NDArray[Any], rule: Callable[[Values], Values]) -> GreyImage:
    """Map every stored value by `rule` to 0..255, and round."""
    shown = np.empty(stored.shape, dtype=np.uint8)
    if stored.dtype.itemsize <= 2 and stored.dtype.kind in "iu":
        # One table for all values that the type can hold: far cheaper than arithmetic on every pixel.
        first = int(np.iinfo(stored.dtype).min)
        with np.errstate(all="ignore"):
            table = _rounded(rule(np.arange(first, int(np.iinfo(stored.dtype).max) + 1, dtype=np.float64)))
        for band in bands(stored.shape):
            shown[band] = table[stored[band].astype(np.int32) - first]
        return shown
    for band in bands(stored.shape):
        shown[band] = _rounded(rule(stored[band].astype(np.float64)))
    return shown


def stretch(low: float, high: float) -> Callable[[Values], Values]:
    """Return the rule that takes low to 0 and high to 255; a constant image becomes black."""
    if not high > low:
        return np.zeros_like
    width = high - low
    if not 1e-290 < width < 1e290:
        raise RefusedError("contains values whose range cannot be scaled", "Export it again")
    factor = 255.0 / width
    return lambda values: (values - low) * factor


def _rounded(values: Values) -> GreyImage:
    return np.asarray(np.rint(np.clip(values, 0.0, 255.0)), dtype=np.uint8)


def own_range(stored: NDArray[Any], *, inverted: bool = False) -> tuple[GreyImage, tuple[float, float]]:
    """Scale a wide-range image to 0..255 by its own extremes; return it and them."""
    low, high = value_range(stored, lambda values: values)
    shown = render(stored, stretch(low, high))
    return np.uint8(255) - shown if inverted else shown, (low, high)


def oriented(image: StoredImage, orientation: int) -> StoredImage:
    """Turn and mirror an image, (h, w) or (h, w, 3), as an EXIF orientation asks for; 1, and what is no orientation, leave it."""
    turned = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a),
    }.get(orientation)
    return image if turned is None else np.ascontiguousarray(turned(image))
