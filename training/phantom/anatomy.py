"""A patient: the ellipsoids of a chest, drawn from a generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audit.training.phantom.projection import Ellipsoid

N_RIBS = 9
_SEGMENTS = 7


@dataclass(frozen=True, kw_only=True)
class Patient:
    """Solids by tissue; `left` and `right` are the patient's, so that `left` lies on the image's right."""

    sex: str
    """F or M."""
    age: int
    """Years."""
    body: tuple[Ellipsoid, ...]
    """Soft tissue about the middle plane: torso, shoulders, neck."""
    flesh: tuple[Ellipsoid, ...]
    """Soft tissue in front of it: breasts, shoulder blades' muscle."""
    lungs: tuple[tuple[Ellipsoid, ...], tuple[Ellipsoid, ...]]
    """Right and left lung, each a union."""
    domes: tuple[Ellipsoid, ...]
    """Diaphragm with what lies under it."""
    heart: tuple[Ellipsoid, ...]
    """Heart, great vessels, mediastinum: a union."""
    airway: tuple[Ellipsoid, ...]
    """Trachea."""
    spine: tuple[Ellipsoid, ...]
    """Vertebrae."""
    bones: tuple[tuple[Ellipsoid, ...], ...]
    """Posterior ribs, anterior ribs, clavicles, shoulder blades: a union each."""
    hila: tuple[tuple[float, float], tuple[float, float]]
    """Where the vessels enter the right and the left lung (x, y)."""


def draw_patient(rng: np.random.Generator, *, heart_scale: float = 1.0, lung_drop: float = 0.0) -> Patient:
    """Draw a patient.

    Parameters
    ----------
    rng : numpy Generator
        The patient's own.
    heart_scale : float
        Width of the heart relative to a healthy one (cardiomegaly).
    lung_drop : float
        How far the diaphragm is pushed down, in half image sides (emphysema).
    """
    sex = "F" if rng.random() < 0.45 else "M"
    age = int(rng.integers(19, 88))
    width = float(rng.normal(0.80, 0.035)) * (0.96 if sex == "F" else 1.0)
    lean = float(rng.normal(0.0, 0.015))
    breath = float(rng.normal(0.0, 0.04)) + lung_drop
    rotation = float(rng.normal(0.0, 0.02))
    base = 0.46 + breath
    depth = 0.52 * float(rng.normal(1.0, 0.06))
    body = (
        Ellipsoid(x=lean, y=0.35, a=width, b=1.75, c=depth),
        Ellipsoid(x=lean - 0.55, y=-0.62, a=0.52, b=0.32, c=0.30, turn=-0.35),
        Ellipsoid(x=lean + 0.55, y=-0.62, a=0.52, b=0.32, c=0.30, turn=0.35),
        Ellipsoid(x=lean, y=-1.0, a=0.24, b=0.6, c=0.26),
    )
    lungs = (_lung(-1, lean, width, base, depth, rng), _lung(1, lean, width, base, depth, rng))
    domes = (
        Ellipsoid(x=lean - 0.38 * width / 0.8, y=base + 0.55, a=0.46, b=0.56 + float(rng.normal(0, 0.02)), c=0.9),
        Ellipsoid(x=lean + 0.40 * width / 0.8, y=base + 0.60, a=0.46, b=0.55 + float(rng.normal(0, 0.02)), c=0.9),
    )
    size = heart_scale * float(rng.normal(1.0, 0.06))
    heart = (
        Ellipsoid(
            x=lean + 0.12 * size + rotation, y=0.20 + 0.6 * breath, a=0.285 * size, b=0.23 * size, c=0.30, turn=0.55
        ),
        Ellipsoid(x=lean - 0.05 + rotation, y=0.17 + 0.5 * breath, a=0.13 * size, b=0.22, c=0.24),
        Ellipsoid(x=lean + rotation, y=-0.22, a=0.105, b=0.46, c=0.26),
        Ellipsoid(x=lean + 0.11 + rotation, y=-0.27, a=0.07 + 0.0005 * max(0, age - 40), b=0.085, c=0.16),
        Ellipsoid(x=lean + 0.10 + rotation, y=-0.06, a=0.075, b=0.12, c=0.16),
        Ellipsoid(x=lean, y=0.75, a=0.5, b=0.35, c=0.35),
    )
    airway = (Ellipsoid(x=lean + 0.4 * rotation, y=-0.62, a=0.034, b=0.36, c=0.05),)
    spine = tuple(Ellipsoid(x=lean + 0.2 * rotation, y=-1.0 + 0.135 * i, a=0.075, b=0.052, c=0.10) for i in range(16))
    bones = (
        _ribs(lean, width, lungs_top=-0.68, lungs_base=base, front=False),
        _ribs(lean, width, lungs_top=-0.68, lungs_base=base, front=True),
        _clavicles(lean, rotation, rng),
        _blades(lean),
    )
    flesh: tuple[Ellipsoid, ...] = ()
    if sex == "F":
        sag = float(rng.uniform(0.02, 0.14))
        flesh = tuple(
            Ellipsoid(x=lean + side * 0.42, y=0.22 + sag, a=0.27, b=0.24, c=0.10 + 0.4 * sag, turn=side * 0.3)
            for side in (-1, 1)
        )
    return Patient(
        sex=sex,
        age=age,
        body=body,
        flesh=flesh,
        lungs=lungs,
        domes=domes,
        heart=heart,
        airway=airway,
        spine=spine,
        bones=bones,
        hila=((lean - 0.16, -0.03), (lean + 0.18, -0.06)),
    )


def _lung(
    side: int, lean: float, width: float, base: float, depth: float, rng: np.random.Generator
) -> tuple[Ellipsoid, ...]:
    """Draw one lung: narrow at the apex, wide at the base; `side` is -1 for the patient's right."""
    scale = width / 0.8
    middle = lean + side * 0.385 * scale
    wobble = float(rng.normal(0, 0.01))
    return (
        Ellipsoid(x=middle - side * 0.05, y=-0.34 + wobble, a=0.22 * scale, b=0.39, c=0.60 * depth, turn=side * -0.12),
        Ellipsoid(x=middle, y=0.02, a=0.275 * scale, b=0.56, c=0.74 * depth, turn=side * -0.10),
        Ellipsoid(x=middle + side * 0.015, y=0.5 * base, a=0.30 * scale, b=0.52, c=0.78 * depth, turn=side * -0.05),
    )


def _chain(points: np.ndarray, thick: float, deep: float) -> list[Ellipsoid]:
    """Join each of several polylines (r, m, 2) by overlapping ellipsoids."""
    middles = (points[:, 1:] + points[:, :-1]) / 2
    steps = points[:, 1:] - points[:, :-1]
    lengths = np.hypot(steps[..., 0], steps[..., 1])
    turns = np.arctan2(steps[..., 1], steps[..., 0])
    return [
        Ellipsoid(x=x, y=y, a=0.95 * length, b=thick, c=deep, turn=turn)
        for (x, y), length, turn in zip(
            middles.reshape(-1, 2).tolist(), lengths.ravel().tolist(), turns.ravel().tolist(), strict=True
        )
    ]


def _ribs(lean: float, width: float, *, lungs_top: float, lungs_base: float, front: bool) -> tuple[Ellipsoid, ...]:
    """Return the ribs' back halves (falling outwards from the spine) or front halves (rising back towards the breastbone)."""
    scale = width / 0.8
    spacing = (lungs_base - lungs_top + 0.12) / N_RIBS
    # Axes: ribs, sides of the body, points along a rib.
    number = np.arange(N_RIBS - (3 if front else 0))[:, None, None]
    side = np.array([-1, 1])[None, :, None]
    t = np.linspace(0.0, 1.0, _SEGMENTS)[None, None, :]
    top = lungs_top + spacing * number + (0.20 if front else -0.04)
    # The cage is narrow above and reaches its full width by the fourth rib.
    reach = scale * (0.34 + 0.33 * np.minimum(1.0, (number + 1) / 4.5) ** 0.8)
    if front:
        x = lean + side * (reach - (reach - 0.30) * t**0.9)
        y = top + 0.10 + 0.20 * np.sin(0.5 * np.pi * t) + 0.03 * number * t
        thick, deep = 0.021, 0.05
    else:
        x = lean + side * (0.07 + (reach - 0.07) * np.sin(0.5 * np.pi * t))
        y = top + 0.015 * number * t - 0.05 * np.sin(np.pi * t) + 0.17 * t**2.4
        thick, deep = 0.019, 0.075
    points = np.stack(np.broadcast_arrays(x, y), axis=-1)
    return tuple(_chain(points.reshape(-1, _SEGMENTS, 2), thick, deep))


def _clavicles(lean: float, rotation: float, rng: np.random.Generator) -> tuple[Ellipsoid, ...]:
    solids: list[Ellipsoid] = []
    lift = float(rng.normal(0.0, 0.025))
    t = np.linspace(0.0, 1.0, _SEGMENTS)
    for side in (-1, 1):
        x = lean + rotation + side * (0.07 + 0.62 * t)
        y = -0.60 + lift - 0.13 * t + 0.035 * np.sin(2 * np.pi * t)
        solids += _chain(np.stack([x, y], axis=1)[None], 0.026, 0.05)
    return tuple(solids)


def _blades(lean: float) -> tuple[Ellipsoid, ...]:
    return tuple(Ellipsoid(x=lean + side * 0.70, y=-0.30, a=0.11, b=0.36, c=0.03, turn=side * 0.22) for side in (-1, 1))
