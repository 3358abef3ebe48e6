"""Expected calibration error, and how an edit changes it, by leaving out one patient at a time (Naeini et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audit.statistics.jackknife import PatientInfluence
from audit.statistics.measures import Outputs

N_BINS = 15
"""Bins of equal width over the winner's probability."""


def ece_without_each(
    outputs: Outputs, patients: NDArray[np.intp], n_patients: int, population: NDArray[np.bool_]
) -> tuple[float, NDArray[np.float64], float]:
    """Return the expected calibration error, (g,) the same without each patient, and the most that chance can add to it.

    ECE is the sum over bins of |sum over images of (confidence - correct)| over the number of images. Where confidence is right,
    chance alone makes a gap of sqrt(2 / pi) standard deviations in every bin.
    """
    confidence = outputs.probabilities.max(axis=1)[population]
    gap = confidence - outputs.correct[population]
    bins = np.minimum((confidence * N_BINS).astype(np.intp), N_BINS - 1)
    who = patients[population]
    sums = np.bincount(who * N_BINS + bins, weights=gap, minlength=n_patients * N_BINS).reshape(n_patients, N_BINS)
    sizes = np.bincount(who, minlength=n_patients)
    total, n = sums.sum(axis=0), len(who)
    left = np.maximum(n - sizes, 1)
    chance = float(np.sqrt(2 / np.pi * np.square(sums).sum(axis=0)).sum() / n)
    return float(np.abs(total).sum() / n), np.abs(total - sums).sum(axis=1) / left, chance


def ece_change(
    conditions: Sequence[tuple[float, Sequence[Outputs]]],
    patients: NDArray[np.intp],
    n_patients: int,
    population: NDArray[np.bool_],
) -> PatientInfluence:
    """Estimate a weighted sum of expected calibration errors, each the mean over its draws.

    Parameters
    ----------
    conditions : sequence of (weight, outputs by draw)
        (1, clean) for plain performance; (1, edit), (-1, clean) for a change; (1, edit), (-1, placebo) beyond a placebo.
    patients : array of int, (n images,)
    n_patients : int
    population : array of bool, (n images,)
        Images that count, at least one.
    """
    estimate, without, added, taken = 0.0, np.zeros(n_patients), 0.0, 0.0
    for weight, draws in conditions:
        for outputs in draws:
            whole, parts, chance = ece_without_each(outputs, patients, n_patients, population)
            estimate += weight * whole / len(draws)
            without += weight * parts / len(draws)
            added += max(weight, 0.0) * chance / len(draws)
            taken += max(-weight, 0.0) * chance / len(draws)
    here = np.bincount(patients[population], minlength=n_patients) > 0
    g = int(here.sum())
    influence = np.where(here, (without[here].mean() - without) * (g - 1) / g, 0.0)
    return PatientInfluence(
        estimate=estimate,
        influence=influence,
        n_images=int(population.sum()),
        n_patients=g,
        fewest=int(population.sum()),
        bounds=(0.0, 1.0) if len(conditions) == 1 else (-1.0, 1.0),
        kind=f"leaving out one patient at a time, {N_BINS} bins, longer by what chance can add to gaps of bins",
        bias=(-taken, added),
    )
