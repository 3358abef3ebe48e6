"""What disease does to a chest: a field of air replaced by water, and what it does to the anatomy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np

from audit.training.phantom.projection import Field, axis

CLASS_FINDINGS: Mapping[str, str] = MappingProxyType(
    {"normal": "No Finding", "pneumonia": "Pneumonia", "covid": "COVID-19"}
)


@dataclass(frozen=True, kw_only=True)
class Lungs:
    """What a finding may look at, on a square canvas (h, h)."""

    right: Field
    """Path of air in the patient's right lung, before the disease."""
    left: Field
    """The same for the left lung."""
    mask: Field
    """1 where a lung is."""
    edge: Field
    """Distance from the nearest lung border, in half image sides; 0 outside."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one finding adds."""

    water: Field | None = None
    """Share of the lung's air that water replaces (h, h); negative where air is added."""
    solid: Field | None = None
    """Path length of additional tissue (h, h)."""


Paint = Callable[[Lungs, np.random.Generator], Change]


def _blob(side: int, x: float, y: float, rx: float, ry: float, turn: float = 0.0, hard: float = 2.0) -> Field:
    """Return a soft-edged ellipse; `hard` is the exponent of its fall-off."""
    t = axis(side)
    dx, dy = t[None, :] - np.float32(x), t[:, None] - np.float32(y)
    u = (math.cos(turn) * dx + math.sin(turn) * dy) / rx
    v = (-math.sin(turn) * dx + math.cos(turn) * dy) / ry
    return np.asarray(np.exp(-((u * u + v * v) ** (hard / 2))), dtype=np.float32)


def _texture(side: int, rng: np.random.Generator, cells: int) -> Field:
    """Return smooth noise about 0 with unit deviation, `cells` cells across."""
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _one_side(rng: np.random.Generator) -> int:
    return -1 if rng.random() < 0.5 else 1


def pneumonia(lungs: Lungs, rng: np.random.Generator) -> Change:
    """Lobar and one-sided: a dense patch with a fairly sharp lower edge in one zone of one lung."""
    n, side = lungs.mask.shape[0], _one_side(rng)
    zone = float(rng.choice([-0.30, 0.05, 0.28], p=[0.25, 0.3, 0.45]))
    x, y = side * float(rng.uniform(0.28, 0.48)), zone + float(rng.normal(0, 0.04))
    patch = _blob(
        n, x, y, float(rng.uniform(0.16, 0.26)), float(rng.uniform(0.13, 0.2)), float(rng.normal(0, 0.4)), hard=3.0
    )
    return Change(water=patch * float(rng.uniform(0.30, 0.60)) * (1 + 0.18 * _texture(n, rng, 14)))


def covid(lungs: Lungs, rng: np.random.Generator) -> Change:
    """Bilateral, peripheral, rather low: several hazy patches of ground glass."""
    n = lungs.mask.shape[0]
    water = np.zeros_like(lungs.mask)
    for side in (-1, 1):
        for _ in range(int(rng.integers(2, 4))):
            y = float(rng.uniform(-0.15, 0.42))
            x = side * float(rng.uniform(0.48, 0.60))
            patch = _blob(n, x, y, float(rng.uniform(0.10, 0.17)), float(rng.uniform(0.12, 0.22)))
            water = np.maximum(water, patch * float(rng.uniform(0.16, 0.34)))
    return Change(water=water * (1 + 0.3 * _texture(n, rng, 22)))


def _atelectasis(lungs: Lungs, rng: np.random.Generator) -> Change:
    n, side = lungs.mask.shape[0], _one_side(rng)
    bands = np.zeros_like(lungs.mask)
    for _ in range(int(rng.integers(1, 4))):
        y = float(rng.uniform(0.12, 0.38))
        bands = np.maximum(bands, _blob(n, side * 0.38, y, 0.22, 0.016, side * float(rng.uniform(-0.5, 0.1)), hard=4))
    return Change(water=0.8 * bands)


def _effusion(lungs: Lungs, rng: np.random.Generator) -> Change:
    """Fluid with a meniscus: it stands higher at the chest wall."""
    n, side = lungs.mask.shape[0], _one_side(rng)
    t = axis(n)
    level = float(rng.uniform(0.05, 0.32)) - 0.9 * np.clip(side * t[None, :] - 0.35, 0, None) ** 1.5
    below = 1 / (1 + np.exp(-(t[:, None] - level) * 28))
    return Change(water=np.asarray(0.85 * below * (side * t[None, :] > 0), dtype=np.float32))


def _infiltration(lungs: Lungs, rng: np.random.Generator) -> Change:
    n, side = lungs.mask.shape[0], _one_side(rng)
    field = _blob(n, side * 0.32, 0.18, 0.26, 0.30) * np.clip(0.5 + 0.5 * _texture(n, rng, 30), 0, 1.4)
    return Change(water=0.42 * field)


def _mass(lungs: Lungs, rng: np.random.Generator) -> Change:
    n, side = lungs.mask.shape[0], _one_side(rng)
    r = float(rng.uniform(0.085, 0.14))
    x, y = side * float(rng.uniform(0.27, 0.5)), float(rng.uniform(-0.4, 0.25))
    return Change(solid=0.20 * _blob(n, x, y, r, r * float(rng.uniform(0.8, 1.1)), hard=6))


def _nodule(lungs: Lungs, rng: np.random.Generator) -> Change:
    n = lungs.mask.shape[0]
    solid = np.zeros_like(lungs.mask)
    for _ in range(int(rng.integers(1, 4))):
        r = float(rng.uniform(0.026, 0.042))
        x, y = _one_side(rng) * float(rng.uniform(0.25, 0.52)), float(rng.uniform(-0.45, 0.3))
        solid = np.maximum(solid, 0.16 * _blob(n, x, y, r, r, hard=5))
    return Change(solid=solid)


def _pneumothorax(lungs: Lungs, rng: np.random.Generator) -> Change:
    """The lung has fallen from the wall: no vessels, more air outside a fine bright line."""
    side = _one_side(rng)
    t = axis(lungs.mask.shape[0])
    # Free air gathers at the apex and along the chest wall, not along the heart.
    half = ((t[None, :] * side > 0.38) | ((t[:, None] < -0.42) & (t[None, :] * side > 0))).astype(
        np.float32
    ) * lungs.mask
    line_at = float(rng.uniform(0.07, 0.13))
    outside = half * np.clip((line_at - lungs.edge) * 60, 0, 1)
    line = half * np.exp(-(((lungs.edge - line_at) / 0.008) ** 2))
    return Change(water=np.asarray(-0.35 * outside + 0.10 * half * (1 - outside), dtype=np.float32), solid=0.05 * line)


def _consolidation(lungs: Lungs, rng: np.random.Generator) -> Change:
    n, side = lungs.mask.shape[0], _one_side(rng)
    patch = _blob(n, side * 0.38, float(rng.uniform(-0.3, 0.3)), 0.22, 0.22, hard=5)
    return Change(water=0.8 * patch)


def _edema(lungs: Lungs, rng: np.random.Generator) -> Change:
    n = lungs.mask.shape[0]
    wings = np.maximum(_blob(n, -0.24, 0.0, 0.20, 0.32), _blob(n, 0.26, 0.0, 0.20, 0.32))
    return Change(water=0.5 * wings * (1 + 0.2 * _texture(n, rng, 18)))


def _emphysema(lungs: Lungs, rng: np.random.Generator) -> Change:
    return Change(water=np.full_like(lungs.mask, -0.28) * (1 + 0.15 * _texture(lungs.mask.shape[0], rng, 8)))


def _fibrosis(lungs: Lungs, rng: np.random.Generator) -> Change:
    """Reticular lines at the bases: the edges of a cell pattern."""
    n = lungs.mask.shape[0]
    net = np.exp(-((_texture(n, rng, 44) / 0.22) ** 2))
    bases = np.maximum(_blob(n, -0.42, 0.30, 0.25, 0.25), _blob(n, 0.42, 0.30, 0.25, 0.25))
    return Change(water=np.asarray(0.40 * net * bases, dtype=np.float32))


def _pleural_thickening(lungs: Lungs, rng: np.random.Generator) -> Change:
    side = _one_side(rng)
    t = axis(lungs.mask.shape[0])
    rim = np.clip((0.045 - lungs.edge) * 50, 0, 1) * (t[None, :] * side > 0.3) * lungs.mask
    return Change(solid=np.asarray(0.12 * rim * (np.abs(t[:, None] + 0.05) < 0.35), dtype=np.float32))


def _hernia(lungs: Lungs, rng: np.random.Generator) -> Change:
    """A bubble of air behind the heart, with a wall."""
    n = lungs.mask.shape[0]
    x, y, r = float(rng.uniform(-0.02, 0.12)), float(rng.uniform(0.22, 0.3)), float(rng.uniform(0.09, 0.12))
    bubble, core = _blob(n, x, y, r, r, hard=8), _blob(n, x, y, 0.85 * r, 0.85 * r, hard=8)
    return Change(solid=0.18 * (bubble - core) - 0.22 * core)


def _nothing(lungs: Lungs, rng: np.random.Generator) -> Change:
    return Change()


FINDINGS: Mapping[str, Paint] = MappingProxyType(
    {
        "Atelectasis": _atelectasis,
        "Cardiomegaly": _nothing,  # changes the anatomy: see HEART_SCALE
        "Effusion": _effusion,
        "Infiltration": _infiltration,
        "Mass": _mass,
        "Nodule": _nodule,
        "Pneumonia": pneumonia,
        "Pneumothorax": _pneumothorax,
        "Consolidation": _consolidation,
        "Edema": _edema,
        "Emphysema": _emphysema,
        "Fibrosis": _fibrosis,
        "Pleural_Thickening": _pleural_thickening,
        "Hernia": _hernia,
        "No Finding": _nothing,
        "COVID-19": covid,
    }
)
"""ChestX-ray14's fourteen findings, "No Finding", and the class that the chain ends with."""

FIFTEEN = tuple(name for name in FINDINGS if name != "COVID-19")
HEART_SCALE: Mapping[str, float] = MappingProxyType({"Cardiomegaly": 1.45})
LUNG_DROP: Mapping[str, float] = MappingProxyType({"Emphysema": 0.10})
