"""The cubic that corrects Student's t for skewness (Hall, J. R. Statist. Soc. B 1992), and its inverse.

The influences of patients on a mean are often skewed: a few images carry it. If the sample lacks such images, the estimate is
biased and its standard error too small at the same time, so that plain Student's t covers the truth too rarely, and most
misses are on one side.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def skewness_of(influence: NDArray[np.float64], error: float) -> float:
    """Return the skewness of an estimate over samples of patients: the sum of their cubed influences over the cubed error.

    Parameters
    ----------
    influence : array, (g patients,)
        Each patient's influence on the estimate.
    error : float
        Standard error of the estimate; the skewness is 0 where it is 0 or infinite.
    """
    if not 0 < error < math.inf:
        return 0.0
    # Divided first, because the cube of a tiny error underflows; products, because a power takes a hundred times as long.
    standard = influence / error
    return float((standard * standard * standard).sum())


def without_skewness(t: float, skewness: float) -> float:
    """Transform a studentised mean so that it is symmetric to second order; the cubic always rises."""
    return t + skewness / 3 * t**2 + skewness**2 / 27 * t**3 + skewness / 6


def with_skewness(t: float, skewness: float) -> float:
    """Invert `without_skewness`."""
    if abs(skewness) < 1e-12:  # nothing to correct, and a division by zero
        return t
    y = skewness * (t - skewness / 6)
    # The cube root of 1 + y, minus 1; the first form does not cancel for small skewness.
    grown = math.expm1(math.log1p(y) / 3) if y > -0.5 else math.copysign(abs(1 + y) ** (1 / 3), 1 + y) - 1
    return 3 / skewness * grown
