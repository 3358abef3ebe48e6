"""Sensitive, robust or inconclusive: an effect held against its tolerance."""

from __future__ import annotations

from dataclasses import replace

from audit.results import Effect, EffectVerdict
from audit.statistics.power import patients_to_decide


def judge_effect(effect: Effect) -> Effect:
    """Judge an effect, and say how many patients would decide it where these do not.

    *Sensitive* rests on the interval that holds together with those of all judged effects, *robust* on its own: each claim of
    safety stands for itself. An effect is not robust where a class could not be edited: nothing is shown of it.

    Parameters
    ----------
    effect : Effect
        With its intervals and tolerance.
    """
    verdict = _verdict(effect)
    needed = None
    if (
        verdict == "inconclusive"
        and effect.estimate is not None
        and effect.tolerance is not None
        and not _is_within(effect)
    ):
        limit = -effect.tolerance if effect.measure == "accuracy" and effect.estimate < 0 else effect.tolerance
        low, high = effect.low, effect.high
        if effect.estimate > limit or effect.measure == "accuracy":
            low, high = effect.simultaneous_low, effect.simultaneous_high
        if low is not None and high is not None:
            needed = patients_to_decide(effect.estimate, low, high, limit, effect.n_patients)
    return replace(effect, verdict=verdict, patients_to_decide=needed)


def _verdict(effect: Effect) -> EffectVerdict:
    surely_low, surely_high, tolerance = effect.simultaneous_low, effect.simultaneous_high, effect.tolerance
    if tolerance is None or surely_low is None or surely_high is None:
        return "inconclusive"
    # One-sided but for accuracy: a placebo that moves more than the edit is no sign of a shortcut.
    if surely_high < -tolerance if effect.measure == "accuracy" else surely_low > tolerance:
        return "sensitive"
    return "robust" if _is_within(effect) and not effect.classes_absent else "inconclusive"


def _is_within(effect: Effect) -> bool:
    low, high, tolerance = effect.low, effect.high, effect.tolerance
    if low is None or high is None or tolerance is None:
        return False
    return high < tolerance and (effect.measure != "accuracy" or low > -tolerance)
