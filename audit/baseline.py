"""A run held against an earlier one of the same images: what rules against a baseline ask."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from audit.predictions import FinishedRun, read_finished
from audit.results import Effect
from audit.statistics.comparison import compare_runs, incomparable


class Baseline:
    """Compares a run with an earlier one, image by image; the earlier one is read when it is first asked for.

    Parameters
    ----------
    run : FinishedRun
        The run at hand.
    path : Path
        Folder of the earlier run.
    """

    def __init__(self, run: FinishedRun, path: Path) -> None:
        self._run = run
        self._path = path

    @cached_property
    def _earlier(self) -> FinishedRun:
        return read_finished(self._path)

    def change(self, condition: str, metric: str, group: str = "all") -> Effect | str:
        """Return how much larger a metric is than in the baseline, or why that cannot be said.

        Raises
        ------
        StoreError
            If the baseline cannot be read.
        UsageError
            If the metric has no number for each image, or the group does not exist.
        """
        why_not = incomparable(self._run, self._earlier, condition)
        if why_not:
            return why_not
        statistics = self._run.plan["statistics"]
        return compare_runs(
            self._run,
            self._earlier,
            condition,
            metric,
            group=group,
            level=statistics["level"],
            resamples=statistics["resamples"],
            seed=self._run.plan["seed"],
        )
