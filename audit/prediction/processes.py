"""Several processes on one machine: text and predictions are computed side by side, and hold the same bytes as by one.

An image's regions lie in the text cache, a shard's predictions in a file of its own, written whole: by the first process, once
it has the rows of all its images, so that a few images too keep every process busy. What a kill leaves is what one process would
have left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from audit.data.conditions import Suite
from audit.data.records import Record, TextRegion
from audit.errors import AuditError
from audit.perturbations.measures import CohortMeasures
from audit.perturbations.suspects import Suspects
from audit.prediction.pool import STATE, results_side_by_side
from audit.store.emission import EmittedForm

if TYPE_CHECKING:  # torch takes seconds to import, and the first process may need no network
    from audit.models.requests import ModelRequest
from audit.prediction.experiment import Experiment

_T = TypeVar("_T")
_IMAGES_A_TASK = 4
_PREDICTED_A_TASK = 2
"""Images that are predicted at a time: a divisor of a shard's, small enough that no process waits long for the last one."""


@dataclass(frozen=True, kw_only=True)
class TextJob:
    """Images whose text is looked for."""

    records: Sequence[Record]
    """Of the whole cohort."""
    finder: str
    """Name of the finder."""
    boxes: str
    """File of hand-made boxes; empty where there is none."""
    cache: str
    """Folder of the text cache."""


@dataclass(frozen=True, kw_only=True)
class PredictionJob:
    """Shards that are predicted."""

    run: Path
    """Run folder."""
    model: ModelRequest
    """How the classifier is opened."""
    suite: Suite
    """Conditions."""
    records: Sequence[Record]
    """Of the whole cohort: donors and the mean image are drawn from all."""
    regions: Mapping[str, tuple[TextRegion, ...]]
    """Record id -> its text."""
    seed: int
    """Run seed."""
    suspects: Suspects | None = None
    """Objects that the run's search proposed."""
    cuts: tuple[float, ...] = ()
    """See `Experiment`."""
    batch: int
    """See `Experiment`."""
    exported: bytes | None = None
    """The network's export, if that computes its predictions: the same bytes in every process."""
    measured: CohortMeasures | None = None
    """What edits use of the whole cohort; None where each process measures it when it is first asked for."""

    @classmethod
    def of(cls, experiment: Experiment) -> PredictionJob:
        """Return what another process needs to do its part of an experiment."""
        from audit.models.backends import export_of

        return cls(
            run=experiment.run.path,
            model=experiment.bundle.request,
            suite=experiment.suite,
            records=experiment.records,
            regions=experiment.context.regions,
            seed=experiment.seed,
            suspects=experiment.context.suspects,
            cuts=experiment.cuts,
            batch=experiment.batch,
            exported=export_of(experiment.bundle),
            measured=experiment.context.measured,
        )


def find_text_side_by_side(job: TextJob, workers: int, on_image: Callable[[], None]) -> None:
    """Fill the text cache with what `find_regions` will ask for; what fails is left for it to meet again.

    Parameters
    ----------
    job : TextJob
        The images.
    workers : int
        Processes.
    on_image : callable
        Called once for every image that is done.

    Raises
    ------
    AuditError
        If a process died.
    """
    starts = range(0, len(job.records), _IMAGES_A_TASK)
    _spread(_start_text, job, _find_text, starts, workers, on_image)


def predict_side_by_side(
    job: PredictionJob, numbers: Sequence[int], workers: int, on_image: Callable[[], None]
) -> None:
    """Write the shards of these numbers.

    Parameters
    ----------
    job : PredictionJob
        What is predicted.
    numbers : sequence of int
        Shards that are not there yet.
    workers : int
        Processes.
    on_image : callable
        Called once for every image that is done.

    Raises
    ------
    AuditError
        If an image or condition cannot be predicted, or a process died; finished shards stay.
    """
    from audit.prediction.shards import SHARD_RECORDS, write_shard
    from audit.store.folder import RunFolder

    pieces = range(0, SHARD_RECORDS, _PREDICTED_A_TASK)
    starts = [
        start
        for number in numbers
        for start in (number * SHARD_RECORDS + piece for piece in pieces)
        if start < len(job.records)
    ]
    n_pieces = Counter(start // SHARD_RECORDS for start in starts)
    run, done = RunFolder(job.run), {number: dict[int, list[dict[str, Any]]]() for number in numbers}
    for start, found in results_side_by_side(start_prediction, job, _predict, starts, workers):
        if isinstance(found, str):
            raise AuditError(found)
        n_images, rows = found
        number = start // SHARD_RECORDS
        done[number][start] = rows
        for _ in range(n_images):
            on_image()
        if len(done[number]) == n_pieces[number]:
            write_shard(number, [row for _, rows in sorted(done.pop(number).items()) for row in rows], run)


def emit_side_by_side(
    job: PredictionJob, form: EmittedForm, numbers: Sequence[int], workers: int, on_image: Callable[[], None]
) -> None:
    """Write the images of the shards of these numbers, as `predict_side_by_side` writes predictions.

    Parameters
    ----------
    job : PredictionJob
        What a loaded network would predict; its run folder is that of the emission.
    form : {"png", "dicom"}
        What images are written as.
    numbers : sequence of int
        Shards that are not there yet.
    workers : int
        Processes.
    on_image : callable
        Called once for every audited image that is done.

    Raises
    ------
    AuditError
        If an image or condition cannot be written, or a process died; finished shards stay.
    """
    _spread(_start_emission, (job, form), _emit, numbers, workers, on_image)


def _spread(
    start: Callable[[Any], None],
    job: object,
    task: Callable[[int], int | str],
    numbers: Sequence[int],
    workers: int,
    on_image: Callable[[], None],
) -> None:
    for _, found in results_side_by_side(start, job, task, numbers, workers):
        if isinstance(found, str):
            raise AuditError(found)
        for _ in range(found):
            on_image()


def _start_text(job: TextJob) -> None:
    from audit.text.cache import RegionCache
    from audit.text.finders import make_finder

    finder = make_finder(job.finder, Path(job.boxes) if job.boxes else None)
    STATE.update(records=job.records, cache=RegionCache(Path(job.cache), finder))


def _find_text(start: int) -> int:
    from audit.text.find import find_in

    if "failed" in STATE:  # `find_regions` will meet the same, and say it
        return 0
    chosen = STATE["records"][start : start + _IMAGES_A_TASK]
    for record in chosen:
        with suppress(AuditError):
            find_in(record.path, STATE["cache"], colour=record.colour)
    return len(chosen)


def start_prediction(job: PredictionJob) -> None:
    """Open the network in this process, and collect what edits use besides an image, for the tasks that follow."""
    from audit.models.backends import answered_by_export
    from audit.models.opening import open_model
    from audit.prediction.experiment import Experiment
    from audit.prediction.variants import cohort_context, make_perturbations
    from audit.store.folder import RunFolder

    bundle = open_model(job.model)
    STATE["prediction"] = {
        "experiment": Experiment(
            run=RunFolder(job.run),
            bundle=bundle if job.exported is None else answered_by_export(bundle, job.exported),
            suite=job.suite,
            records=job.records,
            context=cohort_context(job.records, job.regions, job.seed, job.suspects, job.measured),
            seed=job.seed,
            cuts=job.cuts,
            batch=job.batch,
        ),
        "perturbations": make_perturbations(job.suite),
    }


def _predict(start: int) -> tuple[int, list[dict[str, Any]]] | str:
    from audit.prediction.shards import predicted_rows

    def work() -> tuple[int, list[dict[str, Any]]]:
        chosen = STATE["prediction"]["experiment"].records[start : start + _PREDICTED_A_TASK]
        return len(chosen), predicted_rows(chosen, **STATE["prediction"])

    return _done(work)


def _start_emission(asked: tuple[PredictionJob, EmittedForm]) -> None:
    job, form = asked
    start_prediction(job)
    STATE["emission"] = {**STATE["prediction"], "form": form}


def _emit(number: int) -> int | str:
    from audit.prediction.emission import emit_shard

    return _done(lambda: emit_shard(number, **STATE["emission"]))


def _done(work: Callable[[], _T]) -> _T | str:
    if "failed" in STATE:
        return str(STATE["failed"])
    try:
        return work()
    except AuditError as error:  # as text: not every exception survives the way between processes
        return str(error)
