"""Predictions under all conditions, or the images of a product: missing shards are made, by this process or by others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from audit.prediction.emission import emit_shard
from audit.prediction.engines import SERIAL, Engine
from audit.prediction.experiment import Experiment
from audit.prediction.processes import PredictionJob, emit_side_by_side, predict_side_by_side
from audit.prediction.shards import SHARD_RECORDS, part_name, predict_shard, shard_of
from audit.prediction.variants import make_perturbations
from audit.store.emission import EmissionFolder, EmittedForm


def predict_all(
    experiment: Experiment,
    on_image: Callable[[], None],
    *,
    engine: Engine = SERIAL,
    own: Callable[[Sequence[int]], Collection[int]] | None = None,
) -> list[str]:
    """Write `predictions/part-*.parquet`, one a shard; shards that are there are kept.

    Parameters
    ----------
    experiment : Experiment
        What to predict, and where to write it.
    on_image : callable
        Called once for every image that is done.
    engine : Engine
        What predicts; it changes no byte.
    own : callable, optional
        Chooses, from the numbers of all shards, those that are this job's; the others are left to other jobs.

    Returns
    -------
    list of str
        Names of all parts, inside the run folder.
    """
    numbers = range(n_parts(len(experiment.records)))
    missing = []
    for number in numbers if own is None else own(numbers):
        if not experiment.run.has(part_name(number)):
            missing.append(number)
            continue
        for _ in shard_of(experiment.records, number):
            on_image()
    if not engine.is_alone:
        job = PredictionJob.of(experiment, carried=engine.is_remote)
        predict_side_by_side(job, missing, engine, on_image)
    else:
        perturbations = make_perturbations(experiment.suite)
        for number in missing:
            predict_shard(number, experiment, perturbations, on_image)
    return [part_name(number) for number in numbers]


def emit_all(
    experiment: Experiment, form: EmittedForm, on_image: Callable[[], None], *, engine: Engine = SERIAL
) -> bool:
    """Write every variant of every image, and which file belongs to which; parts that are there are kept.

    Parameters
    ----------
    experiment : Experiment
        The conditions and the images; the folder of its run is that of the emission.
    form : {"png", "dicom"}
        What images are written as.
    on_image : callable
        Called once for every audited image that is done.
    engine : Engine
        What writes; it changes no byte.

    Returns
    -------
    bool
        Whether anything was left to write.
    """
    folder = EmissionFolder(experiment.run.path)
    missing = []
    for number in range(n_parts(len(experiment.records))):
        if not _is_done(folder, number):
            missing.append(number)
            continue
        for _ in shard_of(experiment.records, number):
            on_image()
    if not engine.is_alone:
        emit_side_by_side(PredictionJob.of(experiment), form, missing, engine, on_image)
    else:
        perturbations = make_perturbations(experiment.suite)
        for number in missing:
            emit_shard(number, experiment, perturbations, form, on_image)
    return bool(missing)


def n_parts(n_records: int) -> int:
    """Return how many shards audited images are divided into."""
    return -(-n_records // SHARD_RECORDS)


def n_own_images(n_records: int, own: Callable[[Sequence[int]], Collection[int]]) -> int:
    """Return how many audited images a job predicts, which chooses its shards by `own`."""
    return sum(len(shard_of(range(n_records), number)) for number in own(range(n_parts(n_records))))


def _is_done(folder: EmissionFolder, number: int) -> bool:
    """Say whether a part was written, and all its images are there: changed ones are deleted to be written again."""
    if not folder.has_part(number):
        return False
    return all(folder.image(image.file).is_file() for record in folder.part(number).records for image in record)
