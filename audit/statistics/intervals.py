"""Intervals that account for patients and never collapse to a point: score intervals on effective counts, otherwise the patient bootstrap.

Which one is used depends on how many patients *carry* the change, in Kish's sense: (sum |s|)^2 / sum s^2 over patients' sums
s. A bootstrap can only resample what the sample contains: with few carriers its intervals are far too short, and with none
they are [0, 0]. So below `FEW_CARRIERS` the score test of a paired difference (Tango) or of a proportion (Wilson) is inverted
on counts divided by the design effect; above, the percentile bootstrap over patients is used, with Hesterberg's correction
for small samples. Measures without bounds (margins, likelihoods, Brier scores) are driven by a few outlying images, which
resampling cannot add: they use Student's t over patients, corrected for skewness. `benchmarks/interval_coverage.py` prints
the coverage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr, stdtrit

from audit.statistics.carriers import carriers, movers
from audit.statistics.crossed_interval import crossed_limits, error_of, in_parts
from audit.statistics.effective_counts import critical_value, stratified_limits, unseen_reach
from audit.statistics.patient_bootstrap import GAUSSIAN_FROM, PatientBootstrap
from audit.statistics.patient_sums import BOUNDED, PatientSums
from audit.statistics.power import detectable_difference, detectable_shift
from audit.statistics.skewness import skewness_of, with_skewness, without_skewness
from audit.store.numbers import number
from audit.store.results import IntervalKind

FEW_CARRIERS = 20.0
"""Below this many patients behind the change the bootstrap is not trusted: from 10, skewed shifts were covered 88 %."""
FEW_MOVERS = 8.0
"""The same for the patients behind the *variance*: small changes of all patients may hide that a few cause the whole
effect."""
UNSEEN_MOVE = 0.5
"""How much an image that the sample does not contain may change, as a share of a probability's range: the factor of the score
bound."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """What is known about one estimand in addition to its estimate."""

    low: float | None
    """Lower end; None where nothing can be said."""
    high: float | None
    """Upper end; None where nothing can be said."""
    p: float
    """Two-sided p of a true value of zero, from the score test or Student's t over patients."""
    minimum_detectable: float | None
    """Smallest effect that is detected with 80 % power; None if not even the largest possible effect is."""
    kind: IntervalKind
    """How the interval was made."""
    method: str
    """The method in words, with the reason for it."""
    reach: tuple[float, float] | None = None
    """Lower and upper half-width, which can be stretched for a higher level; None if the interval must be recomputed for another level."""


def share_interval(sums: PatientSums, level: float) -> Interval:
    """Wilson interval on effective counts for accuracy, recall (one stratum) or balanced accuracy (a stratum a class).

    Parameters
    ----------
    sums : PatientSums
        Of values in [0, 1].
    level : float
        Nominal coverage in (0, 1).
    """
    low, high, effect = stratified_limits(sums, level)
    how = f"Wilson score interval on effective counts (design effect {effect:.2f}, {sums.n_patients} patients)"
    return Interval(low=low, high=high, p=1.0, minimum_detectable=None, kind="score", method=how + _combined(sums))


def change_intervals(samples: Sequence[PatientSums], *, bootstrap: PatientBootstrap, level: float) -> list[Interval]:
    """Compute the interval of every estimand, with the method that its data allow.

    Parameters
    ----------
    samples : sequence of PatientSums
        Estimands of one cohort; those that need resampling share one matrix product.
    bootstrap : PatientBootstrap
        The cohort's resamples.
    level : float
        Nominal coverage in (0, 1).
    """
    made = [_without_resampling(s, level) for s in samples]
    open_samples = [s for s, interval in zip(samples, made, strict=True) if interval is None]
    if not open_samples:
        return [interval for interval in made if interval is not None]
    replicates = iter(bootstrap.replicates(open_samples).T)
    return [
        interval if interval is not None else _percentile(s, next(replicates), level)
        for s, interval in zip(samples, made, strict=True)
    ]


def widened_interval(sums: PatientSums, level: float) -> tuple[float | None, float | None]:
    """Recompute the ends of an interval that cannot be stretched (`Interval.reach` is None).

    Parameters
    ----------
    sums : PatientSums
        Behind the interval.
    level : float
        In (0, 1).
    """
    anew = _without_resampling(sums, level)
    return (None, None) if anew is None else (anew.low, anew.high)


def lengthened_interval(
    interval: Interval, estimate: float, n_patients: int, level: float, wider: float
) -> tuple[float | None, float | None]:
    """Stretch an interval by the ratio of Student's quantiles: a high quantile of few resamples is mostly noise.

    Parameters
    ----------
    interval : Interval
        At `level`, with a `reach`.
    estimate : float
        What it is about.
    n_patients : int
        Behind it.
    level, wider : float
        In (0, 1); `wider` is at least `level`.
    """
    if interval.low is None or interval.high is None or interval.reach is None or wider <= level:
        return interval.low, interval.high
    stretch = critical_value(wider, n_patients) / critical_value(level, n_patients)
    bottom, top = interval.reach
    return (
        max(bottom, estimate - stretch * (estimate - interval.low)),
        min(top, estimate + stretch * (interval.high - estimate)),
    )


def _reach(sums: PatientSums) -> tuple[float, float]:
    return (0.0 if sums.scale == "proportion" else -1.0), 1.0


def _t_p(statistic: float, n_patients: int) -> float:
    return float(2 * stdtr(max(1, n_patients - 1), -abs(statistic)))


def _combined(sums: PatientSums) -> str:
    return f"; {len(sums.totals)} classes combined by variance recovery" if len(sums.totals) > 1 else ""


def _without_resampling(sums: PatientSums, level: float) -> Interval | None:
    g, error = sums.n_patients, sums.standard_error
    critical = critical_value(level, g)
    if g < 2:
        known = sums.scale in BOUNDED
        return Interval(
            low=(0.0 if sums.scale == "proportion" else -1.0) if known else None,
            high=1.0 if known else None,
            p=1.0,
            minimum_detectable=None,
            kind="range" if known else "none",
            method="no information: only one patient" + (", the whole range" if known else ""),
        )
    if sums.scale not in BOUNDED:
        return _without_bounds(sums, level)
    if sums.lent is not None or sums.taught is not None:
        return _crossed(sums, critical, level)
    carried = min(carriers(sums.stratum(index)) for index in range(len(sums.totals)))
    rare = not sums.counted and movers(sums) < min(FEW_MOVERS, g / 4)
    if carried < FEW_CARRIERS or error <= 1e-15 or rare:
        return _score(sums, carried, critical, level)
    if g >= GAUSSIAN_FROM:
        return Interval(
            low=sums.estimate - critical * error,
            high=sums.estimate + critical * error,
            p=_t_p(sums.estimate / error, g),
            minimum_detectable=detectable_shift(error, critical),
            kind="gaussian",
            method=f"Gaussian limit of the patient bootstrap: {g} patients are so many that resampling adds nothing",
            reach=_reach(sums),
        )
    return None


def _score(sums: PatientSums, carried: float, critical: float, level: float) -> Interval:
    low, high, effect = stratified_limits(sums, level)
    name = "Wilson" if sums.scale == "proportion" else "Tango"
    n, total, moved = (float(x.sum()) / effect for x in (sums.sizes, sums.totals, sums.movement))
    churn = max(0.0, (moved - abs(total)) / 2 / n)
    single = len(sums.totals) == 1
    detectable = (
        detectable_difference(churn, n, critical) if single else detectable_shift((high - low) / 2 / critical, critical)
    )
    arm = 0.0 if sums.counted else unseen_reach(sums, level, UNSEEN_MOVE)
    bottom, top = _reach(sums)
    return Interval(
        low=max(bottom, min(low, sums.estimate - arm)),
        high=min(top, max(high, sums.estimate + arm)),
        p=_t_p(total / math.sqrt(moved), sums.n_patients) if moved > 0 else 1.0,
        minimum_detectable=detectable,
        kind="score",
        method=f"{name} score interval on effective counts (design effect {effect:.2f}): "
        f"{_few_words(sums, carried)}, too few to resample" + _combined(sums),
    )


def _crossed(sums: PatientSums, critical: float, level: float) -> Interval:
    """Return the interval over patients in both parts; it is never shorter than the one for few patients as images alone."""
    low, high, p, method = crossed_limits(sums, level)
    if sums.counted:
        least_low, least_high, _ = stratified_limits(sums, level)
        why = ", not shorter than the score interval on effective counts"
    else:
        arm = unseen_reach(sums, level, UNSEEN_MOVE)
        least_low, least_high = sums.estimate - arm, sums.estimate + arm
        why = ", not shorter than the score bound on changed images that the sample does not contain"
    bottom, top = _reach(sums)
    low, high = max(bottom, min(low, least_low)), min(top, max(high, least_high))
    return Interval(
        low=low,
        high=high,
        p=p,
        minimum_detectable=detectable_shift((high - low) / 2 / critical, critical),
        kind="student",
        method=method + why,
    )


def _without_bounds(sums: PatientSums, level: float) -> Interval:
    """Student's t over patients, corrected for skewness, never shorter than the score bound on changes that the sample lacks."""
    g, carried = sums.n_patients, carriers(sums)
    error, freedom = error_of(sums)
    critical = float(stdtrit(freedom, (1 + level) / 2))
    skewness, unseen, why = skewness_of(sums.influence, error), 0.0, ""
    if sums.scale == "contrast" and not sums.counted:
        unseen = unseen_reach(sums, level, UNSEEN_MOVE)
        why = ", not shorter than the score bound on changed images that the sample does not contain"
    elif carried < FEW_CARRIERS or error <= 1e-15:
        unseen = unseen_reach(sums, level, sums.spread, together=1.0)
        why = f", but not shorter than the score bound on unchanged images times the measure's natural unit: {_few_words(sums, carried)}"
    below, above = error * with_skewness(critical, skewness), error * with_skewness(-critical, skewness)
    statistic = without_skewness(sums.estimate / error, skewness) if error > 0 else 0.0
    return Interval(
        low=sums.estimate - max(below, unseen),
        high=sums.estimate + max(-above, unseen),
        p=float(2 * stdtr(freedom, -abs(statistic))),
        minimum_detectable=detectable_shift(max(error, unseen / critical), critical),
        kind="student",
        method=f"Student's t over {g} patients{in_parts(sums)}, {freedom:.0f} degrees of freedom, corrected for a "
        f"skewness of {number(skewness, 2)} (Hall){why}",
    )


def _percentile(sums: PatientSums, replicates: NDArray[np.float64], level: float) -> Interval:
    """Percentile interval at the higher level that gives nominal coverage for normal data (Hesterberg, Am. Stat. 2015)."""
    g, error = sums.n_patients, sums.standard_error
    critical = critical_value(level, g)
    tail = float(ndtr(-critical * math.sqrt(g / (g - 1))))
    low, high = np.quantile(replicates[np.isfinite(replicates)], [tail, 1 - tail]).tolist()
    arm = 0.0 if sums.counted else unseen_reach(sums, level, UNSEEN_MOVE)
    noted = (
        "" if sums.counted else ", not shorter than the score bound on changed images that the sample does not contain"
    )
    bottom, top = _reach(sums)
    return Interval(
        low=max(bottom, min(low, sums.estimate - arm)),
        high=min(top, max(high, sums.estimate + arm)),
        p=_t_p(sums.estimate / error, g),
        minimum_detectable=detectable_shift(max(error, arm / critical), critical),
        kind="bootstrap",
        method=f"percentile bootstrap over patients, {len(replicates)} resamples, widened for {g} patients{noted}",
        reach=_reach(sums),
    )


def _few_words(sums: PatientSums, carried: float) -> str:
    where = " in one of the classes" if len(sums.totals) > 1 else ""
    who = f"{carried:.1f} effective patients carry" if carried else "no patient carries"
    return f"{who} a change{where}"
