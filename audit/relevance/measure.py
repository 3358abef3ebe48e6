"""Heatmaps and relevance of clean images: where the network looks, and how much of that is text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from audit.data.images import read_record
from audit.data.plan import PlannedRelevance
from audit.data.records import Record, TextRegion
from audit.perturbations.masking import MaskDraw, TextMask
from audit.perturbations.places import text_boxes
from audit.prediction.covering import Disclosure, flatten_relevance
from audit.prediction.experiment import Experiment
from audit.randomness import generator_for
from audit.relevance.heatmaps import read_heatmaps, write_heatmaps
from audit.relevance.images import ImageAttributor
from audit.relevance.methods import Relevance
from audit.relevance.regions import map_boxes, mass_inside, summarise_relevance
from audit.relevance.same_place import with_same_place
from audit.relevance.start import WINNER, start_each, start_relevance, start_signs
from audit.store.folder import RunFolder
from audit.store.results import RelevanceRow
from audit.store.serialise import plain
from audit.store.table_schemas import OUTPUTS_RELEVANCE_SCHEMA, RELEVANCE_SCHEMA

# The unit of resume, and the batch: four maps at once cost no more memory than a dozen predictions.
SHARD_RECORDS = 4
RELEVANCE_FILE = "relevance.parquet"
"""A row for each image that has a heatmap, in the order of the shards."""
# Above this many outputs only the map of the start is made: one for each would cost a backward pass each.
MAX_OUTPUTS = 20


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Results of measuring relevance other than `relevance.parquet`."""

    records: tuple[Record, ...]
    """The images that were attributed, in the order of the heatmaps."""
    heatmaps: tuple[Path, ...]
    """Shards of their maps."""
    method: str
    """How the maps were made."""
    note: str
    """Why that is not LRP; empty if it is, or if another method was asked for."""
    logit_gap: float | None
    """How far the attributed form's logits lie from the network's own, relative to the largest; None where it is itself."""


def measure_relevance(
    experiment: Experiment,
    disclosure: Disclosure,
    options: PlannedRelevance,
    *,
    on_image: Callable[[], None],
) -> Measured:
    """Write `relevance.parquet`, one row for each of at most `max_images` clean images, and their heatmaps.

    Which images are taken is drawn once from the run's seed. An image with text is attributed twice: as it is, and with
    its text inpainted.

    Parameters
    ----------
    experiment : Experiment
        The network and the images.
    disclosure : Disclosure
        Inside what is covered the kept maps hold their mean; rows are measured on the maps as they are.
    options : PlannedRelevance
        Preset, start (see `audit.relevance.start`; the maps of all outputs are kept whatever it is), and the number of relocations
        of each image's regions that make the null distribution.

    Raises
    ------
    RelevanceError
        If the network's maps cannot be right.
    """
    run, bundle = experiment.run, experiment.bundle
    chosen = attributed_records(experiment.records, options.max_images, experiment.seed)
    attributor = ImageAttributor(bundle, options.preset, experiment.batch)
    parts, heatmaps = [], []
    schema = OUTPUTS_RELEVANCE_SCHEMA if experiment.cuts else RELEVANCE_SCHEMA
    for number, first in enumerate(range(0, len(chosen), SHARD_RECORDS)):
        shard = chosen[first : first + SHARD_RECORDS]
        part, maps = f"relevance/part-{number:05d}.parquet", maps_path(run.path, number)
        # The first even on a resumed run, so that the method and its note are known.
        if not run.has(part) or number == 0:
            rows = attribute_shard(attributor, experiment, disclosure, options, shard, maps)
            run.write_rows(part, [plain(row) for row in rows], schema)
        parts.append(part)
        heatmaps.append(maps)
        for _ in shard:
            on_image()
    rows_of_parts = (RelevanceRow(**row) for part in parts for row in run.read_rows(part, schema.names))
    placed = with_same_place(rows_of_parts, heatmaps, len(chosen))
    run.write_rows(RELEVANCE_FILE, [plain(row) for row in placed], schema)
    return Measured(
        records=tuple(chosen),
        heatmaps=tuple(heatmaps),
        method=attributor.method,
        note=attributor.note,
        logit_gap=attributor.logit_gap,
    )


def maps_path(run: Path, number: int) -> Path:
    """Return the file of a shard's heatmaps."""
    return run / f"relevance/maps-{number:05d}.safetensors"


def attribute_shard(
    attributor: ImageAttributor,
    experiment: Experiment,
    disclosure: Disclosure,
    options: PlannedRelevance,
    shard: Sequence[Record],
    maps: Path,
) -> list[RelevanceRow]:
    """Attribute the images of one shard together and write their maps; return their rows, which no other shard has a part in."""
    classes, regions = experiment.bundle.classes, disclosure.text
    images = [read_record(record) for record in shard]
    made = _attribute(attributor, classes, images, [regions[record.id] for record in shard], options.start)
    write_heatmaps(maps, _kept(made, [disclosure.covered[record.id] for record in shard]), made.signs, made.bare)
    return [
        _row(made, i, attributor.preset, classes, options, record, regions[record.id], experiment.seed)
        for i, record in enumerate(shard)
    ]


def kept_maps(run: RunFolder, wanted: Collection[str]) -> dict[str, NDArray[np.float32]]:
    """Return the maps (h, w) of the run's start that `measure_relevance` has kept of some images, by the names of these.

    Parameters
    ----------
    run : RunFolder
        A run, perhaps without relevance: then there are none.
    wanted : collection of str
        Names of the images whose maps are read.
    """
    if not run.has(RELEVANCE_FILE):
        return {}
    names = [str(row["record_id"]) for row in run.read_rows(RELEVANCE_FILE, ["record_id"])]
    found = {}
    for number, first in enumerate(range(0, len(names), SHARD_RECORDS)):
        shard = names[first : first + SHARD_RECORDS]
        if not set(wanted).isdisjoint(shard):
            kept = zip(shard, read_heatmaps([maps_path(run.path, number)]), strict=True)
            found.update({name: maps.chosen for name, maps in kept if name in wanted})
    return found


def attributed_records(records: Sequence[Record], max_images: int, seed: int) -> list[Record]:
    """Draw the records to attribute, and keep them in the run's order."""
    if len(records) <= max_images:
        return list(records)
    drawn = generator_for(seed, "relevance").permutation(len(records))[:max_images]
    return [records[i] for i in sorted(drawn.tolist())]


@dataclass(frozen=True, kw_only=True)
class _Maps:
    """Everything that was computed of a shard of n images."""

    found: Relevance
    signs: NDArray[np.float32]
    """(n, k) how the map of the start is put together from those of the outputs."""
    bare: NDArray[np.float32]
    """(n, h, w) the map of the start after the text was inpainted."""
    bare_start: NDArray[np.float64]
    """(n,) what the output that was explained is then."""
    sizes: Sequence[tuple[int, ...]]
    """(h, w) of the stored images."""


def _attribute(
    attributor: ImageAttributor,
    classes: Sequence[str],
    images: Sequence[NDArray[np.uint8]],
    regions: Sequence[tuple[TextRegion, ...]],
    start: str,
) -> _Maps:
    def of_start(logits: torch.Tensor) -> torch.Tensor:
        return start_relevance(logits, classes, start)

    every = len(classes) <= MAX_OUTPUTS
    found = attributor.attribute(images, start_each if every else of_start)
    signs = start_signs(torch.from_numpy(found.logits), classes, start).numpy()
    weights = signs.astype(np.float32) if every else np.ones((len(images), 1), dtype=np.float32)
    bare = np.einsum("nk,nkhw->nhw", weights, found.maps)
    bare_start = (signs * found.logits).sum(axis=1)
    with_text = [i for i, found_here in enumerate(regions) if found_here]
    if with_text:
        painted = [_without_text(images[i], regions[i]) for i in with_text]
        again = attributor.attribute(painted, of_start)
        bare[with_text] = again.maps[:, 0]
        bare_start[with_text] = (signs[with_text] * again.logits).sum(axis=1)
    return _Maps(
        found=found, signs=weights, bare=bare, bare_start=bare_start, sizes=[image.shape[:2] for image in images]
    )


def _kept(made: _Maps, covered: Sequence[tuple[TextRegion, ...]]) -> NDArray[np.float32]:
    """Return the maps as they are kept: letters that may not be shown could be read in them."""
    every = zip(made.found.maps, covered, made.sizes, strict=True)
    return np.stack([flatten_relevance(maps, map_boxes(hidden, size, maps.shape[-2:])) for maps, hidden, size in every])


def _without_text(image: NDArray[np.uint8], regions: tuple[TextRegion, ...]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    boxes = text_boxes(regions, (height, width))
    return TextMask(fill="inpaint").apply(image, MaskDraw(boxes=boxes, text=boxes))


def _row(
    made: _Maps,
    i: int,
    preset: str,
    classes: Sequence[str],
    options: PlannedRelevance,
    record: Record,
    regions: tuple[TextRegion, ...],
    seed: int,
) -> RelevanceRow:
    signs, outputs = made.signs[i], np.asarray(made.found.maps[i], dtype=np.float64)
    relevance = np.tensordot(signs, outputs, axes=1)
    begun = float(signs @ made.found.start[i])
    per_start = (1.0 / begun) if begun else 0.0
    boxes = map_boxes(regions, made.sizes[i], relevance.shape)
    rng = generator_for(seed, record.id, "relevance placebo")
    summary = summarise_relevance(relevance, boxes, rng, options.n_placebo)
    kept = {account: float(signs @ values[i]) * per_start for account, values in made.found.kept.items()}
    gap = float(made.found.gap[i].max())
    return RelevanceRow(
        record_id=record.name,
        target_class=classes[int(made.found.logits[i].argmax())] if options.start == WINNER else options.start,
        preset=preset,
        start=begun,
        mass_in_text=summary.mass_in_text,
        signed_share=None if summary.mass_in_text is None else summary.signed * per_start,
        area_share=summary.area_share,
        enrichment=summary.enrichment,
        rank_accuracy=summary.rank_accuracy,
        placebo_low=summary.placebo_low,
        placebo_median=summary.placebo_median,
        placebo_high=summary.placebo_high,
        placebo_mean=summary.placebo_mean,
        relocation_p=summary.relocation_p,
        same_place_p=None,
        placebo_p=summary.relocation_p,
        mass_gone=mass_inside(made.bare[i], boxes) if boxes else None,
        fall_when_gone=begun - float(made.bare_start[i]) if boxes else None,
        map_boxes=boxes,
        region_masses=summary.box_masses,
        region_areas=summary.box_areas,
        at_pixels=float(relevance.sum()) * per_start,
        kept_bias=kept.get("bias", 0.0),
        kept_shift=kept.get("shift", 0.0),
        kept_stabiliser=kept.get("stabiliser", 0.0),
        class_cosine=_class_cosine(outputs),
        conservation_gap=gap if np.isfinite(gap) else None,
        # Above `MAX_OUTPUTS` there is one map alone, that of the start.
        output_masses=tuple(mass_inside(output, boxes) for output in outputs)
        if boxes and len(outputs) == len(classes)
        else (),
    )


def _class_cosine(outputs: NDArray[np.float64]) -> float | None:
    """Return the mean over pairs of outputs of |cosine| between their maps (k, h, w)."""
    flat = outputs.reshape(len(outputs), -1)
    norms = np.linalg.norm(flat, axis=1)
    alive = [i for i in range(len(flat)) if norms[i] > 0]
    cosines = [abs(float(flat[i] @ flat[j])) / (norms[i] * norms[j]) for i, j in combinations(alive, 2)]
    return float(np.mean(cosines)) if cosines else None
