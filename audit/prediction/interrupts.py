"""SIGINT, SIGTERM and SIGHUP: one way to end early, in the first process and in its workers."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from audit.files import remove_unfinished

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a process to end; Windows has no SIGHUP."""
_TWICE_S = 1.0
"""A signal to a group, passed on by a parent, comes twice at once; a person who asks again waits longer."""
_AGAIN_S = 0.02


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

    def ask_again(lost: sys.UnraisableHookArgs) -> None:
        """Send the signal once more if its exception was raised where Python swallows it: in a finaliser or a weak reference."""
        if not isinstance(lost.exc_value, Interrupted):
            unraisable(lost)
            return
        asked.clear()
        threading.Timer(_AGAIN_S, os.kill, (os.getpid(), lost.exc_value.number)).start()

    unraisable, sys.unraisablehook = sys.unraisablehook, ask_again
    before: dict[int, Any] = {}
    for number in ENDING:
        found = signal.getsignal(number)
        if found is not signal.SIG_IGN:
            before[number] = signal.signal(number, answer)
    try:
        yield
    finally:
        sys.unraisablehook = unraisable
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


def end_on_sigterm() -> None:
    """In a worker: SIGTERM ends it at once, after the file that is being written was removed; other signals are the first process's.

    Nothing is raised: an exception would be swallowed where Python calls back on its own (a finaliser, a weak reference), and the worker
    would go on.
    """

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        remove_unfinished()
        os._exit(128 + number)

    for number in ENDING:
        signal.signal(number, end if number == signal.SIGTERM else signal.SIG_IGN)
