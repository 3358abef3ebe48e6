"""Effects + rules -> verdict: a gate passes or fails only when the whole interval lies on one side of the limit.

A rule is judged on the placebo-controlled effect where the condition has a placebo, else on the raw one. Too few
images, a condition that was applied nowhere, or an interval that straddles the limit is *inconclusive*, never a pass; a
rule that matches no effect is a mistake in the configuration (exit code 2).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from audit.conditions import Suite
from audit.errors import UnknownNameError, UsageError
from audit.results import Effect, GateResult, Status, Verdict
from audit.statistics.measures import MEASURES
from audit.statistics.power import patients_to_decide

Policy = Literal["block", "fail", "pass"]
EXIT_CODES: Mapping[Status, int] = {"pass": 0, "not gated": 0, "fail": 1, "inconclusive": 3}
"""Exit code of a completed and judged run."""
_GATE_KEYS = ("inconclusive", "min_images", "rule")
_RULE_KEYS = ("id", "metric", "where", "max", "min", "level", "reason")
_WHERE_KEYS = ("condition", "group")
_POLICIES = ("block", "fail", "pass")
_LEVELS = ("error", "warn")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One limit on one measure."""

    id: str
    """Stable, kebab-case, unique."""
    metric: str
    """One of `audit.statistics.measures.MEASURES`."""
    operator: Literal["<=", ">="]
    """`<=` where the limit is a maximum, `>=` where it is a minimum."""
    limit: float
    """In the measure's own unit."""
    condition: str | None = None
    """Condition it looks at; None for every edit that has the measure."""
    group: str = "all"
    """`all`, or `column=value`."""
    level: Literal["error", "warn"] = "error"
    """A warning never changes the run's status."""
    reason: str = ""
    """Why the limit stands, in the words of its author."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateConfig:
    """The `[gate]` table of `audit.toml`."""

    rules: tuple[Rule, ...]
    """In the order of the file; empty where the defaults are wanted."""
    inconclusive: Policy = "block"
    """What an undecided error-level rule does: block (exit 3), fail (exit 1) or pass (exit 0)."""
    min_images: int = 0
    """With fewer images a rule is inconclusive."""


def rules_from_config(table: Mapping[str, Any]) -> GateConfig:
    """Read the `[gate]` table of a configuration.

    Parameters
    ----------
    table : mapping
        `inconclusive`, `min_images` and `rule`, a list of tables with `id`, `metric`, `max` or `min`, and optionally
        `where = {condition, group}`, `level`, `reason`.

    Raises
    ------
    UnknownNameError
        If a key, metric, level or policy is not known; the nearest known names are suggested.
    UsageError
        If a value has the wrong type, a rule lacks something, or an id comes twice.
    """
    _check_keys("key of [gate]", table, _GATE_KEYS)
    policy = table.get("inconclusive", "block")
    if policy not in _POLICIES:
        raise UnknownNameError("policy for inconclusive gates", str(policy), _POLICIES)
    min_images = table.get("min_images", 0)
    if not isinstance(min_images, int) or isinstance(min_images, bool) or min_images < 0:
        raise UsageError(f"[gate] min_images must be a whole number from 0, found {min_images!r}.")
    rows = table.get("rule", [])
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise UsageError("The rules of a gate are written as [[gate.rule]] tables, one for each rule.")
    rules = tuple(_rule(row) for row in rows)
    ids = [rule.id for rule in rules]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise UsageError(f"Two gate rules are called {twice[0]!r}. Ids must be unique.")
    return GateConfig(rules=rules, inconclusive=policy, min_images=min_images)


def config_for(
    table: Mapping[str, Any] | None,
    suite: Suite,
    tolerances: Mapping[str, float],
    *,
    asked: bool,
    impossible: Collection[str] = (),
) -> GateConfig | None:
    """Return the gates of a run before it starts: those of the configuration, else the defaults if asked for.

    By default the shortcut sensitivity of every judged edit that has a placebo, and the sufficiency of every condition of
    that role, must be at most its tolerance.

    Parameters
    ----------
    table : mapping or None
        The `[gate]` table; None where there is none.
    suite : Suite
        Names the edits.
    tolerances : mapping
        Measure -> the largest effect that counts as small.
    asked : bool
        Judge although nothing is configured.
    impossible : collection of str
        Conditions that the cohort cannot be put under; the defaults leave them out, a configured rule does not.

    Raises
    ------
    UsageError
        If the defaults are asked for and the suite has no edit with a placebo, or a rule names a condition that the
        suite does not have.
    """
    if table is None and not asked:
        return None
    config = GateConfig(rules=()) if table is None else rules_from_config(table)
    names = [c.name for c in suite.conditions]
    for rule in config.rules:
        if rule.condition is not None and rule.condition not in names:
            raise UnknownNameError(f"condition of suite {suite.name} (gate rule {rule.id!r})", rule.condition, names)
    if config.rules:
        return config
    measured = [
        (c.name, "sufficiency" if c.role == "sufficiency" else "shortcut_sensitivity")
        for c in suite.conditions
        if c.judged and c.placebo is not None and c.name not in impossible
    ]
    if not measured:
        raise UsageError(
            f"The default gate limits the shortcut sensitivity of edits that have a placebo, but suite {suite.name} has "
            "none that this cohort can be put under. Choose a suite with placebos, or write [[gate.rule]] tables in audit.toml."
        )
    rules = tuple(
        Rule(
            id=f"{metric.replace('_', '-')}-{name}",
            metric=metric,
            operator="<=",
            limit=tolerances[metric],
            condition=name,
            reason="The truth must not be told better than by the matched control."
            if metric == "sufficiency"
            else "The prediction must not move more than under the matched control.",
        )
        for name, metric in measured
    )
    return replace(config, rules=rules)


def config_from_plan(plan: Mapping[str, Any]) -> GateConfig:
    """Return the gates that a run was planned with."""
    return GateConfig(rules=tuple(Rule(**row) for row in plan["gates"]), **(plan["gate_policy"] or {}))


def judge(effects: Sequence[Effect], config: GateConfig) -> Verdict:
    """Judge effects by rules.

    Parameters
    ----------
    effects : sequence of Effect
        The run's effects.
    config : GateConfig
        The rules. Without a condition, a rule is applied to every edit that has its measure, one result each.

    Raises
    ------
    UsageError
        If a rule matches no effect.
    """
    gates: list[GateResult] = []
    for rule in config.rules:
        matches = _matches(rule, effects)
        for effect in matches:
            name = rule.id if len(matches) == 1 else f"{rule.id}-{effect.condition}"
            gates.append(_result(name, rule, effect, config.min_images))
    errors = [g for g in gates if g.level == "error"]
    failed = [g for g in errors if g.status == "fail"]
    open_gates = [g for g in errors if g.status == "inconclusive"]
    status: Status
    if not errors:
        status = "not gated"
    elif failed or (open_gates and config.inconclusive == "fail"):
        status = "fail"
    elif open_gates and config.inconclusive == "block":
        status = "inconclusive"
    else:
        status = "pass"
    return Verdict(status=status, summary=_summary(status, gates, effects, config.inconclusive), gates=tuple(gates))


def exit_code(status: Status) -> int:
    """Return the exit code of a judged run: 0 pass or not gated, 1 fail, 3 inconclusive."""
    return EXIT_CODES[status]


def _check_keys(kind: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            raise UnknownNameError(kind, str(key), known)


def _rule(row: Mapping[str, Any]) -> Rule:
    name = row.get("id")
    if not isinstance(name, str) or not name:
        raise UsageError(f"Every gate rule needs an id, a short unique name; found {dict(row)}.")
    _check_keys(f"key of gate rule {name!r}", row, _RULE_KEYS)
    metric = row.get("metric")
    if metric not in MEASURES:
        raise UnknownNameError(f"metric (gate rule {name!r})", str(metric), MEASURES)
    limits = [key for key in ("max", "min") if key in row]
    if len(limits) != 1:
        raise UsageError(f"Gate rule {name!r} needs either max or min, found {' and '.join(limits) or 'neither'}.")
    limit = row[limits[0]]
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not math.isfinite(limit):
        raise UsageError(f"Gate rule {name!r}: {limits[0]} must be a finite number, found {limit!r}.")
    where = row.get("where", {})
    if not isinstance(where, Mapping) or not all(isinstance(value, str) for value in where.values()):
        raise UsageError(f'Gate rule {name!r}: where must look like {{ condition = "...", group = "..." }}.')
    _check_keys(f"key of `where` in gate rule {name!r}", where, _WHERE_KEYS)
    level = row.get("level", "error")
    if level not in _LEVELS:
        raise UnknownNameError(f"level (gate rule {name!r})", str(level), _LEVELS)
    return Rule(
        id=name,
        metric=metric,
        operator="<=" if limits[0] == "max" else ">=",
        limit=float(limit),
        condition=where.get("condition"),
        group=where.get("group", "all"),
        level=level,
        reason=str(row.get("reason", "")),
    )


def _matches(rule: Rule, effects: Sequence[Effect]) -> list[Effect]:
    """Find one effect for each condition that the rule looks at, the controlled one where there is one."""
    placebos = {e.placebo for e in effects}
    if rule.condition is None:
        candidates = [e for e in effects if e.condition != "clean" and e.condition not in placebos]
    else:
        candidates = [e for e in effects if e.condition == rule.condition]
        if not candidates:
            raise UnknownNameError(f"condition (gate rule {rule.id!r})", rule.condition, {e.condition for e in effects})
    candidates = [e for e in candidates if e.measure == rule.metric]
    if candidates and not any(e.group == rule.group for e in candidates):
        raise UnknownNameError(f"group (gate rule {rule.id!r})", rule.group, {e.group for e in candidates})
    chosen: dict[str, Effect] = {}
    for effect in candidates:
        if effect.group == rule.group and (effect.placebo is not None or effect.condition not in chosen):
            chosen[effect.condition] = effect
    if not chosen:
        places = sorted({e.condition for e in effects if e.measure == rule.metric})
        raise UsageError(
            f"Gate rule {rule.id!r} matches no effect: {rule.metric} is not measured under "
            f"{rule.condition or 'any edit'}. It is measured under: {', '.join(places) or 'no condition of this run'}. "
            'Say which with where = { condition = "..." }.'
        )
    return list(chosen.values())


def _result(name: str, rule: Rule, effect: Effect, min_images: int) -> GateResult:
    status, why = _compare(rule, effect, min_images)
    beyond = f" beyond {effect.placebo}" if effect.placebo is not None else ""
    return GateResult(
        id=name,
        metric=rule.metric,
        where=f"{effect.condition}{beyond}, {effect.group}",
        operator=rule.operator,
        expected=rule.limit,
        actual=effect.estimate,
        low=effect.low,
        high=effect.high,
        n_images=effect.n_images,
        level=rule.level,
        status=status,
        reason=f"{why} {rule.reason}".strip(),
    )


def _compare(rule: Rule, effect: Effect, min_images: int) -> tuple[Literal["pass", "fail", "inconclusive"], str]:
    if effect.estimate is None:
        return "inconclusive", f"There is nothing to judge ({effect.method})."
    if effect.n_images < min_images:
        return "inconclusive", f"Only {effect.n_images} images; the gate asks for at least {min_images}."
    low, high = effect.low, effect.high
    if rule.metric == "max_abs_probability_change":
        low = high = effect.estimate  # an exact check of these images, not an estimate for others
    if low is None or high is None:
        return "inconclusive", f"There is no interval ({effect.method})."
    side = "at most" if rule.operator == "<=" else "at least"
    words = f"The interval from {low:.3f} to {high:.3f}"
    if (high <= rule.limit) if rule.operator == "<=" else (low >= rule.limit):
        return "pass", f"{words} shows {rule.metric} to be {side} {rule.limit:g}."
    # A pass stands for itself; that any rule of a run fails without reason must be rare, so a failure is judged together.
    surely_low = low if effect.simultaneous_low is None else effect.simultaneous_low
    surely_high = high if effect.simultaneous_high is None else effect.simultaneous_high
    if (surely_low > rule.limit) if rule.operator == "<=" else (surely_high < rule.limit):
        return "fail", f"{words} shows {rule.metric} not to be {side} {rule.limit:g}."
    if (low > rule.limit) if rule.operator == "<=" else (high < rule.limit):
        needed = patients_to_decide(effect.estimate, surely_low, surely_high, rule.limit, effect.n_patients)
        return "inconclusive", (
            f"{words} lies beyond the limit {rule.limit:g}, but that which allows for all judged effects of the run, from "
            f"{surely_low:.3f} to {surely_high:.3f}, holds it; about {needed} patients would decide ({effect.n_patients} now)."
        )
    needed = patients_to_decide(effect.estimate, low, high, rule.limit, effect.n_patients)
    more = f"about {needed} patients would decide" if needed else "no number of patients would decide at this estimate"
    return "inconclusive", f"{words} holds the limit {rule.limit:g}; {more} ({effect.n_patients} now)."


def _summary(status: Status, gates: Sequence[GateResult], effects: Sequence[Effect], policy: Policy) -> str:
    if status == "not gated":
        return "Not gated: " + ("the rules are warnings only." if gates else "no rule was given.")
    errors = [g for g in gates if g.level == "error"]
    failed = [g.id for g in errors if g.status == "fail"]
    undecided = [g.id for g in errors if g.status == "inconclusive"]
    parts = []
    if failed:
        parts.append(f"{len(failed)} of {len(errors)} rules failed ({', '.join(failed)})")
    if undecided:
        fate = {"block": "", "fail": ", which counts as a failure", "pass": ", which is let through"}[policy]
        parts.append(f"{len(undecided)} of {len(errors)} could not be decided ({', '.join(undecided)}){fate}")
    if not parts:
        parts.append(f"all {len(errors)} rules hold, shown by the whole interval")
    floors = [e.minimum_detectable for e in effects if e.tolerance is not None and e.minimum_detectable is not None]
    reach = f" The smallest judged effect that these data would find is {min(floors):.3f}." if floors else ""
    return f"{status.capitalize()}: {'; '.join(parts)}.{reach}"
