"""Properties that reveal an image's source but are not anatomy: grey scale, spectrum, sharpness, compression, depth, frame."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray
from PIL import Image

from audit.data.pixels.colour import by_channel, channels_of, luminance
from audit.data.pixels.facts import GreyImage, StoredImage
from audit.perturbations.frames import Frame, find_frame, frame_px, resized
from audit.perturbations.memory import OnceAnImage

Field = NDArray[np.float64]

# Side of the square on which the low frequencies of a donor are measured.
_COARSE_PX = 256
# Cycles an image side up to which the amplitude is taken over (Yang & Soatto 2020 take a hundredth of the side, which on a
# image reaches the lungs' own frequencies: their phase under another amplitude is no chest any more).
_LOW_CYCLES = 1
_LOW = np.ix_(range(-_LOW_CYCLES, _LOW_CYCLES + 1), range(_LOW_CYCLES + 1))
# Centres of the bands of sharpness, in cycles a long side; the first is the reference.
_BANDS = np.geomspace(6, 320, 13)
# Largest factor by which a band is damped or raised: raising it more would only amplify noise.
_GAIN_LIMITS = (0.1, 3.0)
# Largest share that may be cropped from a side to take on an aspect ratio; the rest is stretched.
_DEEPEST_CUT_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class Look:
    """One image's look, measured."""

    quantiles: tuple[Field, ...]
    """(256,) levels at even shares of the pixels, of each channel."""
    low_amplitude: tuple[Field, ...]
    """(2c + 1, c + 1) amplitude of the lowest frequencies, per pixel, of each channel: rows from -c to c cycles, columns from 0 to c."""
    band_amplitude: Field
    """(bands,) amplitude of the brightness relative to the first band; nan beyond the image's own resolution."""
    jpeg_table: tuple[int, ...] | None
    """Luminance quantisation of its file; None if that is no JPEG."""
    n_levels: int
    """Number of levels that it uses, if spread from 0 to 255."""
    frame: Frame
    """Uniform frame and aspect ratio."""


def measure_look(image: StoredImage, jpeg_table: tuple[int, ...] | None) -> Look:
    """Measure an image's look.

    Parameters
    ----------
    image : ndarray of uint8, (h, w) or (h, w, 3)
        The image.
    jpeg_table : tuple of int or None
        Luminance quantisation table of its file.
    """
    grey = luminance(image)
    return Look(
        quantiles=tuple(_quantiles(channel) for channel in channels_of(image)),
        low_amplitude=tuple(
            np.abs(_spectrum(_coarse(channel))[_LOW]) / _COARSE_PX**2 for channel in channels_of(image)
        ),
        band_amplitude=_band_amplitude(grey),
        jpeg_table=jpeg_table,
        n_levels=max(_levels(channel) for channel in channels_of(image)),
        frame=find_frame(image),
    )


def with_aspect(image: StoredImage, frame: Frame) -> StoredImage:
    """Crop the longer side to another aspect ratio, and stretch to the old shape (networks resize to a square)."""
    height, width = image.shape[:2]
    wanted = frame.aspect / (height / width)
    cut_h = round(height * min(_DEEPEST_CUT_SHARE, max(0.0, 1 - wanted)) / 2)
    cut_w = round(width * min(_DEEPEST_CUT_SHARE, max(0.0, 1 - 1 / wanted)) / 2)
    return resized(image[cut_h : height - cut_h, cut_w : width - cut_w], (height, width))


def with_border(image: StoredImage, frame: Frame) -> StoredImage:
    """Take the image out of its own frame and put it into another."""
    height, width = image.shape[:2]
    top, bottom, left, right = frame_px(find_frame(image).shares, image.shape)
    inner = image[top : height - bottom, left : width - right]
    top, bottom, left, right = frame_px(frame.shares, image.shape)
    framed = np.full(image.shape, frame.levels if image.ndim == 3 else frame.levels[0], dtype=np.uint8)
    framed[top : height - bottom, left : width - right] = resized(inner, (height - top - bottom, width - left - right))
    return framed


def _with_low_amplitude(image: StoredImage, look: Look) -> StoredImage:
    """Take over the amplitude of the lowest frequencies except the mean, and keep the phase (Fourier domain adaptation).

    The mean belongs to the histogram; taking it over here as well would only push grey levels out of their range.
    """
    if min(image.shape[:2]) <= 2 * _LOW_CYCLES + 1:
        return image.copy()
    return by_channel(_with_amplitude, image, list(look.low_amplitude))


def _with_amplitude(image: GreyImage, low_amplitude: Field) -> GreyImage:
    spectrum = _spectrum(image)
    mean = spectrum[0, 0]
    spectrum[_LOW] = low_amplitude * image.size * np.exp(1j * np.angle(spectrum[_LOW]))
    spectrum[0, 0] = mean
    return _grey(scipy.fft.irfft2(spectrum, s=image.shape))


def _with_sharpness(image: StoredImage, look: Look) -> StoredImage:
    """Raise or damp each band of frequencies to the donor's share, in all channels alike."""
    own = _band_amplitude(luminance(image))
    known = np.isfinite(own) & np.isfinite(look.band_amplitude)
    if known.sum() < 2:
        return image.copy()
    gains = np.clip(look.band_amplitude[known] / np.maximum(own[known], 1e-12), *_GAIN_LIMITS)
    frequency = cycles(image.shape)
    gain = np.interp(np.log(np.maximum(frequency, 1e-3)), np.log(_BANDS[known]), gains, left=1.0)
    return by_channel(filtered, image, gain.astype(np.float32))


def filtered(image: GreyImage, gain: NDArray[np.float32]) -> GreyImage:
    """Return grey (h, w) with each coefficient of its half spectrum multiplied."""
    return _grey(scipy.fft.irfft2(_spectrum_once(image) * gain, s=image.shape))


def _with_histogram(image: StoredImage, look: Look) -> StoredImage:
    """Give every share of the pixels the level that it has on the donor, in each channel."""
    return by_channel(_with_quantiles, image, list(look.quantiles))


def _with_quantiles(image: GreyImage, quantiles: Field) -> GreyImage:
    counts = np.bincount(image.ravel(), minlength=256)
    # A level stands at the middle of the share of the pixels that it holds.
    share = (np.cumsum(counts) - counts / 2) / image.size
    curve = np.interp(share, np.linspace(0, 1, len(quantiles)), quantiles)
    return _grey(curve)[image]


def _with_depth(image: StoredImage, look: Look) -> StoredImage:
    steps = look.n_levels - 1
    curve = np.rint(np.rint(np.arange(256) / 255.0 * steps) / steps * 255.0)
    return np.asarray(curve, dtype=np.uint8)[image]


def _with_compression(image: StoredImage, look: Look) -> StoredImage:
    if look.jpeg_table is None:
        return image.copy()
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", qtables=[list(look.jpeg_table)])
    with Image.open(buffer) as decoded:
        return np.array(decoded, dtype=np.uint8)


FACTORS: Mapping[str, Callable[[StoredImage, Look], StoredImage]] = {
    "aspect": lambda image, look: with_aspect(image, look.frame),
    "border": lambda image, look: with_border(image, look.frame),
    "fourier": _with_low_amplitude,
    "sharpness": _with_sharpness,
    "histogram": _with_histogram,
    "bit-depth": _with_depth,
    "jpeg": _with_compression,
}
"""Factor -> how it is taken on, in the order in which an image acquires them."""


def _levels(image: GreyImage) -> int:
    used = int(np.count_nonzero(np.bincount(image.ravel(), minlength=256)))
    span = int(image.max()) - int(image.min()) + 1
    return 256 if used > 0.8 * span else max(2, round(256 * used / span))


def _quantiles(image: GreyImage) -> Field:
    return np.asarray(np.quantile(image, np.linspace(0, 1, 256)), dtype=np.float64)


def _coarse(image: GreyImage) -> GreyImage:
    return np.asarray(cv2.resize(image, (_COARSE_PX, _COARSE_PX), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _spectrum(image: NDArray[np.generic]) -> NDArray[np.complex64]:
    """Return the half spectrum (h, w // 2 + 1) of a real image: in single precision, for images may have many megapixels."""
    return np.asarray(scipy.fft.rfft2(image.astype(np.float32)), dtype=np.complex64)


# Megabytes an image: of the latest alone.
_spectrum_once = OnceAnImage(lambda image, _key: _spectrum(image), 1)


def cycles(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the frequency of each coefficient of the half spectrum, in cycles a long side."""
    shape = shape[:2]
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    return np.hypot(fy.astype(np.float32), fx.astype(np.float32)) * np.float32(max(shape))


def amplitude_by_band(image: NDArray[np.generic], centres: Field) -> Field:
    """Return the root mean square amplitude of an image (h, w) in bands of frequencies.

    Parameters
    ----------
    image : ndarray, (h, w)
        Falling to zero at its edges.
    centres : ndarray, (b,)
        Of the bands, in cycles a long side, equally spaced in their logarithm.

    Returns
    -------
    ndarray, (b,)
        NaN above the image's Nyquist frequency, where it is undefined.
    """
    power = np.square(np.abs(_spectrum(image))).ravel()
    edges = np.sqrt(centres[1:] * centres[:-1])
    edges = np.concatenate([[centres[0] ** 2 / edges[0]], edges, [centres[-1] ** 2 / edges[-1]]])
    band = np.digitize(cycles(image.shape).ravel(), edges) - 1
    inside = (band >= 0) & (band < len(centres))
    sums = np.bincount(band[inside], weights=power[inside], minlength=len(centres))
    counts = np.bincount(band[inside], minlength=len(centres))
    amplitude = np.sqrt(sums / np.maximum(counts, 1))
    return np.where((counts > 0) & (max(image.shape[:2]) / 2 >= centres), amplitude, np.nan)


def _band_amplitude(image: GreyImage) -> Field:
    # A window keeps the jump between opposite edges out of the spectrum.
    rows, columns = (np.hanning(side).astype(np.float32) for side in image.shape)
    centred = (image - np.float32(image.mean())) * rows[:, None] * columns[None, :]
    amplitude = amplitude_by_band(centred, _BANDS)
    return np.asarray(amplitude / max(float(np.nan_to_num(amplitude[0])), 1e-12), dtype=np.float64)


def _grey(levels: NDArray[np.floating]) -> StoredImage:
    return np.asarray(np.clip(np.rint(levels), 0, 255), dtype=np.uint8)
