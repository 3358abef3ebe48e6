"""Predictions by several processes, on one machine or on many: they hold the same bytes as by one.

Whatever does it (`audit.prediction.engines`), rows come back to the first process, which alone writes: a shard's predictions into a file of
its own, whole, once it has the rows of all its images, so that a few images too keep every process busy. What a kill leaves is what one
process would have left.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from audit.data.conditions import Suite
from audit.data.records import Record, TextRegion
from audit.errors import AuditError, ModelError
from audit.perturbations.measures import CohortMeasures
from audit.perturbations.suspects import Suspects
from audit.prediction.engines import Engine
from audit.prediction.experiment import Experiment
from audit.prediction.pool import STATE
from audit.store.emission import EmittedForm

if TYPE_CHECKING:  # torch takes seconds to import, and the first process may need no network
    from audit.models.bundle import Bundle
    from audit.models.carrying import CarriedModel
    from audit.models.requests import ModelRequest

_T = TypeVar("_T")
_PREDICTED_A_TASK = 2
"""Images that are predicted at a time: a divisor of a shard's, small enough that no process waits long for the last one."""


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
    device: str = "cpu"
    """Kind of the device that computes predictions."""
    digest: str = ""
    """SHA-256 of the model."""
    carried: CarriedModel | None = None
    """The model's own files, for processes that may not have them."""

    @classmethod
    def of(cls, experiment: Experiment, *, carried: bool = False) -> PredictionJob:
        """Return what another process needs to do its part of an experiment; with the model's files if it may not have them."""
        from audit.models.backends import export_of
        from audit.models.carrying import pack_model
        from audit.models.devices import device_of

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
            device=device_of(experiment.bundle).type,
            digest=experiment.bundle.digest,
            carried=pack_model(experiment.bundle.request) if carried else None,
        )


def predict_side_by_side(
    job: PredictionJob, numbers: Sequence[int], engine: Engine, on_image: Callable[[], None]
) -> None:
    """Write the shards of these numbers.

    Parameters
    ----------
    job : PredictionJob
        What is predicted.
    numbers : sequence of int
        Shards that are not there yet.
    engine : Engine
        What does it.
    on_image : callable
        Called once for every image that is done.

    Raises
    ------
    AuditError
        If an image or condition cannot be predicted, or a process died; finished shards stay.
    """
    from audit.prediction.shards import SHARD_RECORDS, write_shard
    from audit.store.folder import RunFolder

    size = _images_a_task(job)
    starts = [
        start
        for number in numbers
        for start in range(number * SHARD_RECORDS, (number + 1) * SHARD_RECORDS, size)
        if start < len(job.records)
    ]
    n_pieces = Counter(start // SHARD_RECORDS for start in starts)
    run, done = RunFolder(job.run), {number: dict[int, list[dict[str, Any]]]() for number in numbers}
    with closing(engine.results(start_prediction, job, _predict, starts, on_gpu=job.device != "cpu")) as results:
        for start, found in results:
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
    job: PredictionJob, form: EmittedForm, numbers: Sequence[int], engine: Engine, on_image: Callable[[], None]
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
    engine : Engine
        Processes of this machine: they write into the folder themselves.
    on_image : callable
        Called once for every audited image that is done.

    Raises
    ------
    AuditError
        If an image or condition cannot be written, or a process died; finished shards stay.
    """
    _spread(_start_emission, (job, form), _emit, numbers, engine, on_image)


def _spread(
    start: Callable[[Any], None],
    job: object,
    task: Callable[[int], int | str],
    numbers: Sequence[int],
    engine: Engine,
    on_image: Callable[[], None],
) -> None:
    with closing(engine.results(start, job, task, numbers)) as results:
        for _, found in results:
            if isinstance(found, str):
                raise AuditError(found)
            for _ in range(found):
                on_image()


def _images_a_task(job: PredictionJob) -> int:
    """Return how many images are predicted at a time, a divisor of a shard's.

    Batches of another device than the CPU hold several images, and the size of a batch moves the last digits: there a shard is not divided.
    """
    from audit.prediction.shards import SHARD_RECORDS

    return _PREDICTED_A_TASK if job.device == "cpu" else SHARD_RECORDS


def start_prediction(job: PredictionJob) -> None:
    """Open the network in this process, and collect what edits use besides an image, for the tasks that follow."""
    from audit.models.backends import answered_by_export
    from audit.models.devices import on_device
    from audit.models.opening import open_model
    from audit.prediction.variants import cohort_context, make_perturbations
    from audit.store.folder import RunFolder

    bundle = open_model(job.model) if job.carried is None else _opened_elsewhere(job.carried, job.digest)
    if job.device != "cpu":
        bundle = on_device(bundle, job.device)
    STATE["size"] = _images_a_task(job)
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


def _opened_elsewhere(carried: CarriedModel, digest: str) -> Bundle:
    """Open a model whose files were sent along."""
    from audit.models.carrying import unpack_model
    from audit.models.opening import open_model

    folder = Path(tempfile.mkdtemp(prefix="audit-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    bundle = open_model(unpack_model(carried, folder))
    if bundle.digest != digest:
        raise ModelError(
            f"The model opens as another one there (SHA-256 {bundle.digest[:12]} instead of {digest[:12]}): a function or package that "
            "it names differs between the machines. Install the same code on all of them."
        )
    return bundle


def _predict(start: int) -> tuple[int, list[dict[str, Any]]] | str:
    from audit.prediction.shards import predicted_rows

    def work() -> tuple[int, list[dict[str, Any]]]:
        chosen = STATE["prediction"]["experiment"].records[start : start + STATE["size"]]
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
