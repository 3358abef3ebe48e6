"""Engines: what does the work of a stage. The work is defined once (`audit.prediction.processes`), and has the same bytes by each."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from audit.prediction.pool import results_side_by_side


class Engine(Protocol):
    """Does tasks in other processes, whose results the first process writes down."""

    @property
    def is_alone(self) -> bool:
        """Whether this process does the work itself, without any other."""

    @property
    def is_remote(self) -> bool:
        """Whether its processes may lack the files of this machine, and are sent the model."""

    def results(
        self,
        start: Callable[[Any], None],
        job: object,
        task: Callable[[int], Any],
        numbers: Sequence[int],
        *,
        on_gpu: bool = False,
    ) -> Generator[tuple[int, Any], None, None]:
        """Yield (number, result) of every task as it is done.

        Parameters
        ----------
        start : callable
            A function of a module, called once in every process with the job; it puts into `audit.prediction.pool.STATE` what
            tasks need.
        job : object
            Sent to every process once.
        task : callable
            A function of a module, number -> result.
        numbers : sequence of int
            The tasks.
        on_gpu : bool
            Whether every process needs a GPU of its own.

        Raises
        ------
        AuditError
            If a task cannot be done.
        """


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Processes of this machine."""

    n: int
    """How many; with 1, this process does the work itself."""
    is_remote: bool = False
    """They read the files of this machine."""

    @property
    def is_alone(self) -> bool:
        """Whether this process does the work itself."""
        return self.n == 1

    def results(
        self,
        start: Callable[[Any], None],
        job: object,
        task: Callable[[int], Any],
        numbers: Sequence[int],
        *,
        on_gpu: bool = False,
    ) -> Generator[tuple[int, Any], None, None]:
        """Yield (number, result) of every task as it is done; see `Engine.results`."""
        yield from results_side_by_side(start, job, task, numbers, self.n)


SERIAL = Processes(n=1)
"""This process alone."""
