"""Power: the smallest effect that is detected with 80 % power, and the number of patients that would decide."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from audit.statistics.selections import headlines
from audit.store.group import ALL
from audit.store.numbers import number
from audit.store.results import Effect

POWER_QUANTILE = 0.8416212335729143
"""80 % quantile of the standard normal."""


def detectable_shift(standard_error: float, critical: float) -> float | None:
    """Smallest shift found with 80 % power by an interval of half-width `critical` standard errors.

    Parameters
    ----------
    standard_error : float
        In the measure's own unit.
    critical : float
        Quantile behind the interval (1.96 for 95 %).
    """
    found = (critical + POWER_QUANTILE) * standard_error
    return found if math.isfinite(found) else None


def detectable_difference(churn: float, n: float, critical: float) -> float | None:
    """Smallest paired difference of counts that is detected with 80 % power; None if not even 1 is.

    Solves McNemar's power equation for the difference t: with a share `churn` of images moving each way besides,
    the discordant share is v = 2 churn + t, and  n t^2 = (critical sqrt(v) + 0.84 sqrt(v - t^2))^2
    (Connor, Biometrics 1987).

    Parameters
    ----------
    churn : float
        Share of images that change against the direction of the effect.
    n : float
        Images, divided by the design effect.
    critical : float
        Quantile behind the interval (1.96 for 95 %).
    """

    def surplus(t: float) -> float:
        v = 2 * churn + t
        return t * math.sqrt(n) - critical * math.sqrt(v) - POWER_QUANTILE * math.sqrt(max(0.0, v - t * t))

    low, high = 0.0, 1.0
    if surplus(high) <= 0:
        return None
    for _ in range(60):
        middle = (low + high) / 2
        if surplus(middle) > 0:
            high = middle
        else:
            low = middle
    return high


def detectable_beyond(
    tolerance: float, standard_error: float, critical: float, n_patients: int, *, move: float
) -> float | None:
    """Smallest true effect that is shown to exceed a tolerance with 80 % power; None if not even `move` is.

    An effect is shown when the lower end of its simultaneous interval exceeds the tolerance. Its standard error under the
    effect is not the observed one: an effect t that comes from a share t / move of the patients adds a variance of t (move -
    t) to that of the noise. A sample without any change therefore does not claim that it would detect every effect.

    Parameters
    ----------
    tolerance : float
        In the measure's own unit.
    standard_error : float
        Observed.
    critical : float
        Quantile behind the simultaneous interval.
    n_patients : int
        Patients behind the estimate.
    move : float
        Assumed change of a patient whose predictions change at all.
    """

    def missing(t: float) -> float:
        error = math.sqrt(standard_error**2 + max(0.0, t * (move - t)) / n_patients)
        return tolerance + (critical + POWER_QUANTILE) * error - t

    if missing(move) > 0:
        return None
    low, high = tolerance, move
    for _ in range(60):
        middle = (low + high) / 2
        if missing(middle) > 0:
            low = middle
        else:
            high = middle
    return high


def weakest_power(effects: Sequence[Effect]) -> Effect | None:
    """Return the judged effect over all images with the least power; None where nothing was judged.

    Every rendering and the gates use this one: the figure of another edit would overstate the audit's power. An effect that
    cannot be detected at any size comes first.

    Parameters
    ----------
    effects : sequence of Effect
        Of one run.
    """
    summing = headlines().values()
    judged = [
        e
        for e in effects
        if e.tolerance is not None and e.group == ALL and e.measure in summing and e.estimate is not None
    ]
    return max(judged, key=lambda e: math.inf if e.minimum_detectable is None else e.minimum_detectable, default=None)


def power_sentence(effects: Sequence[Effect], titles: Mapping[str, str]) -> str:
    """State the smallest detectable effect of the run, for the judged condition with the least power; empty where nothing was judged.

    `titles` gives conditions their names for people; one that it lacks keeps its own.
    """
    weakest = weakest_power(effects)
    if weakest is None:
        return ""
    name = titles.get(weakest.condition, weakest.condition)
    if weakest.minimum_detectable is None:
        return f"This sample is too small to show an effect of {name}, however large, with 80 % power."
    return (
        f"With this sample, an effect of {number(weakest.minimum_detectable)} or more is detected with at least 80 % power under every "
        f"judged condition (lowest power: {name})."
    )


def patients_to_decide(estimate: float, low: float, high: float, limit: float, n_patients: int) -> int | None:
    """Number of patients at which an interval around the same estimate would exclude `limit`, to two digits.

    More digits would claim to know the estimate, of which the number is a square. The interval's half-width shrinks with the
    square root of the number of patients. None if the estimate equals the limit, so that no number of patients decides.

    Parameters
    ----------
    estimate, low, high, limit : float
        In the measure's own unit; the interval includes the limit.
    n_patients : int
        Patients behind the interval.
    """
    gap = abs(limit - estimate)
    arm = (high - estimate) if limit > estimate else (estimate - low)
    if gap < 1e-9:
        return None
    needed = max(n_patients + 1, math.ceil(n_patients * (arm / gap) ** 2))
    unit = int(10 ** max(0, len(str(needed)) - 2))
    return math.ceil(needed / unit) * unit
