"""Intervals of effects for which images took something from donors: Student's t over patients in both their parts."""

from __future__ import annotations

from scipy.special import stdtr, stdtrit

from audit.statistics.carriers import movers
from audit.statistics.patient_sums import PatientSums
from audit.statistics.skewness import skewness_of, with_skewness, without_skewness
from audit.store.numbers import number


def freedom_of(sums: PatientSums) -> float:
    """Degrees of freedom of the variance over g patients: g - 1 if influences are normal, fewer if a few patients dominate it.

    The relative variance of a sum of squares is 1 / movers - 1 / g; that of a chi-square is 2 / freedom (Satterthwaite 1946).
    """
    g, moved = sums.n_patients, movers(sums)
    uncertain = 1 / moved - 1 / g if moved > 0 else 0.0
    return max(1.0, min(g - 1.0, 2 / uncertain)) if uncertain > 0 else g - 1.0


def crossed_limits(sums: PatientSums, level: float) -> tuple[float, float, float, str]:
    """Return the interval over patients as images and as donors: low, high, two-sided p, and the method in words.

    With few donors there are few degrees of freedom: their influences outweigh those of the images that they lent to.

    Parameters
    ----------
    sums : PatientSums
        With what patients add as donors, of at least two patients.
    level : float
        Nominal coverage in (0, 1).
    """
    error, freedom = sums.standard_error, freedom_of(sums)
    critical, skewness = float(stdtrit(freedom, (1 + level) / 2)), skewness_of(sums.influence, error)
    below, above = error * with_skewness(critical, skewness), error * with_skewness(-critical, skewness)
    statistic = without_skewness(sums.estimate / error, skewness) if error > 0 else 0.0
    method = (
        f"Student's t over {sums.n_patients} patients, as images and as donors, {freedom:.0f} degrees of freedom, corrected for a "
        f"skewness of {number(skewness, 2)} (Hall)"
    )
    return sums.estimate - below, sums.estimate - above, float(2 * stdtr(freedom, -abs(statistic))), method
