"""The chance of which patients taught an edit: how far an effect would be another one had other patients of the same groups taught it.

A grey curve, a sharpness or the look of a source is learnt as the difference between the means of two groups of patients. All images move
by the same difference, so that an interval over images leaves out how far it is from that of the populations: with 400 images it covered
a true effect of zero in 30 % of simulated audits, and with this part in 97 % (`benchmarks/taught_coverage.py`).

Each image is edited twice, as one half of the patients teaches it and as the other does. The mean of a half lies as far from the mean of
all as the mean of all lies from the population's, on average (balanced half-samples; McCarthy 1969), so half of what the two
draws differ in has the variance of the effect over samples of patients. What is random in one image alone is not part of it. It is
told apart by a random-effects analysis of variance: images that share a split into halves have the chance of the patients in common, and
their products estimate its variance without bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Teaching:
    """What the choice of patients who taught an edit adds to the uncertainty of its effect."""

    variance: float
    """Of the effect over samples of patients; not below 0."""
    uncertainty: float
    """Variance of that estimate."""
    unconfirmed: float
    """How much further the effect may reach because one half need not confirm what all patients show: 0 of signed measures."""


def teaching_chance(
    halves: NDArray[np.float64], splits: NDArray[np.intp], unconfirmed: NDArray[np.float64] | None = None
) -> Teaching:
    """Measure how uncertain a mean over images is because of the patients who taught the edit.

    Where no two images share a split, all that differs between the halves counts as if all images had it in common.

    Parameters
    ----------
    halves : array, (pairs of draws, n images)
        Half of what an image's value differs between the two draws of a pair; at least one pair and one image.
    splits : array of int, (n images,)
        Number of each image's split. Different pairs of an image have different splits.
    unconfirmed : array, (n images,), optional
        How much larger the value is under both draws together than what each confirms of the other.
    """
    n_pairs, n = halves.shape
    further = 0.0 if unconfirmed is None else max(0.0, float(unconfirmed.mean()))
    _, split, sizes = np.unique(splits, return_inverse=True, return_counts=True)
    together = float(np.square(sizes).sum() - n)
    if together <= 0:
        all_of_it = float(np.square(halves).mean())
        return Teaching(variance=all_of_it, uncertainty=2 * all_of_it**2 / halves.size, unconfirmed=further)
    sums = np.stack([np.bincount(split, weights=row, minlength=len(sizes)) for row in halves])
    squares = float(np.square(halves).sum())
    variance = (float(np.square(sums).sum()) - squares) / (n_pairs * together)
    between = float((np.square(sums) / sizes).sum()) / (n_pairs * len(sizes))
    within = max(0.0, squares - between * n_pairs * len(sizes)) / (n_pairs * (n - len(sizes)))
    alike = float(np.square(sizes).sum()) / n  # images that share a split
    uncertainty = 2 / alike**2 * (between**2 / len(sizes) + within**2 / (n - len(sizes))) / n_pairs
    return Teaching(
        variance=max(0.0, variance),
        uncertainty=uncertainty,
        unconfirmed=further,
    )
