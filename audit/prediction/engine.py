"""Conditions become predictions: each image is read once, and all its variants go through the network together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audit.data.conditions import Condition, Suite
from audit.data.images import read_mask
from audit.data.records import Record, TextRegion
from audit.errors import AuditError
from audit.models.bundle import Bundle
from audit.perturbations import NotApplicable, Perturbation, Scene, changed_pixels, make_perturbation
from audit.perturbations.background import MeanFilm
from audit.perturbations.donors import Donor, DonorPool, read_record
from audit.perturbations.properties import ClassProperties
from audit.prediction.processes import PredictionJob, predict_side_by_side
from audit.randomness import generator_for
from audit.store.folder import PREDICTIONS_SCHEMA, RunFolder

# A shard is the unit of resume: what a kill can lose. Its size is fixed, so that it never changes a byte.
SHARD_RECORDS = 16


# Forward passes of one image that go through the network together; fixed, for rounding depends on it.
_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One image under one draw of one condition."""

    condition: str
    """Name of the condition."""
    draw: int
    """Number of the draw, from 0."""
    image: NDArray[np.uint8]
    """Grey (h, w); the clean image itself where the condition does not apply."""
    changed_share: float
    """Share of the stored pixels that differ from the clean image's."""
    why_not: str = ""
    """Why the condition does not apply; empty where it does."""
    donor: str = ""
    """Name of the image that the edit was taken from; empty where it was taken from none."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where scenes are set: what all the images of a run share."""

    regions: Mapping[str, tuple[TextRegion, ...]]
    """Record id -> its text regions."""
    donors: DonorPool
    """The audited images, as donors."""
    background: MeanFilm
    """Their mean film."""
    properties: ClassProperties
    """Their classes' mean grey curve and sharpness."""
    read: Callable[[Record], NDArray[np.uint8]] = read_record
    """Reads a record's image; pictures that go out are drawn on covered ones (`audit.prediction.covering`)."""


def set_stage(records: Sequence[Record], regions: Mapping[str, tuple[TextRegion, ...]], seed: int) -> Stage:
    """Gather what perturbations may look at beside the image itself."""
    return Stage(
        regions=regions,
        donors=DonorPool(Donor(record=r, regions=regions[r.id]) for r in records),
        background=MeanFilm(records, regions, seed),
        properties=ClassProperties(records, regions, seed, read_record),
    )


def read_scene(record: Record, stage: Stage) -> Scene:
    """Read one image, and lay beside it what perturbations may look at."""
    image = stage.read(record)
    image.setflags(write=False)
    height, width = image.shape
    return Scene(
        image=image,
        record=record,
        regions=stage.regions[record.id],
        donors=stage.donors,
        lungs=None if record.lung_mask is None else read_mask(record.lung_mask, (height, width)),
        background=stage.background,
        properties=stage.properties,
    )


def make_perturbations(suite: Suite) -> dict[str, Perturbation]:
    """Make the perturbation of every condition but `clean`."""
    return {c.name: make_perturbation(c.perturbation, c.parameters) for c in suite.conditions[1:]}


def variants(scene: Scene, suite: Suite, perturbations: Mapping[str, Perturbation], seed: int) -> Iterator[Variant]:
    """Yield the clean image, then every draw of every condition, in the suite's order, one at a time."""
    yield Variant(condition="clean", draw=0, image=scene.image, changed_share=0.0)
    for condition in suite.conditions[1:]:
        for draw in range(condition.draws):
            yield make_variant(scene, condition, perturbations[condition.name], draw, seed)


def make_variant(scene: Scene, condition: Condition, perturbation: Perturbation, draw: int, seed: int) -> Variant:
    """Edit one image; the result depends on (seed, record id, condition, draw) alone."""
    drawn = perturbation.draw(scene, generator_for(seed, scene.record.id, condition.stream, draw))
    if isinstance(drawn, NotApplicable):
        why = drawn.reason or "no reason given"
        return Variant(condition=condition.name, draw=draw, image=scene.image, changed_share=0.0, why_not=why)
    if drawn is None:
        raise AuditError(
            f"The perturbation of condition {condition.name} returned None from draw(). If it does not apply, draw() must return "
            "NotApplicable with a reason."
        )
    edited = perturbation.apply(scene.image, drawn)
    if edited.shape != scene.image.shape or edited.dtype != np.uint8:
        raise AuditError(
            f"The perturbation of condition {condition.name} returned {edited.dtype} {edited.shape} for an image uint8 "
            f"{scene.image.shape}. An edit must keep type and shape; correct its apply()."
        )
    share = float(changed_pixels(scene.image, edited).mean())
    donor = getattr(drawn, "donor", None)
    name = donor.name if isinstance(donor, Record) else ""
    return Variant(condition=condition.name, draw=draw, image=edited, changed_share=share, donor=name)


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


def predict_all(
    run: RunFolder,
    bundle: Bundle,
    suite: Suite,
    records: Sequence[Record],
    stage: Stage,
    seed: int,
    on_image: Callable[[], None],
    *,
    workers: int = 1,
) -> list[str]:
    """Write `predictions/part-*.parquet`, one a shard; shards that are there are kept.

    Parameters
    ----------
    records : sequence of Record
        What to predict, in an order that never changes for the same plan.
    stage : Stage
        Text regions, donors and mean film of the same records.
    seed : int
        Run seed.
    on_image : callable
        Called once for every image that is done.
    workers : int
        Processes; their number changes no byte.

    Returns
    -------
    list of str
        Names of the parts, inside the run folder.
    """
    numbers = range(-(-len(records) // SHARD_RECORDS))
    missing = []
    for number in numbers:
        if not run.has(part_name(number)):
            missing.append(number)
            continue
        for _ in _shard(records, number):
            on_image()
    if workers > 1:
        job = PredictionJob(
            run=run.path, bundle=bundle.folder, suite=suite, records=records, regions=stage.regions, seed=seed
        )
        predict_side_by_side(job, missing, workers, on_image)
    else:
        perturbations = make_perturbations(suite)
        for number in missing:
            predict_shard(number, run, bundle, suite, perturbations, records, stage, seed, on_image)
    return [part_name(number) for number in numbers]


def part_name(number: int) -> str:
    """Return where a shard's predictions lie in the run folder."""
    return f"predictions/part-{number:05d}.parquet"


def predict_shard(
    number: int,
    run: RunFolder,
    bundle: Bundle,
    suite: Suite,
    perturbations: Mapping[str, Perturbation],
    records: Sequence[Record],
    stage: Stage,
    seed: int,
    on_image: Callable[[], None] = lambda: None,
) -> int:
    """Predict one shard of the records and write it; return how many images it holds."""
    shard = _shard(records, number)
    rows: list[dict[str, Any]] = []
    with one_thread():
        for record in shard:
            scene = read_scene(record, stage)
            shown, logits = predict_scene(bundle, variants(scene, suite, perturbations, seed))
            rows += _rows(record, bundle.classes, shown, logits)
            on_image()
    run.write_rows(part_name(number), rows, PREDICTIONS_SCHEMA)
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


def _shard(records: Sequence[Record], number: int) -> Sequence[Record]:
    return records[number * SHARD_RECORDS : (number + 1) * SHARD_RECORDS]


def _rows(
    record: Record, classes: Sequence[str], shown: Sequence[Variant], logits: NDArray[np.float32]
) -> list[dict[str, Any]]:
    probabilities = softmax(logits)
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


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn logits (..., k) into probabilities (..., k)."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float32)
