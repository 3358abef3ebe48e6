"""Conditions become predictions: shards that are missing are predicted, by this process or by several."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from audit.data.conditions import Suite
from audit.data.records import Record
from audit.models.bundle import Bundle
from audit.prediction.processes import PredictionJob, predict_side_by_side
from audit.prediction.shards import SHARD_RECORDS, part_name, predict_shard, shard_of
from audit.prediction.variants import CohortContext, make_perturbations
from audit.store.folder import RunFolder


def predict_all(
    run: RunFolder,
    bundle: Bundle,
    suite: Suite,
    records: Sequence[Record],
    context: CohortContext,
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
    context : CohortContext
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
        for _ in shard_of(records, number):
            on_image()
    if workers > 1:
        job = PredictionJob(
            run=run.path, bundle=bundle.folder, suite=suite, records=records, regions=context.regions, seed=seed
        )
        predict_side_by_side(job, missing, workers, on_image)
    else:
        perturbations = make_perturbations(suite)
        for number in missing:
            predict_shard(number, run, bundle, suite, perturbations, records, context, seed, on_image)
    return [part_name(number) for number in numbers]
