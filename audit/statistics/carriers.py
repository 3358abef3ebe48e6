"""The effective number of patients behind a change, and how much a further image of the same patient adds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audit.statistics.patient_sums import BOUNDED, PatientSums

_SHRINKAGE = 1.5
"""Carriers at which the observed design effect and the expected one weigh the same."""


def carriers(sums: PatientSums) -> float:
    """Effective number of patients behind the values, or behind their distance from the bound, if that is fewer.

    (sum s)^2 / sum s^2 over patients' sums s of absolute values: m patients with equal sums count as m, and one that
    outweighs all others counts as one.
    """

    def kish(s: NDArray[np.float64]) -> float:
        squares = float(np.square(s).sum())
        return float(s.sum()) ** 2 / squares if squares > 0 else 0.0

    moved = kish(sums.movement.sum(axis=0))
    if sums.scale not in BOUNDED:
        return moved
    return min(moved, kish((sums.sizes - sums.movement).sum(axis=0)))


def movers(sums: PatientSums) -> float:
    """Effective number of patients behind the variance: (sum r^2)^2 / sum r^4 of their influences, a third of all if normal."""
    squares = np.square(sums.influence)
    fourth = float(np.square(squares).sum())
    return float(squares.sum()) ** 2 / fourth if fourth > 0 else 0.0


def design_effect(sums: PatientSums) -> float:
    """How many images are worth one independent image, for a single stratum.

    Variance of the estimate over patients, divided by the variance if images were independent, shrunk towards the
    value at an intra-patient correlation of one half when few patients carry the change; at full correlation (Kish's
    sum of squared sizes over the sum of sizes) when none does. Never below 1 for counts.
    """
    sizes, totals = sums.sizes[0], sums.totals[0]
    n, g = float(sizes.sum()), sums.n_patients
    kish = float(np.square(sizes).sum()) / n
    carried = carriers(sums)
    independent = float(sums.movement[0].sum()) - sums.estimate**2 * n
    if carried <= 0 or independent <= 1e-12 or g < 2:
        return max(1.0, kish)
    observed = g / (g - 1) * float(np.square(totals - sums.estimate * sizes).sum()) / independent
    weight = carried / (carried + _SHRINKAGE)
    effect = weight * observed + (1 - weight) * (1 + (kish - 1) / 2)
    return max(1.0, effect) if sums.counted else effect
