"""Predictions, one shard of records at a time: each image is read once, and all its variants pass through the network together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audit.data.findings import joined_outputs
from audit.data.records import Record
from audit.models.bundle import Bundle
from audit.models.torch_classifier import one_thread
from audit.perturbations import Perturbation
from audit.prediction.experiment import Experiment
from audit.prediction.variants import Variant, read_scene, variants
from audit.statistics.outputs import probabilities_of
from audit.store.folder import RunFolder
from audit.store.table_schemas import PREDICTIONS_SCHEMA

# A shard is the unit of resume: what a kill can lose. Its size is fixed, so that it never changes a byte.
SHARD_RECORDS = 16
# Forward passes of one image that go through the network together; fixed, for rounding depends on it.
_BATCH = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A variant that was predicted, without its pixels; its fields are those of `Variant`."""

    condition: str
    """Name of the condition."""
    draw: int
    """Number of the draw."""
    changed_share: float
    """Share of the stored pixels that differ from the clean image's."""
    why_not: str
    """Why the condition does not apply."""
    donor: str
    """Name of the image that the edit was taken from."""

    @classmethod
    def of(cls, variant: Variant) -> Shown:
        """Return a variant without its pixels."""
        return cls(**{name: getattr(variant, name) for name in cls.__slots__})


def predict_scene(bundle: Bundle, shown: Iterable[Variant]) -> tuple[list[Shown], NDArray[np.float32]]:
    """Predict every variant of one image; no more than a batch of inputs is held.

    A batch holds nothing but this image's variants, in their order, whatever else is going on: the rounding of a
    matrix product depends on its shape, and results must not. Variants that are equal to the pixel share one
    forward pass, so that an edit which changes nothing moves the logits by exactly 0.

    Returns
    -------
    variants : list of Shown
    logits : ndarray of float32, (variants, k)
    """
    seen: list[Shown] = []
    unique: dict[bytes, int] = {}
    index = []
    waiting: list[torch.Tensor] = []
    batches: list[torch.Tensor] = []
    for variant in shown:
        scaled = bundle.preprocessing.resize(variant.image)
        known = len(unique)
        index.append(unique.setdefault(hashlib.sha256(scaled.tobytes()).digest(), known))
        seen.append(Shown.of(variant))
        if len(unique) > known:
            waiting.append(bundle.preprocessing.normalise(scaled))
        if len(waiting) == _BATCH:
            batches.append(bundle.logits(torch.stack(waiting)))
            waiting = []
    if waiting:
        batches.append(bundle.logits(torch.stack(waiting)))
    return seen, np.asarray(torch.cat(batches).numpy(), dtype=np.float32)[index]


def part_name(number: int) -> str:
    """Return where a shard's predictions lie in the run folder."""
    return f"predictions/part-{number:05d}.parquet"


def predict_shard(
    number: int,
    experiment: Experiment,
    perturbations: Mapping[str, Perturbation],
    on_image: Callable[[], None] = lambda: None,
) -> int:
    """Predict one shard of the records and write it; return how many images it holds."""
    shard = shard_of(experiment.records, number)
    write_shard(number, predicted_rows(shard, experiment, perturbations, on_image), experiment.run)
    return len(shard)


def predicted_rows(
    records: Sequence[Record],
    experiment: Experiment,
    perturbations: Mapping[str, Perturbation],
    on_image: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Predict every variant of some records; return the rows of the table, record by record."""
    bundle = experiment.bundle
    rows: list[dict[str, Any]] = []
    with one_thread():
        for record in records:
            scene = read_scene(record, experiment.context)
            edited = variants(scene, experiment.suite, perturbations, experiment.seed)
            shown, logits = predict_scene(bundle, edited)
            rows += _rows(record, bundle.classes, shown, logits, experiment.cuts)
            on_image()
    return rows


def write_shard(number: int, rows: Sequence[dict[str, Any]], run: RunFolder) -> None:
    """Write the rows of one shard, whoever predicted them."""
    run.write_rows(part_name(number), rows, PREDICTIONS_SCHEMA)


def shard_of(records: Sequence[Record], number: int) -> Sequence[Record]:
    """Return the records of one shard."""
    return records[number * SHARD_RECORDS : (number + 1) * SHARD_RECORDS]


def _rows(
    record: Record,
    classes: Sequence[str],
    shown: Sequence[Shown],
    logits: NDArray[np.float32],
    cuts: tuple[float, ...],
) -> list[dict[str, Any]]:
    probabilities = probabilities_of(logits, exclusive=not cuts).astype(np.float32)
    return [
        {
            "record_id": record.name,
            "condition": variant.condition,
            "draw": variant.draw,
            "applied": not variant.why_not,
            "why_not": variant.why_not,
            "changed_share": variant.changed_share,
            "donor": variant.donor,
            "logits": logits[i].tolist(),
            "probabilities": probabilities[i].tolist(),
            "predicted": joined_outputs((probabilities[i] > cuts).tolist(), classes)
            if cuts
            else classes[int(np.argmax(logits[i]))],
            "label": record.label,
        }
        for i, variant in enumerate(shown)
    ]
