"""What the audits of a zoo add up to: detection and false-alarm rates with exact intervals, bias and coverage, and the targets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from audit.calibration.judgements import (
    LEVEL,
    Rate,
    in_words,
    is_false_alarm,
    is_found,
    is_wrongly_robust,
    names_its_cause,
    rate,
    true_effect,
)
from audit.calibration.kinds import find_kind
from audit.calibration.outcomes import Estimate, Outcome
from audit.calibration.plants import Family, is_named
from audit.calibration.truth import Truth
from audit.calibration.zoo import DESIGNS
from audit.store.numbers import signed_bracketed

ENOUGH = 20
"""Networks or estimates from which on a target is judged."""
_UNDECIDED, _PASSED = 3, 0


@dataclass(frozen=True, kw_only=True)
class Detection:
    """How the networks of one group came out."""

    group: str
    """Family, or kind, share and dose."""
    truth: float
    """Mean true effect of taking the plant away, over all images."""
    found: Rate
    """Exit code 1."""
    named: Rate
    """Of those found: the kind stands in the first sentence."""
    undecided: int
    """Exit code 3."""
    passed: int
    """Exit code 0."""


@dataclass(frozen=True, kw_only=True)
class FalseAlarms:
    """What happened to null networks of one design."""

    design: str
    """A key of `audit.calibration.zoo.DESIGNS`, "not learnt", or "all"."""
    alarms: Rate
    """Exit code 1, or any effect called sensitive."""
    undecided: int
    """Exit code 3."""
    passed: int
    """Exit code 0."""


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How near the estimates of one condition are to the truth."""

    condition: str
    """Name of the condition; of objects without their number."""
    plants: str
    """Family of what it edits, its kind, or how it goes with the class: estimates are compared with the truth of these plants."""
    group: str
    """`all`, or `with a string`: those that bear one of the strings that the audit judges."""
    n: int
    """Networks."""
    bias: float
    """Mean of estimate minus truth."""
    bias_low: float
    """Lower end of Student's 95 % interval; equal to the bias for one network."""
    bias_high: float
    """Upper end."""
    coverage: Rate
    """Intervals that hold the truth."""
    robust_although_beyond: int
    """Called robust while the truth exceeds the limit."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One target of the instrument."""

    name: str
    """What is wanted, in words."""
    found: str
    """What was measured, in words."""
    status: Literal["pass", "fail", "too few"]
    """Whether it is met; too few: fewer than `ENOUGH` networks or estimates cannot tell."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Everything that a zoo shows about the audit."""

    families: tuple[Detection, ...]
    """Networks whose plant must be found, by family."""
    kinds: tuple[Detection, ...]
    """Every planted network, by kind, share and dose."""
    false_alarms: tuple[FalseAlarms, ...]
    """Null networks, by design, and all."""
    accuracies: tuple[Accuracy, ...]
    """Estimates against the truth, by condition and family."""
    by_kind: tuple[Accuracy, ...]
    """The same over all images by kind of plant, or by design where no class alone carries it."""
    targets: tuple[Target, ...]
    """The targets, each with what was measured."""


def make_table(outcomes: Sequence[Outcome]) -> Table:
    """Add up the outcomes of a zoo."""
    must = [o for o in outcomes if o.truth.rank == "planted"]
    planted = [o for o in outcomes if o.case.design == "planted"]
    families = _detections((find_kind(o.case.kind).family, o) for o in must)
    accuracies = tuple(_accuracies(_by_family(outcomes)))
    alarms = tuple(_false_alarms([o for o in outcomes if o.truth.rank == "null"]))
    return Table(
        families=families,
        kinds=_detections((f"{o.case.kind}, {100 * o.case.share:.0f} %, {o.case.dose}", o) for o in planted),
        false_alarms=alarms,
        accuracies=accuracies,
        by_kind=tuple(_accuracies(_by_kind(outcomes))),
        targets=tuple(_targets(must, alarms[-1], accuracies, outcomes)),
    )


def _detections(found: Iterable[tuple[str, Outcome]]) -> tuple[Detection, ...]:
    by_group: dict[str, list[Outcome]] = defaultdict(list)
    for group, outcome in found:
        by_group[group].append(outcome)
    return tuple(_detection(group, members) for group, members in by_group.items())


def _detection(group: str, members: Sequence[Outcome]) -> Detection:
    hits = [o for o in members if is_found(o)]
    return Detection(
        group=group,
        truth=float(np.mean([o.truth.removed for o in members])),
        found=rate(len(hits), len(members)),
        named=rate(sum(names_its_cause(o) for o in hits), len(hits)),
        undecided=_count(members, _UNDECIDED),
        passed=_count(members, _PASSED),
    )


def _count(members: Sequence[Outcome], code: int) -> int:
    return sum(o.finding.exit_code == code for o in members)


def _false_alarms(nulls: Sequence[Outcome]) -> Iterable[FalseAlarms]:
    by_design: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in nulls:
        by_design["not learnt" if outcome.case.design == "planted" else outcome.case.design].append(outcome)
    for design, members in [*by_design.items(), ("all", list(nulls))]:
        yield FalseAlarms(
            design=design,
            alarms=rate(sum(map(is_false_alarm, members)), len(members)),
            undecided=_count(members, _UNDECIDED),
            passed=_count(members, _PASSED),
        )


_Known = tuple[tuple[str, str, str], Estimate, float]  # condition, plants and group; an estimate; its truth


def _by_family(outcomes: Sequence[Outcome]) -> Iterable[_Known]:
    for outcome in outcomes:
        for estimate in outcome.finding.estimates:
            truth = true_effect(outcome, estimate)
            if truth is None:
                continue
            family = "text" if is_named(("text",), estimate.suspect) else find_kind(outcome.case.kind).family
            group = "all" if estimate.group == "all" else "with a string"
            yield (_one_estimator(estimate), str(family), group), estimate, truth


def _by_kind(outcomes: Sequence[Outcome]) -> Iterable[_Known]:
    """Yield what is known over all images, by kind of plant where one class carries it, else by design."""
    # Where nothing is planted, or the same in both classes, the truth is 0 under every edit towards another.
    for outcome in outcomes:
        for estimate in outcome.finding.estimates:
            if estimate.group != "all" or is_named(("text",), estimate.suspect):
                continue
            design, truth = outcome.case.design, true_effect(outcome, estimate)
            if truth is None and not estimate.removes and design in ("none", "alike"):
                truth = 0.0
            if truth is not None:
                plants = outcome.case.kind if design == "planted" else DESIGNS[design]
                yield (_one_estimator(estimate), plants, "all"), estimate, truth


def _accuracies(known: Iterable[_Known]) -> Iterable[Accuracy]:
    by_condition: dict[tuple[str, str, str], list[tuple[Estimate, float]]] = defaultdict(list)
    for key, estimate, truth in known:
        by_condition[key].append((estimate, truth))
    for (condition, plants, group), pairs in sorted(by_condition.items()):
        errors = np.array([estimate.estimate - truth for estimate, truth in pairs])
        low, high = mean_limits(errors)
        yield Accuracy(
            condition=condition,
            plants=plants,
            group=group,
            n=len(pairs),
            bias=float(errors.mean()),
            bias_low=low,
            bias_high=high,
            coverage=rate(sum(e.low <= truth <= e.high for e, truth in pairs), len(pairs)),
            robust_although_beyond=sum(e.verdict == "robust" and truth > e.tolerance for e, truth in pairs),
        )


def _one_estimator(estimate: Estimate) -> str:
    """Return what is estimated alike: objects have numbers, which only say in which order they were proposed."""
    if estimate.on_plant is None:
        return estimate.condition
    return "object-added" if estimate.adds else "object-removed"


def mean_limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return Student's 95 % interval of a mean; the value itself, twice, of one."""
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return mean, mean
    arm = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return mean - arm, mean + arm


_AT_LEAST: tuple[tuple[tuple[Family, ...], float], ...] = (
    (("text",), 0.95),
    (("object", "border", "grey curve", "sharpness", "source"), 0.85),
)


def _targets(
    must: Sequence[Outcome], nulls: FalseAlarms, accuracies: Sequence[Accuracy], outcomes: Sequence[Outcome]
) -> Iterable[Target]:
    alarms = nulls.alarms
    yield _target("False alarms on null networks: at most 5 %", alarms, alarms.n, alarms.hits <= 0.05 * alarms.n)
    yield _target("Upper bound of their rate: at most 8 %", alarms, alarms.n, alarms.high <= 0.08)
    for families, least in _AT_LEAST:
        for family in families:
            members = [o for o in must if find_kind(o.case.kind).family == family]
            found = rate(sum(map(is_found, members)), len(members))
            yield _target(
                f"Found, {family}: at least {100 * least:.0f} %", found, found.n, found.hits >= least * found.n
            )
    hits = [o for o in must if is_found(o)]
    named = rate(sum(map(names_its_cause, hits)), len(hits))
    yield _target(
        "Named in the first sentence: at least 85 % of those found", named, named.n, named.hits >= 0.85 * named.n
    )
    wrong = rate(sum(map(is_wrongly_robust, outcomes)), len(outcomes))
    yield _target(
        "Robust although the truth exceeds the limit: at most 2 % of networks",
        wrong,
        wrong.n,
        wrong.hits <= 0.02 * wrong.n,
    )
    for a in accuracies:
        named_so = f"{a.condition} against {a.plants}{'' if a.group == 'all' else f', {a.group}'}"
        yield Target(
            name=f"Bias of {named_so}: at most 0.015",
            found=f"{signed_bracketed(a.bias, a.bias_low, a.bias_high)}, n = {a.n}",
            status=_status(a.n, abs(a.bias) <= 0.015),
        )
        yield Target(
            name=f"Coverage of {named_so}: 93 to 97 %",
            found=in_words(a.coverage),
            # No number of networks below hundreds shows 93 to 97 %: it fails where the interval excludes all of it.
            status=_status(a.n, a.coverage.high >= 0.93 and a.coverage.low <= 0.97),
        )


def _target(name: str, found: Rate, n: int, met: bool) -> Target:
    return Target(name=name, found=in_words(found), status=_status(n, met))


def _status(n: int, met: bool) -> Literal["pass", "fail", "too few"]:
    return "too few" if n < ENOUGH else "pass" if met else "fail"


def truth_in_words(truth: Truth) -> str:
    """Return a truth as tables hold it: over all images, and over carriers where not all carry."""
    if truth.removed_carriers is None or truth.n_carriers == truth.n_images:
        return f"{truth.removed:.3f}"
    return f"{truth.removed:.3f} ({truth.removed_carriers:.3f} of {truth.n_carriers})"
