"""Progress with the time left: a bar on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from audit.errors import shown_message

_QUIET_S = 15.0


class ProgressLines:
    """Shows one line per stage; used as a context manager.

    Parameters
    ----------
    quiet : bool
        Show nothing at all (for machines that read standard error).
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bars: Progress | None = None
        if not quiet and sys.stderr.isatty():
            self._bars = Progress(
                TextColumn("{task.description:<24}"),
                BarColumn(bar_width=32),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, name: str, steps: int) -> Callable[[], None]:
        """Begin a stage; the returned function is called after each of its steps."""
        if self._quiet:
            return lambda: None
        if self._bars is not None:
            return self._bar(self._bars, self._bars.add_task(name, total=max(steps, 1)))
        return _Lines(name, steps)

    def say(self, lines: Iterable[str]) -> None:
        """Write lines without disturbing the progress display."""
        if self._quiet:
            return
        for line in map(shown_message, lines):
            if self._bars is not None:
                self._bars.console.print(Text(line))
            else:
                _say(line)

    @staticmethod
    def _bar(bars: Progress, task: TaskID) -> Callable[[], None]:
        return lambda: bars.advance(task)


class _Lines:
    """One line at the start, then at most one every quarter of a minute, then one at the end."""

    def __init__(self, name: str, steps: int) -> None:
        self._name, self._steps, self._done = name, steps, 0
        self._start = self._told = time.monotonic()

    def __call__(self) -> None:
        self._done += 1
        now = time.monotonic()
        elapsed = now - self._start
        if self._done >= self._steps:
            _say(f"{self._name}: done in {elapsed:.1f} s" + (f" ({self._steps})" if self._steps > 1 else ""))
        elif now - self._told >= _QUIET_S:
            self._told = now
            left = elapsed / self._done * (self._steps - self._done)
            _say(f"{self._name}: {self._done} of {self._steps}, about {left:.0f} s left")


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
