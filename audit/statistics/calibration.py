"""Expected calibration error, and how an edit changes it, by leaving out one patient at a time (Naeini et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audit.statistics.jackknife import PatientInfluence

N_BINS = 15
"""Bins of equal width over the winner's probability."""


def ece_without_each(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], patients: NDArray[np.intp], n_patients: int
) -> tuple[float, NDArray[np.float64], float]:
    """Return the expected calibration error, (g,) the same without each patient, and the most that chance can add to it.

    ECE is the sum over bins of |sum over images of (confidence - correct)| over the number of images. Where confidence is right,
    chance alone makes a gap of sqrt(2 / pi) standard deviations in every bin.

    Parameters
    ----------
    confidence : array, (n images,)
        Probability of the winner.
    correct : array of bool, (n images,)
    patients : array of int, (n images,)
    n_patients : int
        Patients of the whole cohort, g.
    """
    n = len(patients)
    bins = np.minimum((confidence * N_BINS).astype(np.intp), N_BINS - 1)
    sums = np.bincount(patients * N_BINS + bins, weights=confidence - correct, minlength=n_patients * N_BINS)
    # A patient has images in few bins: only these are updated, not all bins of all patients.
    cells = np.flatnonzero(sums != 0)  # of booleans: several times faster than of numbers
    who = cells // N_BINS
    where = cells - who * N_BINS
    own = sums[cells]
    total = np.bincount(where, weights=own, minlength=N_BINS)
    lost = np.bincount(who, weights=np.abs(total[where] - own) - np.abs(total[where]), minlength=n_patients)
    gaps = float(np.abs(total).sum())
    left = np.maximum(n - np.bincount(patients, minlength=n_patients), 1)
    chance = float(np.sqrt(2 / np.pi * np.bincount(where, weights=np.square(own), minlength=N_BINS)).sum() / n)
    return gaps / n, (gaps + lost) / left, chance


def ece_change(
    conditions: Sequence[tuple[float, NDArray[np.float64], NDArray[np.bool_]]],
    patients: NDArray[np.intp],
    n_patients: int,
    population: NDArray[np.bool_],
) -> PatientInfluence:
    """Estimate a weighted sum of expected calibration errors, each the mean over its draws.

    Parameters
    ----------
    conditions : sequence of (weight, confidence, correct)
        The winner's probability and whether it is the true class, both (draws, n images). Weights: 1 for clean gives plain
        performance; 1 for the edit and -1 for clean a change; 1 for the edit and -1 for the placebo the difference from the
        placebo.
    patients : array of int, (n images,)
    n_patients : int
    population : array of bool, (n images,)
        Images that count, at least one.
    """
    estimate, without, added, taken = 0.0, np.zeros(n_patients), 0.0, 0.0
    who = patients[population]
    for weight, confidence, correct in conditions:
        for sure, right in zip(confidence, correct, strict=True):
            whole, parts, chance = ece_without_each(sure[population], right[population], who, n_patients)
            estimate += weight * whole / len(confidence)
            without += weight * parts / len(confidence)
            added += max(weight, 0.0) * chance / len(confidence)
            taken += max(-weight, 0.0) * chance / len(confidence)
    here = np.bincount(who, minlength=n_patients) > 0
    g = int(here.sum())
    influence = np.where(here, (without[here].mean() - without) * (g - 1) / g, 0.0)
    return PatientInfluence(
        estimate=estimate,
        influence=influence,
        n_images=len(who),
        n_patients=g,
        fewest=len(who),
        bounds=(0.0, 1.0) if len(conditions) == 1 else (-1.0, 1.0),
        kind=f"leaving out one patient at a time, {N_BINS} bins, widened by the maximum chance bias of the bins",
        bias=(-taken, added),
    )
