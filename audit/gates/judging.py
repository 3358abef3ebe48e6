"""Effects + rules -> verdict: a gate passes or fails only when the whole interval lies on one side of the limit.

Too few images, a condition that was not applied to any image, or an interval that includes the limit is *inconclusive*, never
a pass. A rule for every group of a kind is one gate: it fails if any group fails, and passes if all groups pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from audit.data.strings import shown_string
from audit.gates.correction import Claim, widen_by_holm
from audit.gates.limits import NO_TITLES, compare_with_limit, is_exact
from audit.gates.matching import Compare, FirstRun, Match, match_rules
from audit.gates.rules import Correction, GateConfig
from audit.statistics.power import power_sentence
from audit.statistics.selections import figure_in_words
from audit.statistics.verdicts import Limits, control_failures
from audit.store.group import ALL
from audit.store.numbers import compact, counted
from audit.store.results import Effect
from audit.store.verdict import GateResult, GateStatus, Status, Verdict

EXIT_CODES: Mapping[Status, int] = {
    "pass": 0,
    "not gated": 0,
    "fail": 1,
    "inconclusive": 3,
    "incomplete": 4,
    "not comparable": 5,
}
"""Exit code of a completed and judged run."""


def judge(
    effects: Sequence[Effect],
    config: GateConfig,
    compare: Compare | FirstRun | None = None,
    titles: Mapping[str, str] = NO_TITLES,
) -> Verdict:
    """Judge effects by rules.

    Parameters
    ----------
    effects : sequence of Effect
        The run's effects.
    config : GateConfig
        The rules. Without a condition, a rule is applied to every edit that has its measure, one result each; for every group
        of a kind it gives one result, that of the deciding effect.
    compare : callable or FirstRun, optional
        Comparison for rules against the baseline; without it they are not comparable, in a first run not judged.
    titles : mapping
        Condition -> its name for people, in which reasons are written; a condition that it lacks keeps its own name.

    Raises
    ------
    UsageError
        If a rule matches no effect.
    """
    failed = control_failures(effects)
    if failed:
        return _incomplete(failed, titles)
    matches = match_rules(config.rules, effects, compare)
    together = _judged_together(matches, config.correction)
    results = [_result(match, config, sure, titles) for match, sure in zip(matches, together, strict=True)]
    by_name: dict[str, list[GateResult]] = {}
    for match, result in zip(matches, results, strict=True):
        by_name.setdefault(match.name, []).append(result)
    gates = [_deciding(places) for places in by_name.values()]
    errors = [g for g in gates if g.level == "error" and g.status != "not judged"]
    undecided = {g.undecided for g in errors if g.status == "inconclusive"}
    status: Status
    if not errors:
        status = "not gated"
    elif "fail" in undecided or any(g.status == "fail" for g in errors):
        status = "fail"
    elif any(g.status == "not comparable" for g in errors):
        status = "not comparable"
    else:
        status = "inconclusive" if "block" in undecided else "pass"
    by_interval = not any(is_exact(match.rule) for match in matches)
    summary = _summary(status, gates, power_sentence(effects, titles), by_interval=by_interval)
    return Verdict(status=status, summary=summary, gates=tuple(gates))


def _incomplete(failed: Sequence[Effect], titles: Mapping[str, str]) -> Verdict:
    """Judge nothing: if a condition that must change nothing changes the prediction, no other figure of the run can be trusted."""
    gates = tuple(
        GateResult(
            id=f"control-{e.condition}",
            measure=e.measure,
            where=f"{titles.get(e.condition, e.condition)}, all",
            operator="<=",
            expected=0.0,
            actual=e.estimate,
            low=None,
            high=None,
            n_images=e.n_images,
            level="error",
            status="incomplete",
            rule=f"control-{e.condition}",
            condition=e.condition,
            title=titles.get(e.condition, ""),
            reason=f"A control must change nothing, but “{titles.get(e.condition, e.condition)}” changed a class probability by "
            f"{compact(e.estimate or 0.0, 3)}.",
        )
        for e in failed
    )
    worst = max(failed, key=lambda e: e.estimate or 0.0)
    others = f" ({len(failed)} controls failed)" if len(failed) > 1 else ""
    summary = (
        f"The audit could not be completed: the control “{titles.get(worst.condition, worst.condition)}”, which must change nothing, "
        f"changed a class probability by {compact(worst.estimate or 0.0, 3)}{others}. No effect of this run can be trusted. Check "
        "that the network is deterministic and that the control's perturbation leaves the image unchanged, then run the audit again."
    )
    return Verdict(status="incomplete", summary=summary, gates=gates)


def exit_code(status: Status) -> int:
    """Return the exit code of a judged run: 0 pass or not gated, 1 fail, 3 inconclusive, 4 incomplete, 5 not comparable."""
    return EXIT_CODES[status]


def _judged_together(matches: Sequence[Match], correction: Correction) -> list[Limits | None]:
    """Return the interval that a failure is based on, for each match; None where there is none.

    Each pass is judged by itself, but a false failure of any rule must be rare. Declared effects have a simultaneous
    interval; the other error-level results are a further family, widened by Holm's procedure.
    """
    own: list[Limits | None] = []
    family: list[int] = []
    for index, match in enumerate(matches):
        effect, rule = match.effect, match.rule
        if effect.estimate is None or effect.low is None or effect.high is None or is_exact(rule):
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


def _within(title: str) -> str:
    """Return a title as it stands within a sentence; one that begins with an abbreviation keeps its capitals."""
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


def _result(match: Match, config: GateConfig, sure: Limits | None, titles: Mapping[str, str]) -> GateResult:
    rule, effect = match.rule, match.effect
    status: GateStatus
    status, why = compare_with_limit(rule, effect, config.min_images, sure, titles)
    if match.first:
        status, why = "not judged", match.why_not
    elif match.why_not:
        status, why = "not comparable", f"Not comparable: {match.why_not}."
    compared = "" if effect.placebo is None else f" compared with {_within(titles.get(effect.placebo, effect.placebo))}"
    images = "all images" if effect.group == ALL else shown_string(str(effect.group))
    return GateResult(
        id=match.name,
        measure=rule.measure,
        where=f"{titles.get(effect.condition, effect.condition)}{compared}, {images}",
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
        against=rule.against,
        undecided=rule.inconclusive or config.inconclusive,
        figure=figure_in_words(rule.measure, effect.condition) if rule.against == "limit" else "",
        condition=effect.condition,
        title=titles.get(effect.condition, ""),
    )


def _deciding(places: Sequence[GateResult]) -> GateResult:
    """Return the effect that decides a rule for every group of a kind: the most extreme of those with the worst outcome."""
    if len(places) == 1:
        return places[0]
    if any(p.status == "not judged" for p in places):
        return places[0]  # the reason is the same for all
    of = {s: [p for p in places if p.status == s] for s in ("fail", "not comparable", "inconclusive", "pass")}
    worst = of["fail"] or of["not comparable"] or of["inconclusive"] or of["pass"]

    def beyond(place: GateResult) -> float:
        if place.actual is None:
            return -math.inf
        return place.actual - place.expected if place.operator == "<=" else place.expected - place.actual

    counts = ", ".join(f"{len(found)} {status}" for status, found in of.items() if found)
    furthest = max(worst, key=beyond)
    return replace(
        furthest,
        reason=f"{furthest.where}: {furthest.reason} The most extreme of {len(places)} effects: {counts}.",
    )


def _summary(status: Status, gates: Sequence[GateResult], power: str, *, by_interval: bool) -> str:
    waiting = [g for g in gates if g.status == "not judged"]
    first = ""
    if waiting:
        rules = (
            "1 rule against the baseline was"
            if len(waiting) == 1
            else f"{len(waiting)} rules against the baseline were"
        )
        first = f" {rules} not judged. {waiting[0].reason}"
    if status == "not gated":
        kind = "other rule" if waiting else "rule"
        warnings = len(gates) > len(waiting)
        return f"{f'The {kind}s are warnings only' if warnings else f'No {kind} was given'}.{first}"
    errors = [g for g in gates if g.level == "error" and g.status != "not judged"]
    failed = [g.name for g in errors if g.status == "fail"]
    parts = []
    if failed:
        parts.append(f"{len(failed)} of {counted(len(errors), 'rule')} failed ({', '.join(failed)})")
    incomparable = [g.name for g in errors if g.status == "not comparable"]
    if incomparable:
        parts.append(
            f"{len(incomparable)} of {len(errors)} could not be compared with the baseline ({', '.join(incomparable)})"
        )
    fates = {"block": "", "fail": ", which counts as a failure", "pass": ", which the policy allows"}
    for policy, fate in fates.items():
        undecided = [g.name for g in errors if g.status == "inconclusive" and g.undecided == policy]
        if undecided:
            parts.append(f"{len(undecided)} of {len(errors)} could not be decided ({', '.join(undecided)}){fate}")
    if not parts:
        held = f"all {len(errors)} rules passed" if len(errors) > 1 else "the only rule passed"
        parts.append(f"{held}{', by the whole interval' if by_interval else ''}")
    said = "; ".join(parts)
    return f"{said[:1].upper()}{said[1:]}. {power}".strip() + first
