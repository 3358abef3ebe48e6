"""Corruptions that are common in radiographs: noise, blur, exposure, compression, position (after Hendrycks & Dietterich 2019)."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audit.data.pixels.colour import like
from audit.data.pixels.facts import StoredImage
from audit.errors import UnknownNameError, UsageError, shown_value
from audit.perturbations.base import PERTURBATIONS, Scene

SEVERITIES = (0, 1, 2, 3, 4, 5)


@dataclass(frozen=True, kw_only=True, slots=True)
class CorruptionDraw:
    """How an image is corrupted."""

    strength: float
    """In the kind's own unit."""
    sign: int
    """-1 or 1: darker or brighter, left or right turn."""
    angle: float
    """Direction of a shift, in radians."""
    noise_seed: int
    """Seed of the noise field."""


def _noise(image: StoredImage, drawn: CorruptionDraw) -> StoredImage:
    field = np.random.Generator(np.random.PCG64(drawn.noise_seed)).standard_normal(image.shape[:2], dtype=np.float32)
    # One field for all channels: noise of brightness, as on a grey image.
    return _grey(image + drawn.strength * like(image, field))


def _blur(image: StoredImage, drawn: CorruptionDraw) -> StoredImage:
    sigma = drawn.strength * max(image.shape[:2])
    return np.asarray(cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), max(sigma, 0.1)), dtype=np.uint8)


def _contrast(image: StoredImage, drawn: CorruptionDraw) -> StoredImage:
    mean = float(image.mean())
    return _grey(mean + drawn.strength * (image.astype(np.float32) - mean))


def _exposure(image: StoredImage, drawn: CorruptionDraw) -> StoredImage:
    curve = 255.0 * (np.arange(256) / 255.0) ** (drawn.strength**drawn.sign)
    return np.asarray(np.rint(curve), dtype=np.uint8)[image]


def _jpeg(image: StoredImage, drawn: CorruptionDraw) -> StoredImage:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=round(drawn.strength))
    with Image.open(buffer) as decoded:
        return np.array(decoded, dtype=np.uint8)


def _rotation(image: StoredImage, drawn: CorruptionDraw) -> StoredImage:
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), drawn.sign * drawn.strength, 1.0)
    return _warped(image, turn)


def _translation(image: StoredImage, drawn: CorruptionDraw) -> StoredImage:
    height, width = image.shape[:2]
    dx, dy = drawn.strength * width * np.cos(drawn.angle), drawn.strength * height * np.sin(drawn.angle)
    return _warped(image, np.asarray([[1.0, 0.0, round(dx)], [0.0, 1.0, round(dy)]], dtype=np.float64))


def _crop(image: StoredImage, drawn: CorruptionDraw) -> StoredImage:
    height, width = image.shape[:2]
    top, left = (round(drawn.strength / 2 * side) for side in (height, width))
    inner = np.ascontiguousarray(image[top : height - top, left : width - left])
    return np.asarray(cv2.resize(inner, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    corrupt: Callable[[StoredImage, CorruptionDraw], StoredImage]
    strengths: tuple[float, float, float, float, float]
    """At severities 1 to 5."""
    about: str
    """What is done, in words."""


CORRUPTIONS: Mapping[str, _Kind] = {
    # Standard deviation in grey levels.
    "noise": _Kind(corrupt=_noise, strengths=(4, 8, 14, 22, 32), about="Noise added"),
    # Standard deviation of the Gaussian, as a share of the long side.
    "blur": _Kind(corrupt=_blur, strengths=(0.004, 0.006, 0.009, 0.013, 0.018), about="Image blurred"),
    # Factor on the distance from the mean level.
    "contrast": _Kind(corrupt=_contrast, strengths=(0.85, 0.7, 0.55, 0.4, 0.3), about="Contrast reduced"),
    # Gamma, or its inverse.
    "exposure": _Kind(corrupt=_exposure, strengths=(1.15, 1.3, 1.5, 1.8, 2.2), about="Exposure changed"),
    # Quality of the encoder.
    "jpeg": _Kind(corrupt=_jpeg, strengths=(50, 30, 20, 12, 7), about="Image compressed"),
    # Degrees, about the centre.
    "rotation": _Kind(corrupt=_rotation, strengths=(3, 6, 10, 15, 20), about="Image rotated"),
    # Share of the side, in a random direction.
    "translation": _Kind(corrupt=_translation, strengths=(0.02, 0.04, 0.07, 0.10, 0.14), about="Image shifted"),
    # Share of each side that is lost, the rest scaled up.
    "crop": _Kind(corrupt=_crop, strengths=(0.03, 0.06, 0.10, 0.15, 0.20), about="Image cropped"),
}
"""Kind -> how it is made, and how strongly."""


@PERTURBATIONS.register("corruption")
class Corruption:
    """Corrupt the whole image.

    Parameters
    ----------
    kind : {"noise", "blur", "contrast", "exposure", "jpeg", "rotation", "translation", "crop"}
        Corruption. Pixels that a rotation or a translation leaves empty repeat the image's edge.
    severity : int
        From 0, which changes nothing, to 5.
    """

    name = "corruption"
    version = 1
    needs: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()
    seamless = False
    suspect = "the quality of the image"

    def __init__(self, *, kind: str = "noise", severity: int = 3) -> None:
        if kind not in CORRUPTIONS:
            raise UnknownNameError("corruption", kind, CORRUPTIONS)
        if severity not in SEVERITIES or isinstance(severity, bool):
            raise UsageError(f"A severity is one of {', '.join(map(str, SEVERITIES))}, found {shown_value(severity)}.")
        self._kind = CORRUPTIONS[kind]
        self._severity = severity
        self.title = self._kind.about

    def draw(self, scene: Scene, rng: np.random.Generator) -> CorruptionDraw:
        """Draw direction and noise; the same generator gives the same ones at every severity."""
        sign, angle = int(rng.choice((-1, 1))), float(rng.uniform(0, 2 * np.pi))
        strength = 0.0 if self._severity == 0 else float(self._kind.strengths[self._severity - 1])
        return CorruptionDraw(strength=strength, sign=sign, angle=angle, noise_seed=int(rng.integers(2**63)))

    def apply(self, image: StoredImage, drawn: CorruptionDraw) -> StoredImage:
        """Return a corrupted copy of the image."""
        return image.copy() if self._severity == 0 else self._kind.corrupt(image, drawn)


def _grey(levels: NDArray[np.floating]) -> StoredImage:
    return np.asarray(np.clip(np.rint(levels), 0, 255), dtype=np.uint8)


def _warped(image: StoredImage, matrix: NDArray[Any]) -> StoredImage:
    height, width = image.shape[:2]
    moved = cv2.warpAffine(
        np.ascontiguousarray(image), matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, dtype=np.uint8)
