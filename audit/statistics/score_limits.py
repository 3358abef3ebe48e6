"""Inverted score tests: limits of a paired difference and of a proportion, from counts that need not be integers."""

from __future__ import annotations

import math


def tango_limits(gained: float, lost: float, n: float, critical: float) -> tuple[float, float]:
    """Invert the score test of a paired difference of proportions (Tango, Stat. Med. 1998, eq. 9 to 11).

    Parameters
    ----------
    gained, lost : float
        Discordant pairs in either direction; need not be whole (effective counts).
    n : float
        All pairs, > 0.
    critical : float
        Quantile of the reference distribution (1.96 for 95 %).

    Returns
    -------
    low, high : float
        Limits of (gained - lost) / n, within [-1, 1], never of length zero.
    """
    estimate = (gained - lost) / n

    def score(delta: float) -> float:
        b = -gained - lost + (2 * n - gained + lost) * delta
        c = -lost * delta * (1 - delta)
        nuisance = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
        variance = n * (2 * nuisance + delta * (1 - delta))
        distance = gained - lost - n * delta
        if variance <= 0:
            return 0.0 if distance == 0 else math.copysign(math.inf, distance)
        return distance / math.sqrt(variance)

    def limit(outside: float) -> float:
        inside = estimate
        if abs(score(outside)) <= critical:
            return outside
        for _ in range(60):
            middle = (inside + outside) / 2
            if abs(score(middle)) <= critical:
                inside = middle
            else:
                outside = middle
        return inside

    return limit(-1.0), limit(1.0)


def wilson_limits(successes: float, n: float, critical: float) -> tuple[float, float]:
    """Invert the score test of a proportion (Wilson, JASA 1927); counts may be effective, not whole.

    Parameters
    ----------
    successes : float
        Between 0 and n.
    n : float
        Trials, > 0.
    critical : float
        Quantile of the reference distribution.
    """
    share, z2 = successes / n, critical * critical
    centre = (successes + z2 / 2) / (n + z2)
    arm = critical * math.sqrt(max(0.0, share * (1 - share) * n + z2 / 4)) / (n + z2)
    return max(0.0, min(share, centre - arm)), min(1.0, max(share, centre + arm))
