"""Conditions become predictions: each image is read once, and all its variants go through the network together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audit.conditions import Suite
from audit.images import read_gray
from audit.models.bundle import Bundle
from audit.perturbations import Perturbation, Scene, make_perturbation
from audit.perturbations.donors import Donor, DonorPool
from audit.randomness import generator_for
from audit.records import Record, TextRegion
from audit.results import PredictionTable
from audit.store import PREDICTIONS_SCHEMA, RunFolder

# A shard is the unit of resume: what a kill can lose. Its size is fixed, so that it never changes a byte.
SHARD_RECORDS = 16


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One image under one draw of one condition."""

    condition: str
    """Name of the condition."""
    draw: int
    """Number of the draw, from 0."""
    image: NDArray[np.uint8]
    """Grey (h, w); the clean image itself where the condition does not apply."""
    drawn: Any | None
    """What the perturbation drew; None where it does not apply."""


def make_perturbations(suite: Suite) -> dict[str, Perturbation]:
    """Make the perturbation of every condition but `clean`."""
    return {c.name: make_perturbation(c.perturbation, c.parameters) for c in suite.conditions[1:]}


def variants(scene: Scene, suite: Suite, perturbations: Mapping[str, Perturbation], seed: int) -> Iterator[Variant]:
    """Yield the clean image, then every draw of every condition, in the suite's order."""
    yield Variant(condition="clean", draw=0, image=scene.image, drawn=())
    for condition in suite.conditions[1:]:
        perturbation = perturbations[condition.name]
        for draw in range(condition.draws):
            yield make_variant(scene, condition.name, perturbation, draw, seed)


def make_variant(scene: Scene, condition: str, perturbation: Perturbation, draw: int, seed: int) -> Variant:
    """Edit one image; the result depends on (seed, record id, condition, draw) alone."""
    drawn = perturbation.draw(scene, generator_for(seed, scene.record.id, condition, draw))
    edited = scene.image if drawn is None else perturbation.apply(scene.image, drawn)
    return Variant(condition=condition, draw=draw, image=edited, drawn=drawn)


def predict_scene(bundle: Bundle, shown: Sequence[Variant]) -> NDArray[np.float32]:
    """Predict every variant of one image in one batch.

    The batch holds exactly this image's variants, whatever else is going on: the rounding of a
    matrix product depends on its shape, and results must not. Variants that are equal to the
    pixel share one forward pass, so that an edit which changes nothing moves the logits by exactly 0.

    Returns
    -------
    ndarray of float32, (variants, k)
    """
    unique: list[NDArray[np.uint8]] = []
    index = []
    for variant in shown:
        match = next((i for i, image in enumerate(unique) if np.array_equal(image, variant.image)), len(unique))
        if match == len(unique):
            unique.append(variant.image)
        index.append(match)
    logits = bundle.logits(torch.stack([bundle.preprocessing.prepare(image) for image in unique]))
    return np.asarray(logits.numpy(), dtype=np.float32)[index]


def predict_all(
    run: RunFolder,
    bundle: Bundle,
    suite: Suite,
    records: Sequence[Record],
    regions: Mapping[str, tuple[TextRegion, ...]],
    seed: int,
    on_image: Callable[[], None],
) -> list[str]:
    """Write `predictions/part-*.parquet`, one a shard; shards that are there are kept.

    Parameters
    ----------
    records : sequence of Record
        What to predict, in an order that never changes for the same plan.
    regions : mapping
        Record id -> its text regions.
    seed : int
        Run seed.
    on_image : callable
        Called once for every image that is done.

    Returns
    -------
    list of str
        Names of the parts, inside the run folder.
    """
    perturbations = make_perturbations(suite)
    pool = donor_pool(records, regions)
    parts = []
    for number, start in enumerate(range(0, len(records), SHARD_RECORDS)):
        shard = records[start : start + SHARD_RECORDS]
        name = f"predictions/part-{number:05d}.parquet"
        parts.append(name)
        if not run.has(name):
            rows: list[dict[str, Any]] = []
            for record in shard:
                scene = read_scene(record, regions, pool)
                shown = list(variants(scene, suite, perturbations, seed))
                rows += _rows(record, bundle.classes, shown, predict_scene(bundle, shown))
                on_image()
            run.write_rows(name, rows, PREDICTIONS_SCHEMA)
        else:
            for _ in shard:
                on_image()
    return parts


def donor_pool(records: Sequence[Record], regions: Mapping[str, tuple[TextRegion, ...]]) -> DonorPool:
    """Gather the audited images whose text may be pasted."""
    return DonorPool(Donor(record=r, regions=regions[r.id]) for r in records)


def read_scene(record: Record, regions: Mapping[str, tuple[TextRegion, ...]], pool: DonorPool) -> Scene:
    """Read one image, and lay beside it what perturbations may look at."""
    image = read_gray(record.path)
    image.setflags(write=False)
    return Scene(image=image, record=record, regions=regions[record.id], donors=pool)


def _rows(
    record: Record, classes: Sequence[str], shown: Sequence[Variant], logits: NDArray[np.float32]
) -> list[dict[str, Any]]:
    probabilities = softmax(logits)
    return [
        {
            "record_id": record.id,
            "condition": variant.condition,
            "draw": variant.draw,
            "applied": variant.drawn is not None,
            "logits": logits[i].tolist(),
            "probabilities": probabilities[i].tolist(),
            "predicted": classes[int(np.argmax(logits[i]))],
            "label": record.label,
        }
        for i, variant in enumerate(shown)
    ]


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn logits (..., k) into probabilities (..., k)."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float32)


def read_predictions(
    run: RunFolder, parts: Sequence[str], suite: Suite, records: Sequence[Record], classes: tuple[str, ...]
) -> PredictionTable:
    """Gather the parts into arrays: 4 bytes a logit, the only thing of a run that grows in memory."""
    position = {record.id: i for i, record in enumerate(records)}
    n, k = len(records), len(classes)
    logits = {c.name: np.zeros((c.draws, n, k), dtype=np.float32) for c in suite.conditions}
    applied = {c.name: np.zeros((c.draws, n), dtype=np.bool_) for c in suite.conditions}
    for part in parts:
        for row in run.read_rows(part, ["record_id", "condition", "draw", "applied", "logits"]):
            i = position[row["record_id"]]
            logits[row["condition"]][row["draw"], i] = row["logits"]
            applied[row["condition"]][row["draw"], i] = row["applied"]
    index = {name: i for i, name in enumerate(classes)}
    return PredictionTable(
        record_ids=np.array([r.id for r in records]),
        labels=np.array([index[r.label] for r in records if r.label is not None], dtype=np.int64),
        patients=np.array([r.patient for r in records]),
        groups={
            "source": np.array([r.source for r in records]),
            "view": np.array([r.view or "unknown" for r in records]),
            "sex": np.array([r.sex or "unknown" for r in records]),
        },
        classes=classes,
        logits=logits,
        applied=applied,
    )
