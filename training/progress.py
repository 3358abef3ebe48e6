"""What training reports to its caller while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from audit.training.curves import EpochRow

StepName = Literal["backbone", "images", "findings", "classes", "test"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where training is."""

    step: StepName
    """The step of the chain; `images` is the reading of the pixels before a step."""
    message: str
    """What happened, in words; empty where only the count moved."""
    done: int
    """Images visited in this step."""
    total: int
    """Images that the step visits at most (early stopping may end it before); 0 where nothing is counted."""


OnProgress = Callable[[Progress], None] | None


class Reporter:
    """Counts the images of one step and reports to the caller.

    Parameters
    ----------
    step : str
        Name of the step.
    total : int
        Images that it visits at most.
    on_progress : callable, optional
        The caller.
    """

    def __init__(self, step: StepName, total: int, on_progress: OnProgress) -> None:
        self._step, self._total, self._on_progress = step, total, on_progress
        self._done = 0

    def images(self, n: int) -> None:
        """Count `n` more images."""
        self._done += n
        self.say("")

    def epoch(self, row: EpochRow) -> None:
        """Tell of a finished epoch."""
        self.say(
            f"{row.phase}, epoch {row.epoch}: loss {row.train_loss:.3f}, validation loss {row.validation_loss:.3f}, "
            f"score {row.validation_score:.3f}{' (best)' if row.best else ''}"
        )

    def say(self, message: str) -> None:
        """Tell something in words."""
        if self._on_progress is not None:
            self._on_progress(Progress(step=self._step, message=message, done=self._done, total=self._total))
