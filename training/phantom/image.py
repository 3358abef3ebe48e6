"""One image: what is decided of it, and its rendering with or without its text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.randomness import generator_for
from audit.training.phantom.anatomy import Patient, draw_patient
from audit.training.phantom.artefacts import stick_electrode
from audit.training.phantom.lettering import Lettering, TextBox, burn
from audit.training.phantom.pathology import FINDINGS, HEART_SCALE, LUNG_DROP, Lungs
from audit.training.phantom.projection import Field, axis, project
from audit.training.phantom.scanners import SOURCES, expose

# Inflated lung holds this share of the water that solid tissue of its size would.
_LUNG_DENSITY = np.float32(0.25)
_BONE_WALL = 0.72
# Vessels of one lung: trees out of the hilum, and how often they branch.
_TREES, _GENERATIONS = 9, 5


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """Everything that decides an image's pixels."""

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
    electrode: bool = False
    """Whether an electrode sticks to the patient."""


@dataclass(frozen=True, kw_only=True)
class PhantomImage:
    """A rendered image."""

    image: NDArray[np.uint8]
    """Grey (h, h)."""
    lung_mask: NDArray[np.uint8]
    """255 inside the lungs (h, h)."""
    boxes: tuple[TextBox, ...]
    """True boxes of the text; empty without it."""
    patient: Patient
    """Who was imaged."""


def render(spec: ImageSpec, size_px: int, *, with_text: bool = True) -> PhantomImage:
    """Render an image.

    Without text everything else is the same to the bit, so that what the text does to a network is known exactly.
    """
    chest = _chest(spec.seed, spec.patient, spec.findings, spec.severity, size_px)
    source = SOURCES[spec.source]
    exposure = generator_for(spec.seed, "phantom", "exposure", spec.index)
    image = expose(chest.soft, chest.bone, source, exposure)
    if spec.electrode:
        image = stick_electrode(image, generator_for(spec.seed, "phantom", "electrode", spec.index))
    boxes = []
    if with_text:
        for item in spec.letterings:
            image, box = burn(image, item)
            boxes.append(box)
    return PhantomImage(image=image, lung_mask=chest.lung_mask, boxes=tuple(boxes), patient=chest.patient)


@dataclass(frozen=True, kw_only=True)
class _Chest:
    """What of an image is its patient's, not its exposure's; arrays are read-only, since images share them."""

    patient: Patient
    soft: Field
    bone: Field
    lung_mask: NDArray[np.uint8]


# The images of a patient follow each other, and differ in source and text alone.
@lru_cache(maxsize=2)
def _chest(seed: int, name: str, findings: tuple[str, ...], severity: float, side: int) -> _Chest:
    def generator(purpose: str) -> np.random.Generator:
        return generator_for(seed, "phantom", purpose, name)

    patient = draw_patient(
        generator("anatomy"),
        heart_scale=max([1.0, *(HEART_SCALE.get(f, 1.0) for f in findings)]),
        lung_drop=max([0.0, *(LUNG_DROP.get(f, 0.0) for f in findings)]),
    )
    lungs, soft = _tissue(patient, side, generator("vessels"))
    disease = generator("disease")
    for finding in findings:
        change = FINDINGS[finding](lungs, disease)
        air = lungs.right + lungs.left
        if change.water is not None:
            soft = np.asarray(soft + np.float32(severity) * change.water * air * (1 - _LUNG_DENSITY), dtype=np.float32)
        if change.solid is not None:
            soft = np.asarray(soft + np.float32(severity) * change.solid, dtype=np.float32)
    mask = np.where(lungs.mask > 0.5, np.uint8(255), np.uint8(0))
    chest = _Chest(patient=patient, soft=np.maximum(soft, 0), bone=_bones(patient, side), lung_mask=mask)
    for array in (chest.soft, chest.bone, chest.lung_mask):
        array.setflags(write=False)
    return chest


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
    for hand, hilum in zip((-1, 1), patient.hila, strict=True):
        _trees(canvas, np.array(hilum), hand, rng)
    trees = np.asarray(cv2.GaussianBlur(canvas, (0, 0), max(0.4, 0.003 * side)), dtype=np.float32)
    hila = sum(_glow(side, x, y) for x, y in patient.hila)
    return np.asarray((0.95 * trees + 0.10 * hila) * np.minimum(air * 3, 1), dtype=np.float32)


def _trees(canvas: Field, hilum: NDArray[np.float64], hand: int, rng: np.random.Generator) -> None:
    """Draw the trees of one lung, generation by generation: each forks into shorter, finer ones that turn a little."""
    scale = canvas.shape[0] / 2
    heading = rng.uniform(-1.15, 1.25, _TREES)
    start = np.broadcast_to(hilum, (_TREES, 2))
    width, length = 0.022, 0.115
    for generation in range(_GENERATIONS):
        end = start + length * np.stack([hand * np.cos(heading), np.sin(heading)], axis=1)
        # Eighths of a pixel, as `shift` says.
        lines = ((np.stack([start, end], axis=1) + 1) * scale * 8).astype(np.int32)
        thickness = max(1, round(width * scale))
        cv2.polylines(canvas, list(lines), False, float(5.5 * width), thickness, cv2.LINE_8, 3)
        forks = 2 if generation < _GENERATIONS - 2 else 1
        start, heading = np.repeat(end, forks, axis=0), np.repeat(heading, forks)
        heading = heading + rng.normal(0, 0.38, len(heading))
        width, length = 0.68 * width, 0.92 * length


def _glow(side: int, x: float, y: float) -> Field:
    t = axis(side)
    across = np.exp(-(((t - np.float32(x)) / np.float32(0.09)) ** 2))
    down = np.exp(-(((t - np.float32(y)) / np.float32(0.13)) ** 2))
    return np.asarray(down[:, None] * across[None, :], dtype=np.float32)
