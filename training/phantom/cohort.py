"""A folder of synthetic radiographs: images, lung masks, true text boxes, and a manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from audit.errors import UsageError
from audit.randomness import generator_for
from audit.training.phantom.folders import write_png, write_tables
from audit.training.phantom.image import ImageSpec, PhantomImage, render
from audit.training.phantom.lettering import CLASS_WORDS, draw_letterings
from audit.training.phantom.pathology import CLASS_FINDINGS, FIFTEEN
from audit.training.phantom.scanners import SOURCES

Task = Literal["classes", "findings"]
CLASSES = tuple(CLASS_FINDINGS)
CLASS_SOURCES = dict(zip(CLASSES, SOURCES, strict=True))
"""Source that goes with a class at association 1."""
_COLUMNS = ("id", "path", "label", "findings", "source", "site", "patient_id", "view", "sex", "age", "lung_mask")


def make_phantoms(
    folder: Path,
    *,
    task: Task,
    n_images: int,
    size_px: int = 256,
    seed: int = 0,
    word_association: float = 0.0,
    source_association: float = 0.0,
    severity: float = 1.0,
    electrode_share: float = 0.0,
    on_image: Callable[[int, int], None] | None = None,
) -> Path:
    """Write synthetic images with shortcuts of known strength.

    Image i depends on (seed, i, parameters) alone. Images 2p and 2p + 1 are of the same class, and often of the
    same patient. The manifest is written last, so that a folder with one is complete.

    Parameters
    ----------
    folder : Path
        Where `manifest.csv`, `boxes.json`, `images/` and `lungs/` go.
    task : {"classes", "findings"}
        normal, pneumonia and COVID-19; or the 15 labels of the chain's middle step, none to three an image.
    n_images : int
        Number of images; a multiple of 6 makes classes equal.
    size_px : int
        Side of the square images.
    seed : int
        Of the whole cohort.
    word_association, source_association : float in [0, 1]
        With this probability the word (the source) is the one that goes with the class, else it is drawn from all.
    severity : float
        Strength of the findings.
    electrode_share : float in [0, 1]
        Share of the COVID-19 images that show an electrode, which no other image does: a shortcut that is no text.
    on_image : callable, optional
        Called with (done, total) after each image.

    Returns
    -------
    Path
        The manifest.

    Raises
    ------
    UsageError
        If a parameter is outside its range.
    """
    _check(n_images, size_px, word_association, source_association, severity, electrode_share)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "lungs").mkdir(parents=True, exist_ok=True)
    rows, boxes = [], {}
    images = image_specs(
        task=task,
        n_images=n_images,
        seed=seed,
        word_association=word_association,
        source_association=source_association,
        severity=severity,
        electrode_share=electrode_share,
    )
    for spec in images:
        image = render(spec, size_px)
        name = f"{spec.index:05d}"
        write_png(folder / "images" / f"{name}.png", image.image)
        write_png(folder / "lungs" / f"{name}.png", image.lung_mask)
        boxes[f"images/{name}.png"] = image.boxes
        rows.append(_row(spec, image, name))
        if on_image is not None:
            on_image(spec.index + 1, n_images)
    return write_tables(folder, _COLUMNS, rows, boxes)


def image_specs(
    *,
    task: Task,
    n_images: int,
    seed: int,
    word_association: float = 0.0,
    source_association: float = 0.0,
    severity: float = 1.0,
    electrode_share: float = 0.0,
) -> Iterator[ImageSpec]:
    """Decide everything about each image, without rendering any."""
    for index in range(n_images):
        pair = index // 2
        of_pair = generator_for(seed, "phantom pair", task, pair)
        same_patient = of_pair.random() < 0.6
        patient = f"{task}-{pair}" if same_patient else f"{task}-{pair}-{index % 2}"
        label = CLASSES[pair % len(CLASSES)] if task == "classes" else ""
        findings = (CLASS_FINDINGS[label],) if label else _draw_findings(of_pair)
        rng = generator_for(seed, "phantom film", task, index)
        word = _linked(label, CLASS_WORDS, word_association, rng)
        source = _linked(label, CLASS_SOURCES, source_association, rng)
        letterings = draw_letterings(
            rng, word=word, marker_corner=SOURCES[source].marker_corner, marker_ring=SOURCES[source].marker_ring
        )
        yield ImageSpec(
            index=index,
            seed=seed,
            patient=patient,
            label=label,
            findings=findings,
            source=source,
            letterings=letterings,
            severity=severity,
            # A generator of its own, so that images without electrodes are what they are without this parameter.
            electrode=label == "covid" and generator_for(seed, "electrode", index).random() < electrode_share,
        )


def _linked(label: str, by_class: Mapping[str, str], association: float, rng: np.random.Generator) -> str:
    """Return what goes with the class with probability `association`, else any, each equally likely."""
    follows, other = rng.random() < association, int(rng.integers(len(by_class)))
    return by_class[label] if follows and label else list(by_class.values())[other]


def _draw_findings(rng: np.random.Generator) -> tuple[str, ...]:
    """Draw none to three of the fourteen findings; none is "No Finding"."""
    n = int(rng.choice(4, p=[0.25, 0.45, 0.22, 0.08]))
    names = [name for name in FIFTEEN if name != "No Finding"]
    drawn = sorted(rng.choice(len(names), size=n, replace=False).tolist())
    return tuple(names[i] for i in drawn) or ("No Finding",)


def _row(spec: ImageSpec, image: PhantomImage, name: str) -> dict[str, str | int]:
    return {
        "id": name,
        "path": f"images/{name}.png",
        "label": spec.label,
        "findings": "|".join(spec.findings),
        "source": spec.source,
        "site": spec.source,
        "patient_id": spec.patient,
        "view": SOURCES[spec.source].view,
        "sex": image.patient.sex,
        "age": image.patient.age,
        "lung_mask": f"lungs/{name}.png",
    }


def _check(n_images: int, size_px: int, word: float, source: float, severity: float, electrode: float) -> None:
    if n_images < 1:
        raise UsageError(f"The number of images must be at least 1, found {n_images}.")
    if not 64 <= size_px <= 2048:
        raise UsageError(f"The side of an image must be 64 to 2048 px, found {size_px}.")
    shares = (("word_association", word), ("source_association", source), ("electrode_share", electrode))
    for name, value in shares:
        if not 0 <= value <= 1:
            raise UsageError(f"{name} must be between 0 and 1, found {value}.")
    if not 0 <= severity <= 2:
        raise UsageError(f"severity must be between 0 and 2, found {severity}.")
