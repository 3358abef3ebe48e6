"""Sensitive, robust, bounded, reversed or inconclusive: an effect compared with its tolerance.

- *sensitive*: the whole simultaneous interval exceeds the tolerance on the harmful side (for accuracy, a fall).
- *robust*: the whole interval lies between minus and plus the tolerance. A two-sided statement.
- *bounded*: of a one-sided measure, the upper bound lies below the tolerance. How far below carries no meaning.
- *reversed*: the whole interval lies beyond the tolerance on the other side. The placebo disturbs the network more than the
  edit, which can hide what the edit shows: no evidence of robustness.
- *inconclusive*: the interval includes a limit, a class could not be edited, or the network's predictions of the unedited images
  leave no room for an effect (`audit.statistics.blindness`, `audit.statistics.saturation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from audit.statistics.catalogue import CONTROL_MEASURE, MEASURES
from audit.statistics.power import patients_to_decide
from audit.store.results import Effect, EffectVerdict

Limits = tuple[float, float]
"""Lower and upper end of an interval."""


def judge_effect(effect: Effect) -> Effect:
    """Judge an effect; if this sample does not decide it, estimate how many patients would.

    *Sensitive* is based on the simultaneous interval, which is corrected for all judged effects; the other verdicts are based
    on the effect's own interval, because each claim that an effect is small is tested individually. An effect is not robust
    where a class could not be edited.

    Parameters
    ----------
    effect : Effect
        With its intervals and tolerance.
    """
    found = _read(effect)
    if found is None:
        return replace(effect, verdict="inconclusive", patients_to_decide=None)
    estimate, own, sure, tolerance = found
    lower = None if MEASURES[effect.measure].one_sided else -tolerance
    verdict = _verdict(own, sure, tolerance, lower)
    if verdict in ("robust", "bounded") and (effect.classes_absent or effect.blind):
        return replace(effect, verdict="inconclusive", patients_to_decide=None)
    needed = None
    if verdict == "inconclusive":
        needed = patients_for_verdict(estimate, own, sure, upper=tolerance, lower=lower, n_patients=effect.n_patients)
    return replace(effect, verdict=verdict, patients_to_decide=needed)


def is_within(effect: Effect) -> bool:
    """Return whether an effect's own interval lies within its limits, even if some classes could not be edited."""
    found = _read(effect)
    if found is None:
        return False
    _, own, sure, tolerance = found
    return _verdict(own, sure, tolerance, None if MEASURES[effect.measure].one_sided else -tolerance) in (
        "robust",
        "bounded",
    )


def _read(effect: Effect) -> tuple[float, Limits, Limits, float] | None:
    """Return estimate, own and simultaneous interval, large where harmful, and the tolerance; None where one is lacking."""
    if effect.tolerance is None or effect.estimate is None or effect.low is None or effect.high is None:
        return None
    own: Limits = (effect.low, effect.high)
    sure: Limits = own
    if effect.simultaneous_low is not None and effect.simultaneous_high is not None:
        sure = (effect.simultaneous_low, effect.simultaneous_high)
    if MEASURES[effect.measure].falls:
        return -effect.estimate, (-own[1], -own[0]), (-sure[1], -sure[0]), effect.tolerance
    return effect.estimate, own, sure, effect.tolerance


def control_failures(effects: Sequence[Effect]) -> list[Effect]:
    """Return the controls that changed something: a condition of that role must not change any probability."""
    return [e for e in effects if e.measure == CONTROL_MEASURE and e.estimate not in (None, 0.0)]


def _verdict(own: Limits, sure: Limits, upper: float, lower: float | None) -> EffectVerdict:
    if sure[0] > upper:
        return "sensitive"
    if lower is None:
        return "bounded" if own[1] < upper else "inconclusive"
    if own[1] < lower:
        return "reversed"
    return "robust" if own[0] > lower and own[1] < upper else "inconclusive"


def patients_for_verdict(
    estimate: float, own: Limits, sure: Limits, *, upper: float, lower: float | None, n_patients: int
) -> int | None:
    """Estimate how many patients would decide at this estimate, for verdicts and gates alike; None where no number would.

    If the estimate lies above the upper limit, the simultaneous interval must exclude that limit; if below, the effect's own
    interval must exclude both limits.

    Parameters
    ----------
    estimate : float
        Large where harmful.
    own, sure : tuple of (float, float)
        The effect's own interval, and the simultaneous one.
    upper : float
        The limit.
    lower : float or None
        Its counterpart on the other side; None for one-sided statements.
    n_patients : int
        Patients behind the estimate.
    """
    if estimate > upper:
        return patients_to_decide(estimate, *sure, upper, n_patients)
    limits = [limit for limit in (upper, lower) if limit is not None and own[0] <= limit <= own[1]]
    needed = [patients_to_decide(estimate, *own, limit, n_patients) for limit in limits]
    known = [n for n in needed if n is not None]
    return max(known) if known and len(known) == len(needed) else None
