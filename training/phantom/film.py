"""One film: what is decided of it, and its rendering with or without its text."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.randomness import generator_for
from training.phantom.anatomy import Patient, draw_patient
from training.phantom.lettering import Lettering, TextBox, burn
from training.phantom.pathology import FINDINGS, HEART_SCALE, LUNG_DROP, Lungs
from training.phantom.projection import Field, axis, project
from training.phantom.scanners import SOURCES, expose

# Inflated lung holds this share of the water that solid tissue of its size would.
_LUNG_DENSITY = np.float32(0.25)
_BONE_WALL = 0.72


@dataclass(frozen=True, kw_only=True)
class FilmSpec:
    """Everything that decides a film's pixels."""

    index: int
    """Number in its cohort."""
    seed: int
    """Seed of the cohort."""
    patient: str
    """Whose anatomy."""
    label: str
    """normal, pneumonia, covid; empty for the 15-label task."""
    findings: tuple[str, ...]
    """Keys of `FINDINGS`."""
    source: str
    """Key of `SOURCES`."""
    letterings: tuple[Lettering, ...]
    """What is burned in."""
    severity: float = 1.0
    """Strength of the findings; 0 is a healthy chest."""


@dataclass(frozen=True, kw_only=True)
class Film:
    """A rendered film."""

    image: NDArray[np.uint8]
    """Grey (h, h)."""
    lung_mask: NDArray[np.uint8]
    """255 inside the lungs (h, h)."""
    boxes: tuple[TextBox, ...]
    """True boxes of the text; empty without it."""
    patient: Patient
    """Who was imaged."""


def render(spec: FilmSpec, size_px: int, *, with_text: bool = True) -> Film:
    """Render a film.

    Without text everything else is the same to the bit, so that what the text does to a network is known exactly.
    """
    chest = _generator(spec, "anatomy", spec.patient)
    patient = draw_patient(
        chest,
        heart_scale=max([1.0, *(HEART_SCALE.get(f, 1.0) for f in spec.findings)]),
        lung_drop=max([0.0, *(LUNG_DROP.get(f, 0.0) for f in spec.findings)]),
    )
    lungs, soft = _tissue(patient, size_px, _generator(spec, "vessels", spec.patient))
    disease = _generator(spec, "disease", spec.patient)
    for finding in spec.findings:
        change = FINDINGS[finding](lungs, disease)
        air = lungs.right + lungs.left
        if change.water is not None:
            water = np.float32(spec.severity) * change.water * air * (1 - _LUNG_DENSITY)
            soft = np.asarray(soft + water, dtype=np.float32)
        if change.solid is not None:
            soft = np.asarray(soft + np.float32(spec.severity) * change.solid, dtype=np.float32)
    source = SOURCES[spec.source]
    image = expose(np.maximum(soft, 0), _bones(patient, size_px), source, _generator(spec, "exposure", spec.index))
    boxes = []
    if with_text:
        for item in spec.letterings:
            image, box = burn(image, item)
            boxes.append(box)
    mask = np.where(lungs.mask > 0.5, np.uint8(255), np.uint8(0))
    return Film(image=image, lung_mask=mask, boxes=tuple(boxes), patient=patient)


def _generator(spec: FilmSpec, *names: str | int) -> np.random.Generator:
    return generator_for(spec.seed, "phantom", *names)


def _tissue(patient: Patient, side: int, rng: np.random.Generator) -> tuple[Lungs, Field]:
    """Return the lungs, and the path through soft tissue (h, h) with the lungs' air taken out."""
    # Flesh has no edge of its own: it runs out into the chest wall.
    flesh = cv2.GaussianBlur(project(patient.flesh, side, union=False), (0, 0), 0.03 * side)
    body = project(patient.body, side, union=True) + flesh
    domes = project(patient.domes, side, union=True)
    heart = project(patient.heart, side, union=True)
    air = []
    for lung in patient.lungs:
        path = project(lung, side, union=True)
        # The dome takes the lung's depth from below, the heart and great vessels from the middle.
        air.append(np.maximum(np.minimum(path, 1.1 * body) - np.float32(0.95) * domes - np.float32(0.9) * heart, 0))
    right, left = (np.asarray(a, dtype=np.float32) for a in air)
    total = right + left
    mask = (total > 0.07).astype(np.float32)
    mask8 = np.asarray(mask, dtype=np.uint8)
    edge = np.asarray(cv2.distanceTransform(mask8, cv2.DIST_L2, 3), dtype=np.float32) * np.float32(2 / side)
    lungs = Lungs(right=right, left=left, mask=mask, edge=edge)
    soft = body - total * (1 - _LUNG_DENSITY) + _vessels(patient, side, total, rng)
    airway = project(patient.airway, side, union=True)
    return lungs, np.asarray(soft + np.float32(0.10) * heart - np.float32(0.9) * airway, dtype=np.float32)


def _bones(patient: Patient, side: int) -> Field:
    ribs_back, ribs_front, clavicles, blades = (
        project(group, side, union=True, wall=_BONE_WALL) for group in patient.bones
    )
    spine = project(patient.spine, side, union=True, wall=_BONE_WALL)
    thick = 0.55 * ribs_back + 0.38 * ribs_front + 0.75 * clavicles + 0.5 * blades + 0.5 * spine
    return np.asarray(thick, dtype=np.float32)


def _vessels(patient: Patient, side: int, air: Field, rng: np.random.Generator) -> Field:
    """Draw the lungs' vessels as trees that fan out of each hilum, getting finer."""
    canvas = np.zeros((side, side), dtype=np.float32)
    for hand, (x, y) in zip((-1, 1), patient.hila, strict=True):
        for _ in range(9):
            heading = float(rng.uniform(-1.15, 1.25))
            _branch(canvas, x, y, hand, heading, 0.022, 0.115, 4, rng)
    trees = np.asarray(cv2.GaussianBlur(canvas, (0, 0), max(0.4, 0.003 * side)), dtype=np.float32)
    hila = sum(_glow(side, x, y) for x, y in patient.hila)
    return np.asarray((0.95 * trees + 0.10 * hila) * np.minimum(air * 3, 1), dtype=np.float32)


def _branch(
    canvas: Field,
    x: float,
    y: float,
    hand: int,
    heading: float,
    width: float,
    length: float,
    depth: int,
    rng: np.random.Generator,
) -> None:
    side = canvas.shape[0]
    x1, y1 = x + hand * length * np.cos(heading), y + length * np.sin(heading)
    scale = side / 2
    start, end = ((int((u + 1) * scale * 8), int((v + 1) * scale * 8)) for u, v in ((x, y), (x1, y1)))
    cv2.line(canvas, start, end, float(5.5 * width), max(1, round(width * scale)), cv2.LINE_8, 3)
    if depth > 0:
        for _ in range(2 if depth > 1 else 1):
            turned = heading + float(rng.normal(0, 0.38))
            _branch(canvas, float(x1), float(y1), hand, turned, 0.68 * width, 0.92 * length, depth - 1, rng)


def _glow(side: int, x: float, y: float) -> Field:
    t = axis(side)
    return np.asarray(
        np.exp(-(((t[None, :] - np.float32(x)) / 0.09) ** 2) - ((t[:, None] - np.float32(y)) / 0.13) ** 2),
        dtype=np.float32,
    )
