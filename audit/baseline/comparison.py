"""Comparison of a run with an earlier one of the same images, for rules against a baseline."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from audit.baseline.changes import ImageValues, compare_images, incomparable, measure_images, no_change
from audit.baseline.file import AcceptedBaseline, images_path, read_baseline
from audit.data.plan import Identity, Plan
from audit.data.strings import shown_string
from audit.errors import UsageError
from audit.files import file_sha256
from audit.gates.groups import may_be_absent, why_absent
from audit.gates.rules import GateConfig
from audit.prediction.table import FinishedRun, read_finished
from audit.statistics.alignment import align_images
from audit.statistics.selections import figure_in_words
from audit.statistics.verdicts import control_failures
from audit.store.folder import RunFolder, check_run
from audit.store.group import ALL, Group
from audit.store.results import Effect, EffectsDocument


def check_baseline(path: Path) -> None:
    """Reject a baseline that cannot be used, before anything is computed.

    Raises
    ------
    StoreError
        If it is no run folder and no baseline file, or was edited.
    """
    if path.suffix == ".json":
        read_baseline(path)
    else:
        check_run(path)


def is_first_run(config: GateConfig) -> bool:
    """Say whether a configuration names a baseline file that nobody has accepted yet, and lets such a run be judged without.

    That is so where neither the file nor its table exists: one without the other was lost, and a run folder was there once.
    """
    path = Path(config.baseline)
    return (
        config.first_run == "skip"
        and path.suffix == ".json"
        and not os.path.lexists(path)
        and not os.path.lexists(images_path(path))
    )


def failed_controls(run_path: Path) -> tuple[str, ...]:
    """Return the controls of a finished run that changed something, by their names for people: no effect of such a run can be trusted.

    Raises
    ------
    StoreError
        If the run's effects cannot be read.
    """
    run = RunFolder(run_path)
    failed = control_failures(run.read(EffectsDocument).effects)
    titles = {c.name: shown_string(c.title) for c in run.read(Plan).suite.conditions} if failed else {}
    return tuple(dict.fromkeys(titles.get(effect.condition, effect.condition) for effect in failed))


class Baseline:
    """Compares a run with an earlier one, image by image; the earlier one is read on first use.

    Parameters
    ----------
    run : FinishedRun
        The run at hand.
    path : Path
        Folder of the earlier run, or the file that `audit baseline accept` wrote.
    """

    def __init__(self, run: FinishedRun, path: Path) -> None:
        self._run = run
        self._path = path

    def stamp(self) -> dict[str, str]:
        """Return what identifies this baseline: its name, and the hash of its content."""
        told = self._path if self._path.suffix == ".json" else self._path / "run.json"
        return {"name": self._path.name, "sha256": file_sha256(told)}

    @cached_property
    def _earlier(self) -> FinishedRun | AcceptedBaseline:
        if self._path.suffix == ".json":
            return read_baseline(self._path)
        if self._path.is_file():
            raise UsageError(
                f"{self._path} is not a baseline. Expected a run folder, or a .json file that `audit baseline accept` wrote."
            )
        return read_finished(self._path)

    @cached_property
    def _groups(self) -> frozenset[Group]:
        return frozenset(align_images(self._run.table).members())

    @cached_property
    def _broken(self) -> str:
        """Return which of the runs cannot be trusted; empty for none. A baseline file contains none, because such a run is not accepted."""
        both = (self._run, self._earlier)
        for path in (run.path for run in both if isinstance(run, FinishedRun)):
            failed = failed_controls(path)
            if failed:
                return (
                    f"the run {path.name} is incomplete: its control “{failed[0]}”, which must change nothing, failed"
                )
        return ""

    @property
    def _titles(self) -> dict[str, str]:
        return {c.name: shown_string(c.title) for c in self._run.suite.conditions}

    @property
    def _plan(self) -> Identity:
        return self._earlier.plan if isinstance(self._earlier, FinishedRun) else self._earlier.identity

    def change(self, condition: str, measure: str, group: Group = ALL) -> Effect | str:
        """Return how much larger a measure is than in the baseline, or why the two are not comparable.

        Raises
        ------
        StoreError
            If the baseline cannot be read, or was edited.
        UsageError
            If the measure has no number for each image, or the group does not exist.
        """
        why_not = self._broken or incomparable(self._run.plan, self._plan, condition, self._titles)
        if why_not:
            return why_not
        before = self._before(condition, measure, group)
        if before is None:
            figure = f"{figure_in_words(measure, condition)} with {self._titles.get(condition, condition)}"
            of_group = "" if group == ALL else f" for {shown_string(str(group))}"
            return f"the baseline {self._path.name} has no value of {figure}{of_group}; accept a new run"
        if may_be_absent(group) and group not in self._groups:
            return no_change(self._run, condition, measure, group, why_absent(group))
        statistics = self._run.plan.statistics
        return compare_images(
            self._run,
            before,
            condition,
            measure,
            group=group,
            level=statistics.level,
            resamples=statistics.resamples,
            seed=self._run.plan.seed,
        )

    def _before(self, condition: str, measure: str, group: Group) -> ImageValues | None:
        if isinstance(self._earlier, FinishedRun):
            return measure_images(self._earlier, condition, measure, group)
        return self._earlier.pinned(condition, measure, group)
