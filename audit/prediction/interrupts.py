"""SIGINT, SIGTERM and SIGHUP: one way to end early, in the first process and in its workers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a process to end; Windows has no SIGHUP."""
_TWICE_S = 1.0
"""A signal to a group, passed on by a parent, comes twice at once; a person who asks again waits longer."""


class Interrupted(BaseException):
    """Somebody asked the process to end. Not KeyboardInterrupt, which the command line's library would answer in its own words.

    Parameters
    ----------
    number : int
        The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as shells say it."""
        return 128 + self.number

    @property
    def name(self) -> str:
        """Name of the signal."""
        return signal.Signals(self.number).name


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interrupted` at the first of the signals; a second one that comes later ends the process at once.

    A signal that whoever started us chose to ignore (`nohup`, a job in the background) stays ignored.
    """
    asked: list[float] = []

    def answer(number: int, _frame: FrameType | None) -> None:
        if asked:
            if time.monotonic() - asked[0] > _TWICE_S:
                os._exit(128 + number)
            return
        asked.append(time.monotonic())
        raise Interrupted(number)

    before: dict[int, Any] = {}
    for number in ENDING:
        found = signal.getsignal(number)
        if found is not signal.SIG_IGN:
            before[number] = signal.signal(number, answer)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold back what a terminal sends to all its processes; those started meanwhile never see it, and leave it to the first.

    That holds for the process that Python starts beside them to tidy up, which a SIGHUP would kill in the middle of it.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {n for n in ENDING if n != signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Tasks:
    """In a worker: SIGTERM ends it, after the file that is being written was removed; other signals are the first process's."""

    def __init__(self) -> None:
        self._busy = False
        for number in ENDING:
            signal.signal(number, self._answer if number == signal.SIGTERM else signal.SIG_IGN)

    def run(self, task: Callable[[int], int | str], number: int) -> int | str:
        """Do one task."""
        try:
            self._busy = True
            return task(number)
        except Interrupted as end:
            os._exit(end.exit_code)
        finally:
            self._busy = False

    def _answer(self, number: int, _frame: FrameType | None) -> NoReturn:
        if self._busy:  # unwind, so that no half file stays
            raise Interrupted(number)
        os._exit(128 + number)
