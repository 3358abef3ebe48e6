"""Heatmaps and relevance of clean images: where the network looks, and how much of that is text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.data.plan import PlannedRelevance
from audit.data.records import Record
from audit.files import write_atomically
from audit.prediction.covering import Disclosure
from audit.prediction.experiment import Experiment
from audit.prediction.tasks import each_task
from audit.randomness import generator_for
from audit.relevance.heatmaps import read_heatmaps
from audit.relevance.same_place import with_same_place
from audit.relevance.shard_maps import Attributed, ShardMaps, attribute_shard, shown_text
from audit.store.folder import RunFolder
from audit.store.results import RelevanceRow
from audit.store.serialise import plain
from audit.store.table_schemas import OUTPUTS_RELEVANCE_SCHEMA, RELEVANCE_SCHEMA

# The unit of resume, and the batch: four maps at once cost no more memory than a dozen predictions.
SHARD_RECORDS = 4
RELEVANCE_FILE = "relevance.parquet"
"""A row for each image that has a heatmap, in the order of the shards."""


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
    workers: int = 1,
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
    on_image : callable
        Called once for every image that is done.
    workers : int
        Processes; their number changes no byte.

    Raises
    ------
    RelevanceError
        If the network's maps cannot be right.
    """
    run = experiment.run
    chosen = attributed_records(experiment.records, options.max_images, experiment.seed)
    shards = [tuple(chosen[first : first + SHARD_RECORDS]) for first in range(0, len(chosen), SHARD_RECORDS)]
    parts = [f"relevance/part-{number:05d}.parquet" for number in range(len(shards))]
    heatmaps = [maps_path(run.path, number) for number in range(len(shards))]
    schema = OUTPUTS_RELEVANCE_SCHEMA if experiment.cuts else RELEVANCE_SCHEMA
    # The first even on a resumed run, so that the method and its note are known.
    missing = [number for number, part in enumerate(parts) if number == 0 or not run.has(part)]
    for number in set(range(len(shards))).difference(missing):
        for _ in shards[number]:
            on_image()
    attributed = Attributed(options=options, shown=shown_text(chosen, disclosure), first=chosen[0])
    of_first: ShardMaps | None = None
    asked = [shards[number] for number in missing]
    for place, made in each_task(experiment, attribute_shard, attributed, asked, workers=workers):
        number = missing[place]
        write_atomically(heatmaps[number], made.maps)
        run.write_rows(parts[number], [plain(row) for row in made.rows], schema)
        of_first = made if number == 0 else of_first
        for _ in shards[number]:
            on_image()
    assert of_first is not None
    rows_of_parts = (RelevanceRow(**row) for part in parts for row in run.read_rows(part, schema.names))
    placed = with_same_place(rows_of_parts, heatmaps, len(chosen))
    run.write_rows(RELEVANCE_FILE, [plain(row) for row in placed], schema)
    return Measured(
        records=tuple(chosen),
        heatmaps=tuple(heatmaps),
        method=of_first.method,
        note=of_first.note,
        logit_gap=of_first.logit_gap,
    )


def maps_path(run: Path, number: int) -> Path:
    """Return the file of a shard's heatmaps."""
    return run / f"relevance/maps-{number:05d}.safetensors"


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
