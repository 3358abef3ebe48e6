"""JPEG compression: the quality that an image was once encoded at, told from its grey levels, and an image encoded at a quality.

JPEG rounds the cosine transform of each block of 8 x 8 pixels to multiples of the steps in a table, and a quality is one table
(Annex K of ITU-T T.81, scaled as libjpeg does). Once decoded, the coefficients still lie near those multiples, whatever format the image is
stored in later, unless it was resized or cropped by other than multiples of 8. Such traces are gone then, and other tables are not
told: an image without traces, or with hardly any detail, counts as not compressed.
"""

from __future__ import annotations

import io

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from PIL import Image

from audit.data.pixels.colour import luminance
from audit.data.pixels.facts import StoredImage
from audit.perturbations.memory import OnceAnImage

UNCOMPRESSED = 100.0
"""Quality of an image without traces of JPEG compression."""
_QUALITIES = np.arange(3, 96)
"""Those that leave traces in grey levels: above them steps are hardly larger than the rounding of pixels."""
_BLOCK_PX, _MOST_BLOCKS, _LOWEST = 8, 1024, 4
# Steps of the table at quality 50 for the lowest frequencies, by row and column.
_STEPS = np.array([[16, 11, 10, 16], [12, 12, 14, 19], [14, 13, 16, 24], [14, 17, 22, 29]], dtype=np.float64)
# Mean distance from a multiple, in steps, below which coefficients lie on the multiples; of any others it is 0.25 or more.
_NEAR = 0.125
# Flat blocks of one level that count.
_MOST_ALIKE = 16
# Coefficients that are no zeros, at least, for their distances to say anything.
_FEWEST = 48
# A quality that passes by chance lies close to the true one.
_NEIGHBOURS = 12


def jpeg_quality(image: StoredImage) -> float:
    """Return the quality from 3 to 95 at which an image (h, w) or (h, w, 3) was last strongly encoded; `UNCOMPRESSED` without traces.

    Of several encodings the coarsest is told, which is the one that took most away.
    """
    return _quality_once(image)


def compressed(image: StoredImage, quality: int) -> StoredImage:
    """Return a copy of an image (h, w) or (h, w, 3), encoded as JPEG at a quality from 1 to 95 and decoded."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as decoded:
        return np.array(decoded, dtype=np.uint8)


def _quality(image: StoredImage) -> float:
    coefficients = _coefficients(luminance(image))
    distances = np.array([_distance(coefficients, steps) for steps in _tables()])
    near = np.flatnonzero(distances < _NEAR)
    if not near.size:
        return UNCOMPRESSED
    # Steps that are a fraction of the true ones fit as well: the coarsest table that fits is the one.
    around = slice(int(near[0]), int(near[0]) + _NEIGHBOURS)
    return float(_QUALITIES[around][int(np.argmin(distances[around]))])


# The draws of an image's conditions ask again and again.
_quality_once = OnceAnImage(lambda image, _key: _quality(image), 1)


def _coefficients(grey: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the lowest frequencies (n, 4, 4) of blocks; not of clipped ones, which are moved off the multiples."""
    rows, columns = (side // _BLOCK_PX for side in grey.shape)
    cut = grey[: rows * _BLOCK_PX, : columns * _BLOCK_PX]
    blocks = cut.reshape(rows, _BLOCK_PX, columns, _BLOCK_PX).swapaxes(1, 2).reshape(-1, _BLOCK_PX, _BLOCK_PX)
    low, high = blocks.min(axis=(1, 2), initial=255), blocks.max(axis=(1, 2), initial=0)
    blocks, flat = (blocks[(low > 0) & (high < 255)], np.where(low == high, low, 0)[(low > 0) & (high < 255)])
    # A strong compression leaves many flat blocks, but so does an even background: of each level a few count.
    order = np.argsort(flat, kind="stable")
    first = np.searchsorted(flat[order], flat[order])
    blocks = blocks[np.sort(order[(flat[order] == 0) | (np.arange(len(order)) - first < _MOST_ALIKE)])]
    blocks = blocks[:: max(1, -(-len(blocks) // _MOST_BLOCKS))]
    found = scipy.fft.dctn(blocks - 128.0, axes=(1, 2), norm="ortho")
    return np.asarray(found[:, :_LOWEST, :_LOWEST], dtype=np.float64)


def _tables() -> list[NDArray[np.float64]]:
    scales = [5000 / q if q < 50 else 200.0 - 2 * q for q in _QUALITIES.tolist()]
    return [np.clip(np.floor((_STEPS * scale + 50) / 100), 1, 255) for scale in scales]


def _distance(coefficients: NDArray[np.float64], steps: NDArray[np.float64]) -> float:
    """Return how far coefficients that are no zeros lie from the multiples of steps, in steps, on average."""
    multiples = coefficients / steps
    nearest = np.rint(multiples)
    apart = np.abs(multiples - nearest)[nearest != 0]
    return float(apart.mean()) if apart.size >= _FEWEST else 1.0
