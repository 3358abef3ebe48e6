"""Clean images become relevance rows: where the network looks, and how much of that is text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from audit.images import read_gray
from audit.models.bundle import Bundle
from audit.randomness import generator_for
from audit.records import Record, TextRegion
from audit.relevance.lrp import Attributor
from audit.relevance.regions import map_boxes, summarise_relevance
from audit.results import RelevanceRow, plain
from audit.store import RELEVANCE_SCHEMA, RunFolder

# The unit of resume, and the batch: four maps at once cost no more memory than a dozen predictions.
SHARD_RECORDS = 4


def measure_relevance(
    run: RunFolder,
    bundle: Bundle,
    records: Sequence[Record],
    regions: Mapping[str, tuple[TextRegion, ...]],
    *,
    preset: str,
    max_images: int,
    n_placebo: int,
    seed: int,
    on_image: Callable[[], None],
) -> None:
    """Write `relevance.parquet`: one row for each of at most `max_images` clean images.

    Relevance starts at the winning output, as in the paper. Which images are taken is drawn once from
    the run's seed.

    Parameters
    ----------
    preset : str
        Name of the LRP preset.
    n_placebo : int
        Relocations of each image's regions that make the null distribution.

    Raises
    ------
    RelevanceError
        If the network's architecture cannot be attributed.
    """
    chosen = _sample(records, max_images, seed)
    parts = []
    with Attributor(bundle.network, preset) as attributor:
        for number, start in enumerate(range(0, len(chosen), SHARD_RECORDS)):
            shard = chosen[start : start + SHARD_RECORDS]
            name = f"relevance/part-{number:05d}.parquet"
            parts.append(name)
            if not run.has(name):
                run.write_rows(
                    name,
                    [plain(row) for row in _rows(attributor, bundle, shard, regions, n_placebo, seed)],
                    RELEVANCE_SCHEMA,
                )
            for _ in shard:
                on_image()
    run.merge(parts, "relevance.parquet", RELEVANCE_SCHEMA)


def _sample(records: Sequence[Record], max_images: int, seed: int) -> list[Record]:
    """Draw the records to attribute, and keep them in the run's order."""
    if len(records) <= max_images:
        return list(records)
    drawn = generator_for(seed, "relevance").permutation(len(records))[:max_images]
    return [records[i] for i in sorted(drawn.tolist())]


def _rows(
    attributor: Attributor,
    bundle: Bundle,
    shard: Sequence[Record],
    regions: Mapping[str, tuple[TextRegion, ...]],
    n_placebo: int,
    seed: int,
) -> list[RelevanceRow]:
    images = [read_gray(record.path) for record in shard]
    found = attributor.attribute(torch.stack([bundle.preprocessing.prepare(image) for image in images]))
    rows = []
    for i, (record, image) in enumerate(zip(shard, images, strict=True)):
        relevance = np.asarray(found.maps[i], dtype=np.float64)
        boxes = map_boxes(regions[record.id], image.shape, relevance.shape)
        rng = generator_for(seed, record.id, "relevance placebo")
        summary = summarise_relevance(relevance, boxes, rng, n_placebo)
        rows.append(
            RelevanceRow(
                record_id=record.id,
                target_class=bundle.classes[int(found.targets[i])],
                preset=attributor.preset,
                mass_in_text=summary.mass_in_text,
                signed_share=summary.signed_share,
                area_share=summary.area_share,
                enrichment=summary.enrichment,
                placebo_low=summary.placebo_low,
                placebo_median=summary.placebo_median,
                placebo_high=summary.placebo_high,
                placebo_p=summary.placebo_p,
                conservation_gap=float(found.gap[i]),
            )
        )
    return rows
