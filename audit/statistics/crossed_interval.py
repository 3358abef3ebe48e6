"""Intervals of effects for which images took something from other patients: Student's t over patients in both their parts."""

from __future__ import annotations

import math

from scipy.special import stdtr, stdtrit

from audit.statistics.carriers import movers
from audit.statistics.patient_sums import PatientSums
from audit.statistics.skewness import skewness_of, with_skewness, without_skewness
from audit.store.numbers import number

_FEWEST = 2.0
"""Degrees of freedom, at least, where the chance of teachers is known least."""


def error_of(sums: PatientSums) -> tuple[float, float]:
    """Return the standard error over g patients in all their parts, and its degrees of freedom.

    There are g - 1 if influences are normal, and fewer if a few patients dominate the variance: the relative variance of a sum of squares
    is 1 / movers - 1 / g; that of a chi-square is 2 / freedom (Satterthwaite 1946). With few donors there are few: their influences
    outweigh those of the images that they lent to. The chance of the patients who taught an edit is known from a few splits alone.
    """
    g, moved, error = sums.n_patients, movers(sums), sums.standard_error
    uncertain = 1 / moved - 1 / g if moved > 0 else 0.0
    freedom = max(1.0, min(g - 1.0, 2 / uncertain)) if uncertain > 0 else g - 1.0
    if sums.taught is None:
        return error, freedom
    total = error**2 + sums.taught.variance
    uncertain = error**4 / freedom + sums.taught.uncertainty / 2
    return math.sqrt(total), max(_FEWEST, min(freedom, total**2 / uncertain)) if uncertain > 0 else freedom


def crossed_limits(sums: PatientSums, level: float) -> tuple[float, float, float, str]:
    """Return the interval over patients as images and as donors or teachers: low, high, two-sided p, and the method in words.

    What all patients show who taught an edit, and one half of them does not confirm of the other, may be an effect: the interval
    reaches further by it.

    Parameters
    ----------
    sums : PatientSums
        With what patients add as donors, or what the choice of teachers adds, of at least two patients.
    level : float
        Nominal coverage in (0, 1).
    """
    error, freedom = error_of(sums)
    critical, skewness = float(stdtrit(freedom, (1 + level) / 2)), skewness_of(sums.influence, error)
    below, above = error * with_skewness(critical, skewness), error * with_skewness(-critical, skewness)
    statistic = without_skewness(sums.estimate / error, skewness) if error > 0 else 0.0
    further = 0.0 if sums.taught is None else sums.taught.unconfirmed
    method = (
        f"Student's t over {sums.n_patients} patients{in_parts(sums)}, {freedom:.0f} degrees of freedom, corrected for a "
        f"skewness of {number(skewness, 2)} (Hall)"
    )
    return sums.estimate - below, sums.estimate - above + further, float(2 * stdtr(freedom, -abs(statistic))), method


def in_parts(sums: PatientSums) -> str:
    """Return the parts that patients have in an effect besides that of images, in words; empty for none."""
    if sums.taught is not None:
        return ", as images and as those who taught the edit"
    return ", as images and as donors" if sums.lent is not None else ""
