"""What the data could have shown: the smallest effect found in 80 % of repetitions, and how many patients decide."""

from __future__ import annotations

import math

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
    """Smallest paired difference of counts found with 80 % power; None if not even 1 would be.

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


def patients_to_decide(estimate: float, low: float, high: float, limit: float, n_patients: int) -> int | None:
    """Patients at which an interval round the same estimate would leave `limit` outside.

    The interval's arm shrinks with the square root of the number of patients. None where the estimate sits on the
    limit, so that no number decides.

    Parameters
    ----------
    estimate, low, high, limit : float
        In the measure's own unit; the interval holds the limit.
    n_patients : int
        Patients behind the interval.
    """
    gap = abs(limit - estimate)
    arm = (high - estimate) if limit > estimate else (estimate - low)
    if gap < 1e-9:
        return None
    return max(n_patients + 1, math.ceil(n_patients * (arm / gap) ** 2))
