"""Sharpness and noise of images, measured outside the disease; and how an image loses sharpness or gains noise.

An image can be blurred and made noisy, but what a blur or a coarse detector took away does not come back. So images are only moved
towards what is less sharp or noisier. The noise is that of the smoothest parts, and is taken as white.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.colour import by_channel, like
from audit.data.pixels.facts import GreyImage, StoredImage
from audit.perturbations.looks import amplitude_by_band, cycles, filtered

Field = NDArray[np.float64]

BANDS = np.geomspace(8, 320, 12)
"""Centres of the bands of frequencies, in cycles a long side; the first is the reference."""
_LEAST_GAIN = 0.02
"""Least factor by which a band is damped: below it nothing is left of its grey levels."""
_ROUNDING = 1 / 12
"""Variance, in grey levels, of the noise of rounding: every stored image has it."""
# Share of a band that may be noise which the other class lacks.
_MOST_NOISE = 0.75
# Amplitude of a band over that of the first, at least, for it to say anything.
_LEAST_TOTAL = 0.02
# Larger images are measured at this long side: twice the highest band.
_LONGEST_PX = 1024
# Side of the blocks whose noise is measured, how many are needed, and which of them count as smooth.
_BLOCK_PX, _FEWEST_BLOCKS, _SMOOTHEST = 8, 8, 0.15
_CLIPPED = (3, 252)
# Bands above the first on which the width of a blur is fitted: further ones weigh little for a network and more for noise.
_FITTED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Texture:
    """Sharpness and noise of one image, or the mean of a class."""

    total: Field
    """(b,) amplitude of each band over that of the first; nan beyond the image's own resolution."""
    noise: float
    """Standard deviation of the noise beyond rounding, in grey levels."""
    power: float
    """Of the first band, in squared grey levels a pixel."""

    def as_row(self) -> Field:
        """Return all of it in a row (b + 2,), for averages."""
        return np.array([*self.total, self.noise, self.power], dtype=np.float64)

    @classmethod
    def from_row(cls, row: Field) -> Texture:
        """Return a texture from its row."""
        noise, power = row[-2:].tolist()
        return cls(total=row[:-2], noise=noise, power=power)


@dataclass(frozen=True, kw_only=True, slots=True)
class Blur:
    """What an image of one class must lose to be as little sharp as one of another."""

    gains: Field
    """(b,) factor of each band, at most 1."""
    width: float
    """Of a Gaussian whose logarithm falls with the square of the frequency: what the first band and those below it lose."""


def measure_texture(image: GreyImage, outside: NDArray[np.bool_]) -> Texture:
    """Measure the sharpness and the noise of a part of an image.

    Parameters
    ----------
    image : ndarray of uint8, (h, w)
        Without frame and text.
    outside : ndarray of bool, (h, w)
        What is measured.
    """
    scale = _LONGEST_PX / max(image.shape)
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        outside = cv2.resize(outside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(np.bool_)
    # The window falls smoothly to zero at the border and at the lungs, so that no edge of its own is measured.
    ramp = max(3, max(image.shape) // 12)
    padded = np.pad(outside, 1).astype(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    window = (0.5 - 0.5 * np.cos(np.pi * np.minimum(distance / ramp, 1.0))).astype(np.float32)
    mean = float((image * window).sum() / max(float(window.sum()), 1e-9))
    # Frequencies below the window's are not sharpness, and would leak into every band.
    detail = image.astype(np.float32) - mean - cv2.GaussianBlur(image.astype(np.float32) - mean, (0, 0), ramp / 2)
    density = amplitude_by_band(detail * window, BANDS) ** 2 / max(float((window**2).sum()), 1e-9)
    # What rounding adds is on every image, and is no difference.
    density = np.maximum(density - _ROUNDING, 0.0)
    power = max(float(np.nan_to_num(density[0])), 1e-9)
    noise = max(0.0, _noise_variance(image, outside) - _ROUNDING)
    return Texture(total=np.sqrt(density / power), noise=float(np.sqrt(noise)), power=power)


def blur_between(own: Texture, other: Texture) -> Blur:
    """Return what an image of one texture loses on the way to another; nothing where the other is sharper.

    Contrast is no sharpness, so textures are relative to their first band. What a blur takes from the first band itself follows from
    the further ones, as a Gaussian: resampling, defocus and detectors are near one.
    """
    # A blur takes noise with it, but where the other has more noise, that hides what a blur took.
    excess = max(0.0, other.noise**2 - own.noise**2) / other.power
    there = np.sqrt(np.maximum(other.total**2 - excess, 0.0))
    # Bands of hardly more than rounding, or than that noise, say nothing; they keep what the last one before them says.
    weak = ~(own.total > _LEAST_TOTAL) | ~np.isfinite(there) | (excess > _MOST_NOISE * other.total**2)
    last = int(np.argmax(weak)) if weak.any() else len(BANDS)
    ratio = np.zeros(len(BANDS))
    widths = []
    for band in range(1, last):
        ratio[band] = np.log(max(there[band] / own.total[band], _LEAST_GAIN))
        widths.append(-ratio[band] / (BANDS[band] ** 2 - BANDS[0] ** 2))
    ratio[last:] = ratio[max(last - 1, 0)]
    width = float(np.mean(widths[:_FITTED])) if widths else 0.0
    if width <= 0:
        return Blur(gains=np.ones(len(BANDS)), width=0.0)
    return Blur(gains=np.exp(np.clip(ratio - width * BANDS[0] ** 2, np.log(_LEAST_GAIN), 0)), width=width)


def noise_between(own: Texture, other: Texture) -> float:
    """Return the standard deviation, in grey levels, of the noise that an image lacks on the way from one texture to another."""
    return float(np.sqrt(max(0.0, other.noise**2 - own.noise**2)))


def blurred(image: StoredImage, by: Blur) -> StoredImage:
    """Return a copy of an image (h, w) or (h, w, 3) that has lost sharpness, the same in all channels."""
    frequency, logarithm = _frequencies(image.shape[:2])
    between = np.interp(logarithm, np.log(BANDS), by.gains)
    gain = np.where(frequency < BANDS[0], np.exp(-by.width * frequency**2), between).astype(np.float32)
    return by_channel(filtered, image, gain)


@lru_cache(maxsize=1)
def _frequencies(shape: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the frequency of each coefficient of an image's half spectrum, and its logarithm."""
    frequency = np.maximum(cycles(shape), np.float32(1e-3))
    return frequency, np.log(frequency)


def noisy(image: StoredImage, levels: float, seed: int) -> StoredImage:
    """Return a copy of an image (h, w) or (h, w, 3) with white noise, the same in all channels.

    Parameters
    ----------
    image : ndarray of uint8
    levels : float
        Standard deviation of the noise in an image of the size at which textures are measured.
    seed : int
        Of the noise.
    """
    # Shrinking averages noise: on an image that was measured smaller there is more of it in a pixel.
    here = np.float32(levels * max(1.0, max(image.shape) / _LONGEST_PX))
    noise = here * np.random.default_rng(seed).standard_normal(image.shape[:2], dtype=np.float32)
    return np.asarray(np.clip(np.rint(image + like(image, noise)), 0, 255), dtype=np.uint8)


def _noise_variance(image: GreyImage, outside: NDArray[np.bool_]) -> float:
    """Return the variance of the noise in the smoothest blocks, in squared grey levels; that of rounding where there are too few."""
    grey = image.astype(np.float32)
    found = _block_variances(grey, outside & (image > _CLIPPED[0]) & (image < _CLIPPED[1]))
    if found.size < _FEWEST_BLOCKS:
        return _ROUNDING
    return max(_ROUNDING, float(np.quantile(found, _SMOOTHEST)) / _white_response())


def _block_variances(grey: NDArray[np.float32], counted: NDArray[np.bool_]) -> Field:
    """Return the variance of the finest detail in each block that is counted as a whole."""
    fine = (grey - cv2.GaussianBlur(grey, (0, 0), 1.0)) ** 2
    rows, columns = (side // _BLOCK_PX for side in grey.shape)

    def blocks(values: NDArray[np.generic]) -> NDArray[np.generic]:
        cut = values[: rows * _BLOCK_PX, : columns * _BLOCK_PX]
        return cut.reshape(rows, _BLOCK_PX, columns, _BLOCK_PX)

    whole = blocks(counted).all(axis=(1, 3))
    return np.asarray(blocks(fine).mean(axis=(1, 3))[whole], dtype=np.float64)


@cache
def _white_response() -> float:
    """Return what `_noise_variance` would find, uncorrected, of white noise of variance 1."""
    noise = np.random.default_rng(0).standard_normal((1024, 1024), dtype=np.float32)
    return float(np.quantile(_block_variances(noise, np.ones(noise.shape, dtype=np.bool_)), _SMOOTHEST))
