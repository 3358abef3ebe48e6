"""Tasks of a stage that looks at images with the network: by this process or by several, each of which opens the network once.

A task is a function of a module, (experiment, shared, item) -> result. It writes nothing: the first process does. It uses one core
wherever it runs, so that neither the number of processes nor that of cores changes a digit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from audit.errors import AuditError
from audit.prediction.concurrency import one_core
from audit.prediction.experiment import Experiment
from audit.prediction.pool import STATE, results_side_by_side
from audit.prediction.processes import PredictionJob, start_prediction

S = TypeVar("S")
I = TypeVar("I")  # noqa: E741  # an item
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """What every process that takes part is sent once."""

    prediction: PredictionJob
    task: Callable[[Experiment, Any, Any], Any]
    shared: Any
    items: Sequence[Any]


@dataclass(frozen=True, kw_only=True)
class _Failed:
    """What a task raised: the class and the text, for not every exception survives the way between processes."""

    kind: type[AuditError]
    text: str

    def again(self) -> AuditError:
        """Return the same error."""
        error = self.kind.__new__(self.kind)
        error.args = (self.text,)
        return error


def each_task(
    experiment: Experiment,
    task: Callable[[Experiment, S, I], R],
    shared: S,
    items: Sequence[I],
    *,
    workers: int,
) -> Iterator[tuple[int, R]]:
    """Call a task with every item; yield the place of the item and the result of each as it is done.

    Parameters
    ----------
    experiment : Experiment
        What every process opens.
    task : callable
        A function of a module.
    shared : object
        Sent to every process once; what a task keeps in it serves the items after it in the same process.
    items : sequence
        One for each call.
    workers : int
        Processes; with one, this one does it.

    Raises
    ------
    AuditError
        What a task raised; or if a process died.
    """
    if workers <= 1 or len(items) <= 1:
        for place, item in enumerate(items):
            with one_core():
                result = task(experiment, shared, item)
            yield place, result
        return
    # Features and layers are those of the network on the CPU, wherever its predictions come from.
    stage = _Stage(
        prediction=replace(PredictionJob.of(experiment), device="cpu"), task=task, shared=shared, items=items
    )
    for place, found in results_side_by_side(_start, stage, _call, range(len(items)), workers):
        if isinstance(found, _Failed):
            raise found.again()
        yield place, found


def all_tasks(
    experiment: Experiment,
    task: Callable[[Experiment, S, I], R],
    shared: S,
    items: Sequence[I],
    *,
    workers: int,
    on_item: Callable[[], None],
) -> list[R]:
    """Return the results of `each_task` in the order of the items.

    Parameters
    ----------
    on_item : callable
        Called once for every item that is done; the rest as for `each_task`.
    """
    found: dict[int, R] = {}
    for place, result in each_task(experiment, task, shared, items, workers=workers):
        found[place] = result
        on_item()
    return [found[place] for place in range(len(items))]


def _start(stage: _Stage) -> None:
    start_prediction(stage.prediction)
    STATE["stage"] = stage


def _call(place: int) -> Any:
    if "failed" in STATE:
        return _Failed(kind=AuditError, text=str(STATE["failed"]))
    stage: _Stage = STATE["stage"]
    try:
        with one_core():
            return stage.task(STATE["prediction"]["experiment"], stage.shared, stage.items[place])
    except AuditError as error:
        return _Failed(kind=type(error), text=str(error))
