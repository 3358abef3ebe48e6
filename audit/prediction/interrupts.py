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
_IMPORT_S = 5.0
"""No import is waited for longer; loading torch takes two seconds."""


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

    A signal that whoever started us chose to ignore (`nohup`, a job in the background) stays ignored. Nothing is raised inside an import:
    modules in C print what they are stopped by and go on, or report that another module is missing.
    """
    asked: list[float] = []
    reminders: list[threading.Timer] = []
    ours = threading.Event()

    def answer(number: int, frame: FrameType | None) -> None:
        now, reminded = time.monotonic(), ours.is_set()
        ours.clear()
        if asked and not reminded:
            if now - asked[0] > _TWICE_S:
                os._exit(128 + number)
            return
        if not asked:
            asked.append(now)
        if _imports(frame) and now - asked[0] < _IMPORT_S:
            remind(number)
            return
        raise Interrupted(number)

    def remind(number: int) -> None:
        """Send the signal once more, soon."""

        def send() -> None:
            ours.set()
            os.kill(os.getpid(), number)

        reminders[:] = [r for r in reminders if r.is_alive()] + [threading.Timer(_AGAIN_S, send)]
        reminders[-1].start()

    def ask_again(lost: sys.UnraisableHookArgs) -> None:
        """Send the signal once more if its exception was raised where Python swallows it: in a finaliser or a weak reference."""
        if isinstance(lost.exc_value, Interrupted):
            remind(lost.exc_value.number)
        else:
            unraisable(lost)

    unraisable, sys.unraisablehook = sys.unraisablehook, ask_again
    before: dict[int, Any] = {}
    for number in ENDING:
        found = signal.getsignal(number)
        if found is not signal.SIG_IGN:
            before[number] = signal.signal(number, answer)
    try:
        yield
    finally:
        for reminder in reminders:
            reminder.cancel()
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler)


def _imports(frame: FrameType | None) -> bool:
    """Say whether the code at a frame runs because a module is being imported."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


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
