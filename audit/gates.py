"""Effects + rules -> verdict: a gate passes or fails only when the whole interval lies on one side of the limit.

A rule is judged on the placebo-controlled effect where the condition has a placebo, else on the raw one. Too few
images, a condition that was applied nowhere, or an interval that straddles the limit is *inconclusive*, never a pass; a
rule that matches no effect is a mistake in the configuration (exit code 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from audit.errors import UnknownNameError, UsageError
from audit.gate_rules import GateConfig, Policy, Rule
from audit.results import Effect, GateResult, Status, Verdict
from audit.statistics.power import patients_to_decide

Compare = Callable[[str, str, str], "Effect | str"]
"""(condition, metric, group) -> how much larger it is than in the baseline, or why that cannot be said."""
NO_BASELINE = "no baseline is named; give --baseline RUN, or baseline in [gate]"
"""Why a rule against the baseline is inconclusive where there is none."""
EXIT_CODES: Mapping[Status, int] = {"pass": 0, "not gated": 0, "fail": 1, "inconclusive": 3}
"""Exit code of a completed and judged run."""


def judge(effects: Sequence[Effect], config: GateConfig, compare: Compare | None = None) -> Verdict:
    """Judge effects by rules.

    Parameters
    ----------
    effects : sequence of Effect
        The run's effects.
    config : GateConfig
        The rules. Without a condition, a rule is applied to every edit that has its measure, one result each.
    compare : callable, optional
        What rules against the baseline ask; without it they are inconclusive.

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
            if rule.against == "baseline":
                changed = compare(effect.condition, rule.metric, rule.group) if compare else NO_BASELINE
                gates.append(_changed(name, rule, effect, changed, config.min_images))
            else:
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


def _changed(name: str, rule: Rule, effect: Effect, changed: Effect | str, min_images: int) -> GateResult:
    """Judge the change of an effect from the baseline; what cannot be compared is never a pass."""
    if isinstance(changed, Effect):
        result = _result(name, rule, changed, min_images)
        return replace(result, where=f"{result.where}, change from the baseline")
    empty = replace(effect, estimate=None, low=None, high=None, method=changed)
    result = _result(name, rule, empty, 0)
    return replace(result, where=f"{result.where}, change from the baseline", reason=f"Not comparable: {changed}.")


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
