"""Multiple testing: declared families by the maximum of correlated statistics and by Holm, exploratory effects by the FDR."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

DECLARED, EXPLORATORY = "westfall-young", "benjamini-hochberg"
"""How the p values of each family are adjusted, as a plan names it."""
DRAWS = 20_000
"""Multiplier draws over patients behind the declared family."""
_PATIENTS = 8_192
"""Patients whose influences are multiplied at once."""
_STREAM = 0x3A87


@dataclass(frozen=True, kw_only=True)
class Family:
    """The declared estimands, tested together."""

    p_adjusted: tuple[float, ...]
    """Adjusted p of each, in their order: the family-wise error rate holds."""
    simultaneous_level: float
    """Level of the single intervals at which all of them together have the nominal coverage."""


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values to control the family-wise error rate (Holm, Scand. J. Statist. 1979).

    Parameters
    ----------
    p_values : sequence of float or None
        The family in any order. None marks a hypothesis that could not be tested: it stays None and is not counted,
        because whether it could be tested does not depend on what the test would have said.
    """
    return _adjust(p_values, lambda ascending: np.maximum.accumulate(ascending * np.arange(len(ascending), 0, -1)))


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values to control the false discovery rate (Benjamini & Hochberg, JRSS B 1995)."""

    def stepped_up(ascending: NDArray[np.float64]) -> NDArray[np.float64]:
        shares = np.arange(1, len(ascending) + 1) / len(ascending)
        return np.minimum.accumulate((ascending / shares)[::-1])[::-1]

    return _adjust(p_values, stepped_up)


def adjust_family(
    p_values: Sequence[float], influences: Sequence[NDArray[np.floating]], *, level: float, seed: int
) -> Family:
    """Test a family whose estimands are correlated, since they come from the same patients.

    The influences of patients, multiplied by standard normal numbers and summed (the multiplier bootstrap), have the
    correlation of the estimates. The smallest p of such a family has a distribution of its own: its step-down use adjusts the
    p values (Westfall & Young 1993), and its quantile gives the level of simultaneous intervals. The adjusted p is Holm's where that is
    smaller: below what 20,000 draws can resolve.

    Parameters
    ----------
    p_values : sequence of float, (m,)
        Two-sided.
    influences : sequence of array, m of (g,)
        What each patient adds to each estimate; a row of zeros counts as independent of all others.
    level : float
        Nominal joint coverage.
    seed : int
        Of the draws.
    """
    m = len(p_values)
    if m == 0:
        return Family(p_adjusted=(), simultaneous_level=level)
    peaks = _correlated(influences, seed)
    observed = ndtri(1 - np.clip(np.asarray(p_values, dtype=np.float64), 1e-300, 1.0) / 2)
    order = np.argsort(-observed, kind="stable")
    # Step down from the largest statistic: each is compared with the maximum of those that remain, computed from the end.
    left, exceeded = np.zeros(len(peaks)), np.empty(m)
    for place in range(m - 1, -1, -1):
        np.maximum(left, peaks[:, order[place]], out=left)
        exceeded[place] = (1 + np.count_nonzero(left >= observed[order[place]])) / (1 + len(peaks))
    stepped = np.empty(m)
    stepped[order] = np.maximum.accumulate(exceeded)
    by_holm = holm(list(p_values))
    critical = float(np.quantile(left, level))  # by now the largest of all
    # Rounded, because a matrix product's last digits differ between machines; the level never exceeds Bonferroni's.
    together = min(round(float(2 * ndtr(critical) - 1), 6), 1 - (1 - level) / m)
    return Family(
        p_adjusted=tuple(min(float(s), math.inf if h is None else h) for s, h in zip(stepped, by_holm, strict=True)),
        simultaneous_level=max(level, together),
    )


def _correlated(influences: Sequence[NDArray[np.floating]], seed: int) -> NDArray[np.float64]:
    """Draw absolute values of normal vectors that are correlated like the estimates, (draws, m)."""
    products = np.zeros((len(influences), len(influences)))
    for start in range(0, len(influences[0]), _PATIENTS):
        # In pieces: all patients times all judged effects are too many numbers to store twice in double precision.
        piece = np.array([row[start : start + _PATIENTS] for row in influences], dtype=np.float64)
        products += piece @ piece.T
    lengths = np.sqrt(np.diag(products))
    scale = np.outer(lengths, lengths)
    correlation = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, _STREAM])))
    drawn: NDArray[np.float64] = rng.standard_normal((DRAWS, len(products))) @ root.T
    return np.abs(drawn, out=drawn)


def _adjust(
    p_values: Sequence[float | None], adjust: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> list[float | None]:
    """Adjust those that are there, given to `adjust` from the smallest up; none becomes larger than 1."""
    tested = np.array([p for p in p_values if p is not None], dtype=np.float64)
    order = np.argsort(tested)
    adjusted = np.empty_like(tested)
    adjusted[order] = np.minimum(adjust(tested[order]), 1.0)
    found = iter(adjusted.tolist())
    return [None if p is None else next(found) for p in p_values]
