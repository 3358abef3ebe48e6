"""Intervals of estimands that are not means over images (AUC, ECE, ratios): Student's t over each patient's influence on the estimate.

The influences are skewed: a few badly misranked images lower an AUC. The statistic is corrected for skewness before it is
compared with Student's t (`audit.statistics.skewness`). Near the maximum this is not enough, because the sample may lack such
images: an AUC's interval is at least as wide as the one computed on log odds. `benchmarks/interval_coverage.py` prints the
coverage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtr, stdtrit

from audit.statistics.intervals import FEW_CARRIERS, Interval
from audit.statistics.power import detectable_shift
from audit.statistics.skewness import skewness_of, with_skewness, without_skewness
from audit.store.numbers import number


@dataclass(frozen=True, kw_only=True)
class PatientInfluence:
    """An estimand that is not a mean, given by the influence of each of g patients."""

    estimate: float
    """Its value on the sample."""
    influence: NDArray[np.float64]
    """(g,) influence of each patient of the cohort on the estimate: first order, or leave-one-out."""
    n_images: int
    """Images behind it."""
    n_patients: int
    """Patients behind it."""
    fewest: int
    """Images of the rarer side, which limit the precision: the positives of an AUC, or all images."""
    bounds: tuple[float, float]
    """Where the estimate can lie."""
    kind: str
    """How the influence was found, for the description of the method."""
    unit: float = 1.0
    """How far a single image can move the estimate, times the images: its natural unit."""
    bias: tuple[float, float] = (0.0, 0.0)
    """Range of its bias; the interval is widened by all of it."""
    variance_beside: float = 0.0
    """Variance that patients do not show: of a finder's recall, known from another sample."""
    widening: float | None = None
    """What the sum of squared influences underestimates the variance by; None for g / (g - 1)."""
    freedom: float | None = None
    """Degrees of freedom of the standard error; None for g - 1. Below 1 nothing is known."""
    on_log_odds: bool = False
    """Whether the interval reaches as far as the one made on the scale of log odds: for what lies in [0, 1], near 1."""
    enough: float = FEW_CARRIERS
    """Effective patients from which the standard error is trusted."""

    @cached_property
    def standard_error(self) -> float:
        """Standard error over patients, with the variance from other samples; infinite for fewer than two patients."""
        g = self.n_patients
        if g < 2:
            return math.inf
        widening = g / (g - 1) if self.widening is None else self.widening
        return math.sqrt(widening * float(np.square(self.influence).sum()) + self.variance_beside)

    @cached_property
    def skewness(self) -> float:
        """Skewness of the estimate over samples of patients."""
        return skewness_of(self.influence, self.standard_error)

    @cached_property
    def carriers(self) -> float:
        """Effective number of patients behind the estimate's uncertainty, (sum |s|)^2 / sum s^2 of their influences."""
        squares = float(np.square(self.influence).sum())
        return float(np.abs(self.influence).sum()) ** 2 / squares if squares > 0 else 0.0


def jackknife_interval(sample: PatientInfluence, level: float) -> Interval:
    """Compute a two-sided interval of Student's t over patients, corrected for skewness and clipped to the range of the estimate.

    If few patients carry the uncertainty, it is never shorter than the score bound on a proportion of zero: critical² / (n +
    critical²) of the natural unit. An estimate without any change therefore never has an interval of width zero.

    Parameters
    ----------
    sample : PatientInfluence
    level : float
        Nominal coverage in (0, 1).
    """
    g, error = sample.n_patients, sample.standard_error
    low_end, high_end = sample.bounds
    freedom = g - 1 if sample.freedom is None else sample.freedom
    if g < 2 or freedom < 1:
        return Interval(
            low=low_end if math.isfinite(low_end) else None,
            high=high_end if math.isfinite(high_end) else None,
            p=1.0,
            minimum_detectable=None,
            kind="range" if math.isfinite(low_end) and math.isfinite(high_end) else "none",
            method="no information: only one patient, the whole range",
        )
    critical = float(stdtrit(freedom, (1 + level) / 2))
    unseen, why = 0.0, ""
    if sample.carriers < sample.enough:
        over_all = float(stdtrit(g - 1, (1 + level) / 2))
        unseen = over_all**2 / (sample.fewest + over_all**2) * sample.unit
        why = f", but not shorter than the score bound: {sample.carriers:.1f} effective patients carry it"
    below, above = (error * with_skewness(t, sample.skewness) for t in (critical, -critical))
    statistic = without_skewness(sample.estimate / error, sample.skewness) if error > 0 else 0.0
    low, high = sample.estimate - max(below, unseen), sample.estimate + max(-above, unseen)
    if sample.on_log_odds and 0 < sample.estimate < 1:
        middle, arm = logit(sample.estimate), critical * error / (sample.estimate * (1 - sample.estimate))
        low, high = min(low, float(expit(middle - arm))), max(high, float(expit(middle + arm)))
        why = f" or, if that is wider, on log odds{why}"
    return Interval(
        low=max(low_end, low - sample.bias[1]),
        high=min(high_end, high - sample.bias[0]),
        p=float(2 * stdtr(freedom, -abs(statistic))),
        minimum_detectable=detectable_shift(max(error, unseen / critical), critical),
        kind="student",
        method=f"Student's t over {g} patients, {freedom:.0f} degrees of freedom, corrected for a skewness of "
        f"{number(sample.skewness, 2)} (Hall), {sample.kind}{why}",
    )
