"""Predictions, one shard of records at a time: each image is read once, and all its variants pass through the network together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from audit.data.findings import joined_outputs
from audit.data.records import Record
from audit.models.bundle import Bundle
from audit.models.devices import USUAL_BATCH, OutOfDeviceMemoryError, device_of
from audit.models.torch_classifier import one_thread
from audit.perturbations import Perturbation
from audit.prediction.experiment import Experiment
from audit.prediction.variants import Variant, read_scene, variants
from audit.statistics.outputs import probabilities_of
from audit.store.folder import RunFolder
from audit.store.table_schemas import PREDICTIONS_SCHEMA

T = TypeVar("T")
# A shard is the unit of resume: what a kill can lose. Its size is fixed, so that it never changes a byte.
SHARD_RECORDS = 16


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


class Batches:
    """Inputs on their way through a network, a batch at a time; no more than a batch of them is held.

    Parameters
    ----------
    bundle : Bundle
        The network.
    size : int
        Inputs of a batch. Where the memory of a device does not suffice for it, it is halved, and stays so.

    Raises
    ------
    ModelError
        If the memory does not suffice for a single input, or an answer is not finite.
    """

    def __init__(self, bundle: Bundle, size: int) -> None:
        self._bundle, self.size = bundle, size
        self._waiting: list[torch.Tensor] = []
        self._answered: list[torch.Tensor] = []
        self._n_asked = 0

    def ask(self, inputs: torch.Tensor) -> int:
        """Put one input (c, h, w) into the next batch; return its place among the answers."""
        self._waiting.append(inputs)
        self._n_asked += 1
        if len(self._waiting) >= self.size:
            self._answer()
        return self._n_asked - 1

    def answers(self) -> NDArray[np.float32]:
        """Return the logits (n, k) of all inputs, in the order in which they were put."""
        self._answer()
        return np.asarray(torch.cat(self._answered).numpy(), dtype=np.float32)

    def _answer(self) -> None:
        while self._waiting:
            try:
                self._answered.append(self._bundle.logits(torch.stack(self._waiting[: self.size])))
            except OutOfDeviceMemoryError:
                tried = min(self.size, len(self._waiting))
                if tried == 1:
                    raise
                self.size = tried // 2
            else:
                self._waiting = self._waiting[self.size :]


def predict_scene(
    bundle: Bundle, shown: Iterable[Variant], batch: int = USUAL_BATCH
) -> tuple[list[Shown], NDArray[np.float32]]:
    """Predict every variant of one image; no more than a batch of inputs is held.

    A batch holds nothing but this image's variants, in their order, whatever else is going on: the rounding of a
    matrix product depends on its shape, and results must not.

    Returns
    -------
    variants : list of Shown
    logits : ndarray of float32, (variants, k)
    """
    batches = Batches(bundle, batch)
    seen, places = ask_scene(bundle, shown, batches)
    return seen, batches.answers()[places]


def ask_scene(bundle: Bundle, shown: Iterable[Variant], batches: Batches) -> tuple[list[Shown], list[int]]:
    """Put every variant of one image into batches; return them without their pixels, and the place of each one's answer.

    Variants that are equal to the pixel share one forward pass, so that an edit which changes nothing moves the logits by exactly 0.
    """
    seen: list[Shown] = []
    unique: dict[bytes, int] = {}
    places: list[int] = []
    clean: NDArray[np.uint8] | None = None
    for variant in shown:
        if variant.image is clean:  # the condition does not apply
            places.append(places[0])
        else:
            scaled = bundle.preprocessing.resize(variant.image)
            key = hashlib.sha256(scaled.tobytes()).digest()
            if key not in unique:
                unique[key] = batches.ask(bundle.preprocessing.normalise(scaled))
            places.append(unique[key])
            clean = variant.image if clean is None else clean
        seen.append(Shown.of(variant))
    return seen, places


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
    asked: list[tuple[Record, list[Shown], list[int] | NDArray[np.float32]]] = []
    batches = Batches(bundle, experiment.batch) if device_of(bundle).type != "cpu" else None
    with one_thread():
        for record in records:
            scene = read_scene(record, experiment.context)
            edited = variants(scene, experiment.suite, perturbations, experiment.seed)
            if batches is None:
                asked.append((record, *predict_scene(bundle, edited, experiment.batch)))
            else:  # another device is only busy with more than one image at a time
                asked.append((record, *ask_scene(bundle, edited, batches)))
            on_image()
        answers = None if batches is None else batches.answers()
    return [
        row
        for record, shown, found in asked
        for row in _rows(
            record, bundle.classes, shown, np.asarray(found) if answers is None else answers[found], experiment.cuts
        )
    ]


def write_shard(number: int, rows: Sequence[dict[str, Any]], run: RunFolder) -> None:
    """Write the rows of one shard, whoever predicted them."""
    run.write_rows(part_name(number), rows, PREDICTIONS_SCHEMA)


def shard_of(records: Sequence[T], number: int) -> Sequence[T]:
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
