"""Sources: what a tube, a detector and a hospital's habits make of the same chest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.training.phantom.projection import Field, axis


@dataclass(frozen=True, kw_only=True)
class Source:
    """One place where images are taken."""

    name: str
    """Neutral and invented."""
    soft_per_unit: float
    """Attenuation of soft tissue, per half image side; low at high tube voltage."""
    bone_per_unit: float
    """Additional attenuation of bone; falls faster with tube voltage."""
    photons: float
    """Photons a pixel (of 256 px images) where nothing attenuates."""
    blur: float
    """Deviation of the blur, as a share of the image side."""
    gamma: float
    """Exponent of the grey curve."""
    toe: float
    """Strength of its S-shape, as film has."""
    border: tuple[float, float]
    """Range of the collimation's width, as a share of the image side."""
    border_turn: float
    """Deviation of its rotation, in radians."""
    marker_ring: float
    """How often the lead marker stands in a ring."""
    marker_corner: str
    """Where technicians put it."""
    view: str
    """Usual projection."""


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        s.name: s
        for s in (
            Source(
                name="north",
                soft_per_unit=2.3,
                bone_per_unit=3.4,
                photons=90_000,
                blur=0.0016,
                gamma=1.0,
                toe=0.35,
                border=(0.0, 0.012),
                border_turn=0.0,
                marker_ring=0.0,
                marker_corner="top-right",
                view="PA",
            ),
            Source(
                name="harbour",
                soft_per_unit=2.9,
                bone_per_unit=6.0,
                photons=16_000,
                blur=0.0024,
                gamma=0.86,
                toe=0.15,
                border=(0.012, 0.035),
                border_turn=0.003,
                marker_ring=0.5,
                marker_corner="top-left",
                view="AP",
            ),
            Source(
                name="valley",
                soft_per_unit=2.6,
                bone_per_unit=4.6,
                photons=30_000,
                blur=0.0042,
                gamma=1.18,
                toe=0.75,
                border=(0.02, 0.05),
                border_turn=0.016,
                marker_ring=0.2,
                marker_corner="bottom-right",
                view="PA",
            ),
        )
    }
)


def expose(soft: Field, bone: Field, source: Source, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turn path lengths into an image (Beer-Lambert, quantum noise, blur, automatic window, grey curve, collimation).

    Parameters
    ----------
    soft, bone : ndarray (h, h)
        Path lengths through soft tissue and bone, in half image sides.
    source : Source
        Where it is taken.
    rng : numpy Generator
        For noise, exposure and collimation.

    Returns
    -------
    ndarray of uint8 (h, h)
        Bright where little radiation arrives, as on a radiograph.
    """
    side = soft.shape[0]
    attenuation = np.float32(source.soft_per_unit) * soft + np.float32(source.bone_per_unit) * bone
    # Scatter lifts the thick parts' exposure, and so flattens them.
    arriving = np.exp(-attenuation) + np.float32(0.012)
    photons = np.float32(source.photons * float(rng.uniform(0.7, 1.3)))
    noise = rng.standard_normal((side, side), dtype=np.float32)
    counted = arriving + noise * np.sqrt(arriving / photons)
    counted = cv2.GaussianBlur(counted, (0, 0), max(0.3, source.blur * side))
    density = -np.log(np.maximum(counted, np.float32(1e-4)))
    low, high = np.quantile(density[side // 8 : -side // 8 : 3, side // 8 : -side // 8 : 3], [0.015, 0.985])
    low, high = low - 0.10 * (high - low), high + float(rng.uniform(0.10, 0.22)) * (high - low)
    grey = np.clip((density - np.float32(low)) / np.float32(high - low), 0, 1)
    grey = np.asarray(cv2.pow(grey, source.gamma), dtype=np.float32)
    curved = grey * grey * (3 - 2 * grey)
    grey = (1 - np.float32(source.toe)) * grey + np.float32(source.toe) * curved
    grey *= _collimation(side, source, rng)
    return np.asarray(grey * np.float32(250), dtype=np.uint8)


def _collimation(side: int, source: Source, rng: np.random.Generator) -> Field:
    """Return 1 inside the collimated field and 0 outside, with a soft edge of about a pixel."""
    widths = rng.uniform(*source.border, size=4).astype(np.float32)
    turn = float(rng.normal(0.0, source.border_turn)) if source.border_turn else 0.0
    t = axis(side)
    cos, sin = np.float32(math.cos(turn)), np.float32(math.sin(turn))
    x = cos * t[None, :] + sin * t[:, None]
    y = cos * t[:, None] - sin * t[None, :]
    margin = np.minimum(
        np.minimum(x + 1 - 2 * widths[0], 1 - x - 2 * widths[1]),
        np.minimum(y + 1 - 2 * widths[2], 1 - y - 2 * widths[3]),
    )
    return np.asarray(np.clip(0.5 + margin * side / 2, 0, 1), dtype=np.float32)
