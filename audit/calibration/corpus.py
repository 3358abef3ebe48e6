"""Pictures to plant into: phantoms whose classes differ faintly, or real radiographs; training and test share no patient."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audit.calibration.plants import Picture
from audit.data.images import read_mask, read_record
from audit.data.reading import read_records
from audit.data.records import Record
from audit.errors import CohortError
from audit.models.preprocessing import Preprocessing
from audit.randomness import generator_for
from audit.training.phantom.image import ImageSpec, render
from audit.training.phantom.lettering import draw_letterings
from audit.training.phantom.scanners import SOURCES

CorpusName = Literal["phantoms", "radiographs"]
PHANTOM_PX = 128
"""Side of a phantom: the least at which letters of a twentieth of it can still be read."""
RADIOGRAPH_PX = 256
_CLASSES = ("normal", "pneumonia")
_FAINT = 0.6
"""Severity of the phantoms' findings: a network must have a reason to learn the plant."""
_FILLER = "PORTABLE"


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """One image to plant into."""

    id: str
    """Unique in its corpus."""
    label: int
    """Index of its class."""
    patient: str
    """Who was imaged."""
    picture: Picture
    """Without a plant."""
    findings: Mapping[str, int] | None = None
    """Output of a multi-label network -> 1 present, 0 absent, -1 unknown; None where classes exclude each other."""
    textless: NDArray[np.uint8] | None = None
    """The same rendering without any of its own text; None where nobody knows it."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What the networks of a zoo are trained and tested on."""

    name: str
    """Stands in results."""
    classes: tuple[str, ...]
    """Of the labels."""
    training: tuple[Specimen, ...]
    """Trains backbone and heads."""
    folds: tuple[tuple[Specimen, ...], ...]
    """Test sets without a common patient; a network is audited on one."""


def phantom_corpus(*, n_training: int, n_test: int, n_folds: int, seed: int = 0, size_px: int = PHANTOM_PX) -> Corpus:
    """Render phantoms of two classes; each carries a lead marker, none a word, and scanners tell nothing of the class.

    Parameters
    ----------
    n_training, n_test : int
        Images of the training set and of each test set; even numbers make classes equal.
    n_folds : int
        Number of test sets.
    seed : int
        Of everything.
    size_px : int
        Side of the images.
    """
    sizes = [n_training, *[n_test] * n_folds]
    parts = [
        tuple(_phantom(seed, f"{part}-{index}", index, size_px) for index in range(size))
        for part, size in enumerate(sizes)
    ]
    return Corpus(name="phantoms", classes=_CLASSES, training=parts[0], folds=tuple(parts[1:]))


def _phantom(seed: int, name: str, index: int, size_px: int) -> Specimen:
    """Render an image; each patient has two, of one class."""
    part, pair = name.split("-")[0], index // 2
    label = pair % len(_CLASSES)
    patient = f"phantom-{part}-{pair}"
    rng = generator_for(seed, "calibration phantom", name)
    source = list(SOURCES.values())[int(rng.integers(len(SOURCES)))]
    drawn = draw_letterings(rng, word=_FILLER, marker_corner=source.marker_corner, marker_ring=source.marker_ring)
    spec = ImageSpec(
        index=int(part) * 1_000_000 + index,
        seed=seed,
        patient=patient,
        label=_CLASSES[label],
        findings=("Pneumonia",) if label else ("No Finding",),
        source=source.name,
        letterings=tuple(item for item in drawn if item.text != _FILLER),
        severity=_FAINT,
    )
    image = render(spec, size_px)
    return Specimen(
        id=f"phantom-{name}",
        label=label,
        patient=patient,
        picture=Picture(image=image.image, lungs=image.lung_mask, boxes=image.boxes),
        textless=render(spec, size_px, with_text=False).image,
    )


def radiograph_folder() -> Path | None:
    """Return the folder of real radiographs (AUDIT_CXR_DIR, else beside the checkout), or None where there is none."""
    folder = Path(os.environ.get("AUDIT_CXR_DIR") or Path("..") / "shared" / "cxr")
    return folder if (folder / "manifest.csv").is_file() else None


def radiograph_corpus(folder: Path, *, n_training: int, n_test: int, n_folds: int, seed: int = 0) -> Corpus:
    """Read frontal radiographs of one source, normal against pneumonia, split by patient.

    Raises
    ------
    CohortError
        If the folder holds too few.
    """
    by_source: dict[str, list[Record]] = defaultdict(list)
    for record in read_records(folder / "manifest.csv")[0]:
        if record.label in _CLASSES:
            by_source[record.source].append(record)
    records = max(by_source.values(), key=len, default=[])
    sizes = [n_training, *[n_test] * n_folds]
    chosen = split_by_patient(records, _CLASSES, sizes, seed)
    parts = [tuple(read_specimen(r, _CLASSES, RADIOGRAPH_PX) for r in part) for part in chosen]
    return Corpus(name="radiographs", classes=_CLASSES, training=parts[0], folds=tuple(parts[1:]))


def split_by_patient(
    records: Sequence[Record], classes: Sequence[str], sizes: Sequence[int], seed: int
) -> list[list[Record]]:
    """Deal records to parts of the given sizes, classes equal in each, a patient's images together.

    Raises
    ------
    CohortError
        If a class has too few images.
    """
    parts: list[list[Record]] = [[] for _ in sizes]
    taken: dict[str, int] = {}
    for label in classes:
        of_patient: dict[str, list[Record]] = defaultdict(list)
        for record in sorted((r for r in records if r.label == label), key=lambda r: r.id):
            of_patient[record.patient].append(record)
        patients = sorted(of_patient)
        wanted = [size // len(classes) for size in sizes]
        for patient in (
            patients[i] for i in generator_for(seed, "calibration split", label).permutation(len(patients))
        ):
            part = taken.get(patient, next((p for p, left in enumerate(wanted) if left > 0), None))
            if part is None:
                break
            taken[patient] = part
            chosen = of_patient[patient][: wanted[part]]
            wanted[part] -= len(chosen)
            parts[part] += chosen
        n_images = sum(map(len, of_patient.values()))
        if any(wanted):
            raise CohortError(
                f"Calibration needs {sum(sizes) // len(classes)} images of each class with patients apart, but class {label} has only "
                f"{n_images}, or too few patients. Use fewer images or more data."
            )
    return parts


def read_specimen(record: Record, classes: Sequence[str], size_px: int | None = None) -> Specimen:
    """Read one image with its lung mask; with `size_px` the longer side is shrunk to it."""
    image = np.array(read_record(record))
    lungs = None if record.lung_mask is None else _as_mask(record.lung_mask, image.shape[:2])
    if size_px is not None and max(image.shape) > size_px:
        scale = size_px / max(image.shape)
        shape = (max(32, round(image.shape[0] * scale)), max(32, round(image.shape[1] * scale)))
        image = np.asarray(Preprocessing(size_px=shape).resize(image), dtype=np.uint8)
        lungs = (
            None
            if lungs is None
            else np.where(Preprocessing(size_px=shape).resize(lungs) > 127, np.uint8(255), np.uint8(0))
        )
    return Specimen(
        id=record.id,
        label=list(classes).index(str(record.label)),
        patient=record.patient,
        picture=Picture(image=image, lungs=lungs),
    )


def _as_mask(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    inside = np.asarray(read_mask(path, (shape[0], shape[1])))
    return np.where(inside > 0, np.uint8(255), np.uint8(0))
