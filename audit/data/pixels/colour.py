"""Images of one or of three channels: what works on grey (h, w) works on red, green and blue (h, w, 3), one channel after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.facts import GreyImage, StoredImage
from audit.data.pixels.grey import bands, luma

VISIBLE_LEVELS = 16
"""Levels by which channels differ where an eye sees colour: those of a grey JPEG that was stored as colour differ by less."""
_RGB = 3


def channels_of(image: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the channels (h, w) of an image (h, w) or (h, w, 3)."""
    return [image] if image.ndim < _RGB else [np.ascontiguousarray(image[..., k]) for k in range(image.shape[2])]


def by_channel(edit: Callable[..., NDArray[Any]], image: NDArray[Any], *others: Any) -> NDArray[Any]:
    """Apply to each channel what is written for grey (h, w).

    Parameters
    ----------
    edit : callable
        Given a channel, and of each of `others` what belongs to it.
    image : ndarray, (h, w) or (h, w, 3)
    *others : object
        Lists hold one entry for each channel; anything else is the same for all.
    """
    if image.ndim < _RGB:
        return edit(image, *(other[0] if isinstance(other, list) else other for other in others))
    made = [
        edit(channel, *(other[k] if isinstance(other, list) else other for other in others))
        for k, channel in enumerate(channels_of(image))
    ]
    return np.stack(made, axis=-1)


def like(image: NDArray[Any], plane: NDArray[Any]) -> NDArray[Any]:
    """Return a plane (h, w) with the axes of an image, so that the two can be combined."""
    return plane[..., None] if image.ndim == _RGB else plane


def luminance(image: StoredImage) -> GreyImage:
    """Return the brightness (h, w) of an image: itself where it is grey."""
    return image if image.ndim < _RGB else luma(image)


def in_colour(image: GreyImage) -> StoredImage:
    """Return grey (h, w) as three equal channels (h, w, 3)."""
    return np.ascontiguousarray(np.broadcast_to(image[..., None], (*image.shape, _RGB)))


def is_grey(image: StoredImage) -> bool:
    """Say whether an image has one channel, or three that are equal everywhere."""
    if image.ndim < _RGB:
        return True
    return all(
        bool((image[band, :, 0] == image[band, :, k]).all()) for band in bands(image.shape) for k in range(1, _RGB)
    )


def coloured_share(rgb: NDArray[np.uint8]) -> float | None:
    """Return the share of pixels (h, w, 3) that show colour; None where the channels are equal everywhere."""
    n_apart, n_visible = 0, 0
    for band in bands(rgb.shape):
        red, green, blue = (rgb[band, :, k] for k in range(_RGB))
        spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
        n_apart += int(np.count_nonzero(spread))
        n_visible += int(np.count_nonzero(spread > VISIBLE_LEVELS))
    return round(n_visible / (rgb.shape[0] * rgb.shape[1]), 4) if n_apart else None
