"""Predictions under all conditions: missing shards are predicted, by this process or by several."""

from __future__ import annotations

from collections.abc import Callable

from audit.prediction.experiment import Experiment
from audit.prediction.processes import PredictionJob, predict_side_by_side
from audit.prediction.shards import SHARD_RECORDS, part_name, predict_shard, shard_of
from audit.prediction.variants import make_perturbations


def predict_all(experiment: Experiment, on_image: Callable[[], None], *, workers: int = 1) -> list[str]:
    """Write `predictions/part-*.parquet`, one a shard; shards that are there are kept.

    Parameters
    ----------
    experiment : Experiment
        What to predict, and where to write it.
    on_image : callable
        Called once for every image that is done.
    workers : int
        Processes; their number changes no byte.

    Returns
    -------
    list of str
        Names of the parts, inside the run folder.
    """
    numbers = range(-(-len(experiment.records) // SHARD_RECORDS))
    missing = []
    for number in numbers:
        if not experiment.run.has(part_name(number)):
            missing.append(number)
            continue
        for _ in shard_of(experiment.records, number):
            on_image()
    if workers > 1:
        job = PredictionJob(
            run=experiment.run.path,
            model=experiment.bundle.request,
            suite=experiment.suite,
            records=experiment.records,
            regions=experiment.context.regions,
            seed=experiment.seed,
            suspects=experiment.context.suspects,
            cuts=experiment.cuts,
        )
        predict_side_by_side(job, missing, workers, on_image)
    else:
        perturbations = make_perturbations(experiment.suite)
        for number in missing:
            predict_shard(number, experiment, perturbations, on_image)
    return [part_name(number) for number in numbers]
