"""Tasks and actors of a Ray cluster: each ready actor has two tasks, and what one that is lost was doing goes to others."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from audit.errors import AuditError, shown_string

_WAITING = 2
"""Tasks that an actor has: one that it does, and the next."""
_TRIES = 3
"""Actors that may be lost by the same task, or one after another at their start."""
_POLL_S = 1.0
_PATIENCE_S = 300.0
"""How long no actor may be ready: clusters that grow by themselves take minutes."""


def dispatched(
    ray: Any, make_actor: Callable[[], Any], n_actors: int, numbers: Sequence[int]
) -> Iterator[tuple[int, Any]]:
    """Yield (number, result) of every task as it is done.

    Parameters
    ----------
    ray : module
        Ray, connected.
    make_actor : callable
        Asks the cluster for an actor with the methods `ready`, which returns why it is not, and `do`, number -> result.
    n_actors : int
        How many are asked for.
    numbers : sequence of int
        The tasks.

    Raises
    ------
    AuditError
        If an actor cannot do its part, a task ends every actor that does it, or the cluster gives none.
    """
    work = _Dispatch(ray, make_actor, numbers)
    try:
        for _ in range(n_actors):
            work.ask_for_actor()
        yield from work.results()
    finally:
        work.end()


class _Dispatch:
    def __init__(self, ray: Any, make_actor: Callable[[], Any], numbers: Sequence[int]) -> None:
        self._ray, self._make_actor = ray, make_actor
        self._waiting = deque(numbers)
        self._starting: dict[Any, Any] = {}
        """Answer that an actor is ready -> actor."""
        self._running: dict[Any, tuple[int, Any]] = {}
        """Result -> task, and the actor that does it."""
        self._ready: list[Any] = []
        self._lost: Counter[int] = Counter()
        self._failed_starts = 0
        self._since = time.monotonic()

    def ask_for_actor(self) -> None:
        """Ask for one more actor; it gets tasks once it is ready, so that no task waits for one that the cluster has no place for."""
        actor = self._make_actor()
        self._starting[actor.ready.remote()] = actor

    def results(self) -> Iterator[tuple[int, Any]]:
        """Yield results until no task is left."""
        while self._waiting or self._running:
            done, _ = self._ray.wait([*self._running, *self._starting], num_returns=1, timeout=_POLL_S)
            if not done:
                self._check_patience()
            for answer in done:
                if answer in self._starting:
                    self._begin(answer)
                else:
                    yield from self._finish(answer)

    def end(self) -> None:
        """End every actor."""
        for actor in (*self._ready, *self._starting.values()):
            with suppress(Exception):  # the connection may be what was lost
                self._ray.kill(actor)

    def _begin(self, answer: Any) -> None:
        actor = self._starting.pop(answer)
        try:
            why_not = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts >= _TRIES or isinstance(error, self._ray.exceptions.RayTaskError):
                raise AuditError(
                    f"A Ray node cannot start its part ({_told(error)}). Every node needs the same Python environment, with this version "
                    "of imageaudit; the results so far are kept."
                ) from error
            self.ask_for_actor()
            return
        if why_not:
            raise AuditError(why_not)
        self._failed_starts = 0
        self._ready.append(actor)
        self._feed(actor)

    def _feed(self, actor: Any) -> None:
        has = sum(other is actor for _, other in self._running.values())
        for _ in range(_WAITING - has):
            if self._waiting:
                number = self._waiting.popleft()
                self._running[actor.do.remote(number)] = (number, actor)

    def _finish(self, answer: Any) -> Iterator[tuple[int, Any]]:
        number, actor = self._running.pop(answer)
        errors = self._ray.exceptions
        try:
            result = self._ray.get(answer)
        except errors.OutOfDiskError as error:
            raise AuditError(
                "The disk of a Ray node is full. The results so far are kept: free space on it, and repeat the command."
            ) from error
        except errors.RayTaskError as error:
            raise error.as_instanceof_cause() from error
        except errors.RayError as error:
            self._lose(number, actor, error)
            return
        yield number, result
        self._feed(actor)

    def _lose(self, number: int, actor: Any, error: Exception) -> None:
        """Give a task to another actor, and replace the one that was lost with it."""
        self._lost[number] += 1
        if self._lost[number] >= _TRIES:
            raise AuditError(
                f"{_TRIES} processes of the Ray cluster were lost while they did the same images, possibly because memory ran out "
                f"({_told(error)}). The results so far are kept; repeat the command with fewer --workers."
            ) from error
        self._waiting.appendleft(number)
        if actor in self._ready:
            self._ready.remove(actor)
            with suppress(Exception):
                self._ray.kill(actor)
            self._since = time.monotonic()
            self.ask_for_actor()
        for other in self._ready:
            self._feed(other)

    def _check_patience(self) -> None:
        if self._ready:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > _PATIENCE_S:
            raise AuditError(
                f"The Ray cluster has had no free processor (or GPU, with --device cuda) for {_PATIENCE_S:g} s. The results so far are "
                "kept: repeat the command when nodes are there, or use --engine processes."
            )


def _told(error: Exception) -> str:
    """Return what Ray says in the end: its messages begin with where and when."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shown_string(lines[-1] if lines else type(error).__name__, 160)
