"""Effects + rules -> verdict: a gate passes or fails only when the whole interval lies on one side of the limit.

A rule is judged on the placebo-controlled effect where the condition has a placebo, else on the raw one. Too few
images, a condition that was applied nowhere, or an interval that straddles the limit is *inconclusive*, never a pass; a
rule that matches no effect is a mistake in the configuration (exit code 2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from audit.errors import UnknownNameError, UsageError
from audit.gate_correction import Claim, Limits, widen_by_holm
from audit.gate_groups import edits_without_group, may_be_absent, why_absent
from audit.gate_rules import Correction, GateConfig, Policy, Rule
from audit.results import Effect, GateResult, Status, Verdict
from audit.statistics.power import patients_to_decide

Compare = Callable[[str, str, str], "Effect | str"]
"""(condition, metric, group) -> how much larger it is than in the baseline, or why that cannot be said."""
NO_BASELINE = "no baseline is named; give --baseline RUN or FILE, or baseline in [gate]"
"""Why a rule against the baseline is inconclusive where there is none."""
EXIT_CODES: Mapping[Status, int] = {"pass": 0, "not gated": 0, "fail": 1, "inconclusive": 3}
"""Exit code of a completed and judged run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Match:
    """One rule at one place."""

    name: str
    rule: Rule
    effect: Effect
    why_not: str
    """Why there is nothing to compare with; empty where there is."""


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
    matches = [match for rule in config.rules for match in _matched(rule, effects, compare)]
    twice = sorted(name for name, n in Counter(match.name for match in matches).items() if n > 1)
    if twice:
        raise UsageError(
            f"Two gates are called {twice[0]!r}: a rule's id, and another's with its condition. Rename one."
        )
    together = _judged_together(matches, config.correction)
    gates = [_result(match, config.min_images, sure) for match, sure in zip(matches, together, strict=True)]
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
    by_interval = not any(_is_exact(match.rule) for match in matches)
    summary = _summary(status, gates, effects, config.inconclusive, by_interval=by_interval)
    return Verdict(status=status, summary=summary, gates=tuple(gates))


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
    groups = {e.group for e in effects}
    if rule.group not in groups and not may_be_absent(rule.group):
        raise UnknownNameError(f"group (gate rule {rule.id!r})", rule.group, groups)
    chosen: dict[str, Effect] = {}
    for effect in candidates:
        if effect.group == rule.group and (effect.placebo is not None or effect.condition not in chosen):
            chosen[effect.condition] = effect
    if chosen or any(e.group == "all" for e in candidates):
        # A group of too few patients has no entry; that is never a pass.
        untold = edits_without_group(rule.group, effects) if rule.condition is None else frozenset()
        for effect in candidates:
            if effect.condition not in chosen and effect.condition not in untold:
                chosen[effect.condition] = _too_few(effect, rule.group)
    if not chosen:
        places = sorted({e.condition for e in effects if e.measure == rule.metric})
        raise UsageError(
            f"Gate rule {rule.id!r} matches no effect: {rule.metric} is not measured under "
            f"{rule.condition or 'any edit'}. It is measured under: {', '.join(places) or 'no condition of this run'}. "
            'Say which with where = { condition = "..." }.'
        )
    return list(chosen.values())


def _too_few(effect: Effect, group: str) -> Effect:
    why = f"no estimate: {why_absent(group)}"
    empty = replace(effect, group=group, estimate=None, low=None, high=None, n_images=0, n_patients=0, method=why)
    return replace(empty, simultaneous_low=None, simultaneous_high=None)


def _matched(rule: Rule, effects: Sequence[Effect], compare: Compare | None) -> list[_Match]:
    """Find what a rule is held against, at each place; what cannot be compared is never a pass."""
    places = _matches(rule, effects)
    found: list[_Match] = []
    for effect in places:
        # Named by its condition wherever it may have several: else a further edit would give an old gate another name.
        name, why_not = rule.id if rule.condition is not None else f"{rule.id}-{effect.condition}", ""
        if rule.against == "baseline":
            changed = compare(effect.condition, rule.metric, rule.group) if compare else NO_BASELINE
            if isinstance(changed, str):
                why_not, changed = changed, replace(effect, estimate=None, low=None, high=None, method=changed)
            effect = changed
        found.append(_Match(name=name, rule=rule, effect=effect, why_not=why_not))
    return found


def _judged_together(matches: Sequence[_Match], correction: Correction) -> list[Limits | None]:
    """Return the interval that a failure rests on, for each match; None where there is none.

    A pass stands for itself, but that any rule of a run fails without reason must be rare. Declared effects carry an interval
    that holds over all of them; the other error-level results are one more family, widened by Holm's steps.
    """
    own: list[Limits | None] = []
    family: list[int] = []
    for index, match in enumerate(matches):
        effect, rule = match.effect, match.rule
        if effect.estimate is None or effect.low is None or effect.high is None or _is_exact(rule):
            own.append(None)
            continue
        declared = (
            rule.against == "limit" and effect.simultaneous_low is not None and effect.simultaneous_high is not None
        )
        if correction == "none" or not declared:
            own.append((effect.low, effect.high))
        else:
            own.append((float(effect.simultaneous_low or 0.0), float(effect.simultaneous_high or 0.0)))
        if correction == "holm" and not declared and rule.level == "error":
            family.append(index)
    widened = widen_by_holm(
        [
            Claim(
                estimate=float(matches[i].effect.estimate or 0.0),
                low=float(matches[i].effect.low or 0.0),
                high=float(matches[i].effect.high or 0.0),
                limit=matches[i].rule.limit,
                level=matches[i].effect.level,
                n_patients=matches[i].effect.n_patients,
                above=matches[i].rule.operator == "<=",
            )
            for i in family
        ]
    )
    for index, limits in zip(family, widened, strict=True):
        own[index] = limits
    return own


def _is_exact(rule: Rule) -> bool:
    """Say whether the estimate itself is judged: an exact check of these images, or a rule that asks for it."""
    return rule.evidence == "point" or rule.metric == "max_abs_probability_change"


def _result(match: _Match, min_images: int, sure: Limits | None) -> GateResult:
    rule, effect = match.rule, match.effect
    status, why = _compare(rule, effect, min_images, sure)
    if match.why_not:
        why = f"Not comparable: {match.why_not}."
    beyond = f" beyond {effect.placebo}" if effect.placebo is not None else ""
    change = ", change from the baseline" if rule.against == "baseline" else ""
    return GateResult(
        id=match.name,
        metric=rule.metric,
        where=f"{effect.condition}{beyond}, {effect.group}{change}",
        operator=rule.operator,
        expected=rule.limit,
        actual=effect.estimate,
        low=effect.low,
        high=effect.high,
        n_images=effect.n_images,
        level=rule.level,
        status=status,
        reason=why if match.why_not else f"{why} {rule.reason}".strip(),
        rule=rule.id,
    )


def _compare(
    rule: Rule, effect: Effect, min_images: int, sure: Limits | None
) -> tuple[Literal["pass", "fail", "inconclusive"], str]:
    if effect.estimate is None:
        return "inconclusive", f"There is nothing to judge ({effect.method})."
    if effect.n_images < min_images:
        return "inconclusive", f"Only {effect.n_images} images; the gate asks for at least {min_images}."
    below = rule.operator == "<="
    side = "at most" if below else "at least"
    if _is_exact(rule):
        holds = effect.estimate <= rule.limit if below else effect.estimate >= rule.limit
        words = (
            f"{rule.metric} is {effect.estimate:.3g} on these images, {'' if holds else 'not '}{side} {rule.limit:g}."
        )
        return ("pass" if holds else "fail"), words
    low, high = effect.low, effect.high
    if low is None or high is None or sure is None:
        return "inconclusive", f"There is no interval ({effect.method})."
    words = f"The interval from {low:.3f} to {high:.3f}"
    if (high <= rule.limit) if below else (low >= rule.limit):
        return "pass", f"{words} shows {rule.metric} to be {side} {rule.limit:g}."
    surely_low, surely_high = sure
    if (surely_low > rule.limit) if below else (surely_high < rule.limit):
        return "fail", f"{words} shows {rule.metric} not to be {side} {rule.limit:g}."
    if (low > rule.limit) if below else (high < rule.limit):
        needed = patients_to_decide(effect.estimate, surely_low, surely_high, rule.limit, effect.n_patients)
        return "inconclusive", (
            f"{words} lies beyond the limit {rule.limit:g}, but that which allows for all that is judged beside it, from "
            f"{surely_low:.3f} to {surely_high:.3f}, holds it; about {needed} patients would decide ({effect.n_patients} now)."
        )
    needed = patients_to_decide(effect.estimate, low, high, rule.limit, effect.n_patients)
    more = f"about {needed} patients would decide" if needed else "no number of patients would decide at this estimate"
    return "inconclusive", f"{words} holds the limit {rule.limit:g}; {more} ({effect.n_patients} now)."


def _summary(
    status: Status, gates: Sequence[GateResult], effects: Sequence[Effect], policy: Policy, *, by_interval: bool
) -> str:
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
        parts.append(f"all {len(errors)} rules hold{', shown by the whole interval' if by_interval else ''}")
    floors = [e.minimum_detectable for e in effects if e.tolerance is not None and e.minimum_detectable is not None]
    reach = f" The smallest judged effect that these data would find is {min(floors):.3f}." if floors else ""
    return f"{status.capitalize()}: {'; '.join(parts)}.{reach}"
