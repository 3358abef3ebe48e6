"""A pool of processes that ends with the one that started it, whatever ends that, and leaves nothing half done."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, connection, parent_process
from typing import Any

from audit.errors import AuditError
from audit.prediction.concurrency import process_context, take_one_core
from audit.prediction.interrupts import end_on_sigterm, signals_held

_GRACE_S = 5.0
"""How long a process may take to put away what it is writing."""
STATE: dict[str, Any] = {}
"""What a process of the pool was started with; this process's own is empty."""


def results_side_by_side(
    start: Callable[[Any], None], job: object, task: Callable[[int], Any], numbers: Sequence[int], workers: int
) -> Iterator[tuple[int, Any]]:
    """Yield (number, result) of every task as it is done."""
    if not numbers:
        return
    with _pool(min(workers, len(numbers)), start, job) as pool:
        try:
            with signals_held():
                asked = {pool.submit(task, number): number for number in numbers}
            for done in as_completed(asked):
                yield asked[done], done.result()
        except BrokenProcessPool as error:
            raise AuditError(
                f"One of {workers} processes died, possibly because memory ran out. The results so far are kept; repeat the command with "
                "fewer --workers."
            ) from error


@contextmanager
def _pool(workers: int, start: Callable[[Any], None], job: object) -> Iterator[ProcessPoolExecutor]:
    # Packed here: torch would send each tensor of a network as an open file, and a process takes a few hundred of these.
    packed = pickle.dumps((start, job))
    with signals_held():
        pool = ProcessPoolExecutor(workers, mp_context=process_context(), initializer=_start, initargs=(packed,))
    try:
        yield pool
    except BaseException:
        _end_all()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def _end_all() -> None:
    """End every process that was started, within seconds: the interpreter would wait for their tasks, which take minutes."""
    processes = active_children()
    for process in processes:
        process.terminate()
    deadline, living = time.monotonic() + _GRACE_S, [process.sentinel for process in processes]
    while living and time.monotonic() < deadline:
        ended = connection.wait(living, deadline - time.monotonic())
        living = [sentinel for sentinel in living if sentinel not in ended]
    for process in processes:
        if process.sentinel in living:
            process.kill()


def _start(packed: bytes) -> None:
    end_on_sigterm()
    # When the first process is killed, none must be left behind.
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    take_one_core()
    try:
        start, job = pickle.loads(packed)  # noqa: S301  # what this process's own parent packed
        start(job)
    except AuditError as error:  # a process that cannot start says why; one that raises here would only be called dead
        STATE["failed"] = str(error)


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def each_side_by_side(task: Callable[[Any, int], Any], job: object, n: int, workers: int) -> Iterator[tuple[int, Any]]:
    """Call a task with a job and every number below n in several processes; yield (number, result) of each as it is done.

    Parameters
    ----------
    task : callable
        A function of a module, (job, number) -> result.
    job : object
        Sent to every process once.
    n : int
        Calls.
    workers : int
        Processes; with one, this one does it.

    Raises
    ------
    AuditError
        If a process died, or what a task raised.
    """
    if workers <= 1 or n <= 1:
        yield from ((number, task(job, number)) for number in range(n))
    else:
        yield from results_side_by_side(_start_task, (task, job), _call_task, range(n), workers)


def map_side_by_side(task: Callable[[Any, int], Any], job: object, n: int, workers: int) -> list[Any]:
    """Return what `each_side_by_side` yields, in order."""
    found = dict(each_side_by_side(task, job, n, workers))
    return [found[number] for number in range(n)]


def _start_task(asked: tuple[Callable[[Any, int], Any], object]) -> None:
    STATE["task"] = asked


def _call_task(number: int) -> Any:
    task, job = STATE["task"]
    return task(job, number)
