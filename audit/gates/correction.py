"""Several rules judged together: intervals widened by Holm's procedure, so that a false failure of any of them is rare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Limits = tuple[float, float]
"""Lower and upper end of an interval."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What a failing rule claims: that the true value exceeds its limit."""

    estimate: float
    """Of the measure."""
    low: float
    """Lower end of its own interval."""
    high: float
    """Upper end of the same."""
    limit: float
    """What it is compared with."""
    level: float
    """Coverage of the interval."""
    n_patients: int
    """Patients behind the estimate, which give the degrees of freedom of its interval."""
    above: bool
    """True if a value above the limit is a failure."""


def widen_by_holm(claims: Sequence[Claim]) -> list[Limits]:
    """Widen each interval to the level at which Holm's procedure over all claims tests it.

    Of m claims the strongest is judged at the m-th part of the error, the next at the (m-1)-th, and so on until one does not hold:
    from there on none does (Holm, Scand. J. Statist. 1979). Each end keeps its own distance from the estimate, stretched by the
    ratio of Student's quantiles over patients, so that with a single claim the interval is its own.

    Parameters
    ----------
    claims : sequence of Claim
        In any order.

    Returns
    -------
    list of (float, float)
        Lower and upper ends, in the order of the claims. A claim holds if its limit lies outside.
    """
    found: list[Limits] = [(claim.low, claim.high) for claim in claims]
    stopped = 0
    for rank, index in enumerate(sorted(range(len(claims)), key=lambda i: -_strength(claims[i]))):
        claim = claims[index]
        beside = stopped or len(claims) - rank
        stretch = _stretch(claim, beside)
        low = claim.estimate - stretch * max(0.0, claim.estimate - claim.low)
        high = claim.estimate + stretch * max(0.0, claim.high - claim.estimate)
        found[index] = (low, high)
        if not stopped and not (low > claim.limit if claim.above else high < claim.limit):
            stopped = beside
    return found


def _stretch(claim: Claim, beside: int) -> float:
    """Ratio of Student's quantiles over patients, at the error divided by the claims judged beside, and alone."""
    if beside == 1:
        return 1.0
    from scipy.special import stdtrit  # takes longer to import than most gates to judge

    error, freedom = (1 - claim.level) / 2, max(1, claim.n_patients - 1)
    return float(stdtrit(freedom, error / beside) / stdtrit(freedom, error))


def _strength(claim: Claim) -> float:
    """Distance of the estimate beyond the limit, in widths of its interval on that side."""
    beyond = claim.estimate - claim.limit if claim.above else claim.limit - claim.estimate
    width = claim.estimate - claim.low if claim.above else claim.high - claim.estimate
    if width > 0:
        return beyond / width
    return math.copysign(math.inf, beyond) if beyond else 0.0
