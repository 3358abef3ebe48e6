"""A finished run judged anew: by other rules than it was planned with, or against a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit.baseline import Baseline
from audit.errors import UnknownNameError, UsageError
from audit.gate_groups import is_pattern
from audit.gate_rules import (
    GateConfig,
    check_baseline_is_used,
    config_from_plan,
    rules_from_config,
    with_rises,
)
from audit.gates import judge
from audit.predictions import read_finished
from audit.results import Verdict, effect_from_json
from audit.store import RunFolder, check_run


def rejudge(path: Path, table: Mapping[str, Any] | None, baseline: Path | None = None) -> Verdict:
    """Judge a finished run.

    Parameters
    ----------
    path : Path
        Its folder.
    table : mapping or None
        The `[gate]` table of the configuration; without one, or without rules in it, those that the run was planned with.
    baseline : Path, optional
        What rules against the baseline compare with, before what the table names.

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
    check_run(path)  # what was edited is not judged
    run = RunFolder(path)
    planned = config_from_plan(run.read_json("plan.json"))
    config = planned if table is None else rules_from_config(table)
    if not config.rules:
        config = replace(config, rules=planned.rules)
    if not config.rules:
        raise UsageError(f"No gate is configured: neither has audit.toml a rule, nor was {path} planned with one.")
    _check_sites(run, config)
    earlier = baseline or (Path(config.baseline) if config.baseline else None)
    if earlier is not None:
        config = _using_baseline(config, earlier, written=bool(config.rules is not planned.rules))
    compare = None if earlier is None else Baseline(read_finished(path), earlier).change
    effects = [effect_from_json(row) for row in run.read_json("effects.json")["effects"]]
    return judge(effects, config, compare)


def _check_sites(run: RunFolder, config: GateConfig) -> None:
    """Refuse sites that no image of the run has: of one with too few patients no effect is told, so effects do not know it."""
    asked = {
        rule.group: rule.id for rule in config.rules if rule.group.startswith("site=") and not is_pattern(rule.group)
    }
    if not asked:
        return
    known = {f"site={row['site']}" for row in run.read_rows("records.parquet", ["site"])}
    for group, rule in asked.items():
        if group not in known:
            raise UnknownNameError(f"group (gate rule {rule!r})", group, known)


def _using_baseline(config: GateConfig, baseline: Path, *, written: bool) -> GateConfig:
    if any(rule.against == "baseline" for rule in config.rules):
        return config
    if not written:
        config = with_rises(config)
    check_baseline_is_used(config.rules, str(baseline))
    return config
