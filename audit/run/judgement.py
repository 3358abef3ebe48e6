"""Judging results: at the end of a run, and any number of times afterwards, by other rules or against a baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from audit.data.groups import WITHHELD
from audit.data.plan import Plan
from audit.data.strings import shown_string
from audit.errors import UnknownNameError, UsageError
from audit.gates.defaults import check_baseline_is_used, with_rises
from audit.gates.document import VerdictDocument, verdict_document
from audit.gates.groups import is_pattern
from audit.gates.judging import judge
from audit.gates.matching import Compare, FirstRun
from audit.gates.rules import GateConfig, rules_from_config
from audit.gates.scope import with_reach
from audit.prediction.table import FinishedRun, read_finished
from audit.store.controls import ControlsDocument
from audit.store.folder import RunFolder, check_run
from audit.store.group import Group
from audit.store.results import Effect, EffectsDocument
from audit.store.run_record import RunRecord
from audit.store.verdict import Verdict

if TYPE_CHECKING:
    from audit.baseline.comparison import Baseline


def judge_results(
    run: RunFolder, config: GateConfig | None, predicted: Callable[[], FinishedRun], calibration: str
) -> tuple[Verdict, dict[str, str] | None]:
    """Judge a run's effects and keep the judgement, with its rules, as `verdict.json`.

    Parameters
    ----------
    run : RunFolder
        With its effects.
    config : GateConfig or None
        The rules; None where nothing is judged.
    predicted : callable
        Returns the run's predictions, which rules against a baseline need.
    calibration : str
        The audit's detection rate for this network, in one sentence.

    Returns
    -------
    tuple of (Verdict, dict or None)
        The judgement, and the baseline that it is based on.
    """
    config = config or GateConfig(rules=())
    first = _is_first_run(config)
    baseline = _compared(predicted(), Path(config.baseline)) if config.baseline and not first else None
    compare = None if baseline is None else baseline.change
    effects = run.read(EffectsDocument).effects
    waiting = FirstRun(baseline=config.baseline, run=for_commands(run.path))
    verdict = judge(effects, config, waiting if first else compare, _titles(run))
    verdict = _reaching(run, verdict, effects, calibration)
    run.write(verdict_document(verdict, config))
    return verdict, None if baseline is None else baseline.stamp()


def for_commands(path: Path) -> str:
    """Return a run's path for a command to type; for an absolute path only the name, because stored text may be shared."""
    return path.name if path.is_absolute() else path.as_posix()


def judge_again(run: RunFolder, config: GateConfig | None, calibration: str) -> Verdict:
    """Judge a finished run by the current rules: nothing is predicted or measured again, only `verdict.json` and its hash change.

    Raises
    ------
    StoreError
        If the run was edited. A judgement that was only partly written is not an edit: it is written again.
    """
    check_run(run.path, but=frozenset({"verdict.json"}))
    finished = frozenset({"verdict.json"})
    verdict, stamp = judge_results(run, config, lambda: read_finished(run.path, but=finished), calibration)
    run.write(structs.replace(run.read(RunRecord), baseline=stamp, files=run.hashes()))
    return verdict


def rejudge(path: Path, table: Mapping[str, Any] | None, baseline: Path | None = None) -> Verdict:
    """Judge a finished run.

    Parameters
    ----------
    path : Path
        Its folder.
    table : mapping or None
        The `[gate]` table of the configuration; without one, or without rules in it, the rules that the run was last judged
        by.
    baseline : Path, optional
        The baseline; takes precedence over the one that the table names. It must exist. A file that the table names need not
        exist yet, because the first run is judged without it.

    Returns
    -------
    Verdict
        The judgement.

    Raises
    ------
    StoreError
        If the run or the baseline cannot be read, or was edited.
    UsageError
        If there is no rule, one matches nothing, or none uses the baseline.
    """
    check_run(path)  # an edited run is not judged
    run = RunFolder(path)
    judged = run.read(VerdictDocument)
    last = judged.config
    config = last if table is None else rules_from_config(table)
    if not config.rules:
        config = replace(config, rules=last.rules)
    if not config.rules:
        raise UsageError(
            f"No gate is configured: audit.toml has no rule, and {path} was not judged by any. Write [[gate.rule]] tables, or "
            "repeat its `audit run` with --gate; it reuses the predictions."
        )
    _check_sites(run, config)
    earlier = baseline or (Path(config.baseline) if config.baseline else None)
    if earlier is not None:
        config = _using_baseline(config, earlier, written=config.rules is not last.rules)
    compare: Compare | FirstRun | None = None
    if baseline is None and _is_first_run(config):
        compare = FirstRun(baseline=config.baseline, run=for_commands(path))
    elif earlier is not None:
        compare = _compared(read_finished(path), earlier).change
    effects = run.read(EffectsDocument).effects
    return _reaching(run, judge(effects, config, compare, _titles(run)), effects, judged.calibration)


def _is_first_run(config: GateConfig) -> bool:
    if not config.baseline:
        return False
    from audit.baseline.comparison import is_first_run

    return is_first_run(config)


def _compared(finished: FinishedRun, baseline: Path) -> Baseline:
    # It estimates changes, and so takes half a second to import; most runs are judged alone.
    from audit.baseline.comparison import Baseline

    return Baseline(finished, baseline)


def _titles(run: RunFolder) -> dict[str, str]:
    """Return the conditions' names for people."""
    return {c.name: shown_string(c.title) for c in run.read(Plan).suite.conditions}


def _reaching(run: RunFolder, verdict: Verdict, effects: Sequence[Effect], calibration: str) -> Verdict:
    return with_reach(verdict, run.read(Plan), effects, run.read(ControlsDocument).blindness, calibration)


def _check_sites(run: RunFolder, config: GateConfig) -> None:
    """Reject sites that no image of the run has. Sites with too few patients have no effects, so the records are checked instead."""
    asked = {rule.group: rule.id for rule in config.rules if rule.group.kind == "site" and not is_pattern(rule.group)}
    if not asked:
        return
    known = {Group(kind="site", value=row["site"]) for row in run.read_rows("records.parquet", ["site"])}
    if Group(kind="site", value=WITHHELD) in known:  # it may be a site of few patients, which the judge then reports
        return
    for group, rule in asked.items():
        if group not in known:
            raise UnknownNameError(f"group (gate rule {rule!r})", str(group), map(str, known))


def _using_baseline(config: GateConfig, baseline: Path, *, written: bool) -> GateConfig:
    if any(rule.against == "baseline" for rule in config.rules):
        return config
    if not written:
        config = with_rises(config)
    check_baseline_is_used(config.rules, str(baseline))
    return config
