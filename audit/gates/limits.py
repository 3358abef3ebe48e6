"""Is an effect within the limit of its rule, does it exceed it, or is it undecided? With the reason in words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from audit.data.strings import shown_string
from audit.gates.needed import needed_in_words
from audit.gates.rules import Rule
from audit.statistics.blindness import CHECK_DECLARED
from audit.statistics.catalogue import CONTROL_MEASURE, MEASURES
from audit.statistics.selections import figure_in_words, is_change
from audit.statistics.verdicts import Limits, patients_for_verdict
from audit.store.numbers import bracketed, compact, counted, number, signed_bracketed
from audit.store.results import Effect


def is_exact(rule: Rule) -> bool:
    """Return whether the estimate itself is judged: an exact check of these images, or a rule that requests it."""
    return rule.evidence == "point" or rule.measure == CONTROL_MEASURE


NO_TITLES: Mapping[str, str] = MappingProxyType({})
"""Where conditions have no names for people."""


def compare_with_limit(
    rule: Rule, effect: Effect, min_images: int, sure: Limits | None, titles: Mapping[str, str] = NO_TITLES
) -> tuple[Literal["pass", "fail", "inconclusive"], str]:
    """Compare an effect with the limit of its rule.

    Parameters
    ----------
    rule : Rule
        The limit and its side.
    effect : Effect
        The estimate and its interval.
    min_images : int
        Images below which nothing is concluded.
    sure : tuple of float, optional
        The interval that a failure is based on, corrected for the rules that are judged together; None where there is none.
    titles : mapping
        Condition -> its name for people.

    Returns
    -------
    tuple of (str, str)
        The outcome, and the reason in words: what was compared with which limit, and what would decide it.
    """
    if effect.estimate is None:
        return "inconclusive", f"There is nothing to judge ({effect.method})."
    if effect.n_images < min_images:
        return "inconclusive", f"Only {counted(effect.n_images, 'image')}; the gate requires at least {min_images}."
    below = rule.operator == "<="
    limit, beyond, within_limit = _limit_in_words(rule, effect)
    if is_exact(rule):
        holds = effect.estimate <= rule.limit if below else effect.estimate >= rule.limit
        found = f"{_subject(rule, effect)}{compact(effect.estimate, 3)}"
        return ("pass" if holds else "fail"), f"{found} on these images {within_limit if holds else beyond} {limit}."
    low, high = effect.low, effect.high
    if low is None or high is None or sure is None:
        return "inconclusive", f"There is no interval ({effect.method})."
    written = signed_bracketed if rule.against == "baseline" else bracketed
    found = f"{_subject(rule, effect)}{written(effect.estimate, low, high)}"
    if (sure[0] > rule.limit) if below else (sure[1] < rule.limit):
        return rule.if_exceeded, f"{found} {beyond} {limit}."
    within = (high <= rule.limit) if below else (low >= rule.limit)
    counter = _counterpart(rule, effect)
    placebo = titles.get(effect.placebo or "", effect.placebo)
    if within and counter is not None and ((high < counter) if below else (low > counter)):
        return "inconclusive", (
            f"{found}: the placebo ({placebo}) disturbs the network more than the edit, which can hide an effect, so "
            "this is no evidence that the effect is within the limit. Use an edit with another fill."
        )
    if within and counter is not None and ((low < counter) if below else (high > counter)):
        return "inconclusive", (
            f"{found} {within_limit} {limit}, but includes {compact(counter)}: the placebo ({placebo}) may disturb the network more "
            f"than the edit.{_needed(rule, effect, sure, counter)}"
        )
    if within and effect.blind:
        return "inconclusive", (
            f"{found} {within_limit} {limit}, but the network's predictions of the unedited images hardly vary, always name one class or "
            f"are saturated, so this is no evidence that the effect is small. {CHECK_DECLARED}"
        )
    if within and effect.classes_absent:
        missing = ", ".join(shown_string(name) for name in effect.classes_absent)
        return "inconclusive", (
            f"{found} {within_limit} {limit}, but no image of class {missing} could be edited this way, so nothing can be concluded "
            'about that class. A rule for group = "class=*" judges each class that could be edited.'
        )
    if within:
        return "pass", f"{found} {within_limit} {limit}."
    if (low > rule.limit) if below else (high < rule.limit):
        return "inconclusive", (
            f"{found} {beyond} {limit}, but not after correction for multiple comparisons "
            f"({number(sure[0])} to {number(sure[1])}).{_needed(rule, effect, sure, counter)}"
        )
    return "inconclusive", f"{found} includes {limit}.{_needed(rule, effect, sure, counter)}"


def _subject(rule: Rule, effect: Effect) -> str:
    """Name the figure that is compared with the limit where the numbers alone could be mistaken for the measure itself."""
    figure = figure_in_words(rule.measure, effect.condition)
    if rule.against == "baseline":
        return f"Change in {figure.removeprefix('change in ')} since the baseline: "
    return f"{figure[:1].upper()}{figure[1:]} " if is_exact(rule) or is_change(rule.measure, effect.condition) else ""


def _limit_in_words(rule: Rule, effect: Effect) -> tuple[str, str, str]:
    """Return the limit, and the verbs for its wrong and its right side.

    A limit on a fall is given as the size of the fall; what a figure itself must reach is a minimum, not a limit.
    """
    falls = rule.operator == ">="
    if rule.against == "baseline" or (falls and rule.limit <= 0 and is_change(rule.measure, effect.condition)):
        return f"the limit of {compact(abs(rule.limit))} on its {'fall' if falls else 'rise'}", "exceeds", "is within"
    if falls:
        return f"the minimum of {compact(rule.limit)}", "is below", "is not below"
    return f"the limit of {compact(rule.limit)}", "exceeds", "is within"


def _counterpart(rule: Rule, effect: Effect) -> float | None:
    """Return the limit on the other side: beyond it the placebo disturbs the network more than the edit, which is not a pass.

    None where the limit is one-sided: a figure without a placebo, a change from the baseline, sufficiency, or the harmless
    side.
    """
    bounds_harm = (rule.operator == ">=") == MEASURES[rule.measure].falls
    if effect.placebo is None or rule.against == "baseline" or MEASURES[rule.measure].one_sided or not bounds_harm:
        return None
    reach = max(abs(rule.limit), effect.tolerance or 0.0)
    return -reach if rule.operator == "<=" else reach


def _needed(rule: Rule, effect: Effect, sure: Limits, counter: float | None) -> str:
    """State how many patients would decide."""
    assert effect.estimate is not None
    assert effect.low is not None
    assert effect.high is not None
    sign = 1.0 if rule.operator == "<=" else -1.0
    own: Limits = (effect.low, effect.high)
    needed = patients_for_verdict(
        sign * effect.estimate,
        own if sign > 0 else (-own[1], -own[0]),
        sure if sign > 0 else (-sure[1], -sure[0]),
        upper=sign * rule.limit,
        lower=None if counter is None else sign * counter,
        n_patients=effect.n_patients,
    )
    words = needed_in_words(needed, effect.n_patients)
    return f" {words[:1].upper()}{words[1:]}."
