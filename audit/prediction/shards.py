"""Predictions, one shard of records at a time: each image is read once, and all its variants pass through the network together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audit.data.records import Record
from audit.models.bundle import Bundle
from audit.perturbations import Perturbation
from audit.prediction.experiment import Experiment
from audit.prediction.variants import Variant, read_scene, variants
from audit.statistics.outputs import softmax
from audit.store.folder import PREDICTIONS_SCHEMA

# A shard is the unit of resume: what a kill can lose. Its size is fixed, so that it never changes a byte.
SHARD_RECORDS = 16
# Forward passes of one image that go through the network together; fixed, for rounding depends on it.
_BATCH = 16


def predict_scene(bundle: Bundle, shown: Iterable[Variant]) -> tuple[list[Variant], NDArray[np.float32]]:
    """Predict every variant of one image; of each only what the network sees is held.

    A batch holds nothing but this image's variants, in their order, whatever else is going on: the rounding of a
    matrix product depends on its shape, and results must not. Variants that are equal to the pixel share one
    forward pass, so that an edit which changes nothing moves the logits by exactly 0.

    Returns
    -------
    variants : list of Variant
        As shown, with the image scaled to the network's input.
    logits : ndarray of float32, (variants, k)
    """
    seen: list[Variant] = []
    unique: dict[bytes, int] = {}
    index = []
    for variant in shown:
        scaled = bundle.preprocessing.resize(variant.image)
        index.append(unique.setdefault(scaled.tobytes(), len(unique)))
        seen.append(replace(variant, image=scaled))
    first = {place: variant.image for place, variant in zip(reversed(index), reversed(seen), strict=True)}
    images = [first[place] for place in range(len(unique))]
    batches = [
        bundle.logits(torch.stack([bundle.preprocessing.normalise(image) for image in images[start : start + _BATCH]]))
        for start in range(0, len(images), _BATCH)
    ]
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
    bundle, shard = experiment.bundle, shard_of(experiment.records, number)
    rows: list[dict[str, Any]] = []
    with one_thread():
        for record in shard:
            scene = read_scene(record, experiment.context)
            edited = variants(scene, experiment.suite, perturbations, experiment.seed)
            shown, logits = predict_scene(bundle, edited)
            rows += _rows(record, bundle.classes, shown, logits)
            on_image()
    experiment.run.write_rows(part_name(number), rows, PREDICTIONS_SCHEMA)
    return len(shard)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: how it divides a convolution among several changes the last digits of logits.

    So the same plan gives the same bytes whatever the number of cores and of workers, which are how to use several.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def shard_of(records: Sequence[Record], number: int) -> Sequence[Record]:
    """Return the records of one shard."""
    return records[number * SHARD_RECORDS : (number + 1) * SHARD_RECORDS]


def _rows(
    record: Record, classes: Sequence[str], shown: Sequence[Variant], logits: NDArray[np.float32]
) -> list[dict[str, Any]]:
    probabilities = softmax(logits).astype(np.float32)
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
            "predicted": classes[int(np.argmax(logits[i]))],
            "label": record.label,
        }
        for i, variant in enumerate(shown)
    ]
