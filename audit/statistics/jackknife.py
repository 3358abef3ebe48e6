"""Intervals of what is no mean over images (AUC, ECE, ratios): Student's t over what each patient adds to the estimate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from audit.statistics.intervals import FEW_CARRIERS, Interval
from audit.statistics.power import detectable_shift


@dataclass(frozen=True, kw_only=True)
class PatientInfluence:
    """An estimand that is no mean, by what each of g patients adds to it."""

    estimate: float
    """Its value on the sample."""
    influence: NDArray[np.float64]
    """(g,) how far each patient of the cohort draws the estimate to itself: of first order, or left-one-out."""
    n_images: int
    """Images behind it."""
    n_patients: int
    """Patients behind it."""
    fewest: int
    """Images of the rarer side, which limit what can be known: the positives of an AUC, or all images."""
    bounds: tuple[float, float]
    """Where the estimate can lie."""
    kind: str
    """How the influence was found, for the description of the method."""
    unit: float = 1.0
    """How far a single image can move the estimate, times the images: its natural unit."""
    bias: tuple[float, float] = (0.0, 0.0)
    """Between what its bias lies: the interval allows for all of it."""
    variance_beside: float = 0.0
    """Variance that patients do not show: of a finder's recall, known from another sample."""

    @cached_property
    def standard_error(self) -> float:
        """Standard error over patients and what lies beside; infinite for fewer than two patients."""
        g = self.n_patients
        if g < 2:
            return math.inf
        return math.sqrt(g / (g - 1) * float(np.square(self.influence).sum()) + self.variance_beside)

    @cached_property
    def carriers(self) -> float:
        """Effective number of patients behind the estimate's uncertainty, (sum |s|)^2 / sum s^2 of their influences."""
        squares = float(np.square(self.influence).sum())
        return float(np.abs(self.influence).sum()) ** 2 / squares if squares > 0 else 0.0


def jackknife_interval(sample: PatientInfluence, level: float) -> Interval:
    """Make a two-sided interval of Student's t over patients, clipped to where the estimate can lie.

    Where few patients carry the uncertainty, it is no shorter than the score bound on a proportion that was never seen:
    critical² / (n + critical²) of the natural unit. So an estimate that nothing moved is not given a width of zero.

    Parameters
    ----------
    sample : PatientInfluence
    level : float
        Nominal coverage in (0, 1).
    """
    g, error = sample.n_patients, sample.standard_error
    low_end, high_end = sample.bounds
    if g < 2:
        return Interval(
            low=low_end if math.isfinite(low_end) else None,
            high=high_end if math.isfinite(high_end) else None,
            p=1.0,
            minimum_detectable=None,
            method="no information: one patient says nothing of others, the whole range",
        )
    critical = float(stdtrit(g - 1, (1 + level) / 2))
    arm, why = critical * error, ""
    if sample.carriers < FEW_CARRIERS:
        unseen = critical**2 / (sample.fewest + critical**2) * sample.unit
        arm = max(arm, unseen)
        why = f", but no shorter than the score bound: {sample.carriers:.1f} effective patients carry it"
    return Interval(
        low=max(low_end, sample.estimate - sample.bias[1] - arm),
        high=min(high_end, sample.estimate - sample.bias[0] + arm),
        p=float(2 * stdtr(g - 1, -abs(sample.estimate) / error)) if error > 0 else 1.0,
        minimum_detectable=detectable_shift(arm / critical, critical),
        method=f"Student's t over {g} patients, {sample.kind}{why}",
    )
