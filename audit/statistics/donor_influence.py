"""The influence of the patients who lent text or looks on an effect: which donors are available is a matter of chance, too.

Images are resampled by patients. If each image is edited with another one's letters or look, the effect also depends on a
second sample, the donors. If 6 patients of a class come from one of two sources, each of the 58 others of that class takes on
the look of one of these 6: their peculiarities move 58 images in the same direction, and an interval over images alone covers
a true effect of zero in as few as 36 % of samples; with the donors included, in 90 to 98 % (`benchmarks/donor_coverage.py`).

The estimate is a mean over pairs (image, donor), so that its first-order influence of a patient is what the patient adds as
an image plus what it adds as a donor (Hoeffding 1948; Aronow, Samii & Assenova 2015 for pairs that share a member). What a
donor adds is the sum over the images that it lent to of how far they moved beyond other images of the same class and source
with donors of the same class and source, and beyond the image's own other draws, which removes its general sensitivity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class LentChanges:
    """What the draws of one condition did to n images, and who lent to them."""

    values: NDArray[np.float64]
    """(draws, n) change of one measure."""
    donors: NDArray[np.int64]
    """(draws, n) place of the image that the edit was taken from; -1 for none."""
    sign: int
    """1 for an edit, -1 for its placebo."""


def donor_influence(
    roles: Sequence[LentChanges],
    population: NDArray[np.bool_],
    strata: NDArray[np.intp],
    patients: NDArray[np.intp],
    n_patients: int,
) -> tuple[NDArray[np.float64], float]:
    """Measure what each patient adds to a mean over images as a donor.

    Parameters
    ----------
    roles : sequence of LentChanges
        The edit, and its placebo if it has one.
    population : array of bool, (n images,)
        The images that the mean is taken over, at least one.
    strata : array of int, (n images,)
        Number of each image's class and source: donors of one stratum are exchangeable.
    patients : array of int, (n images,)
        Number of each image's patient.
    n_patients : int
        Patients of the cohort, g.

    Returns
    -------
    influence : ndarray, (g,)
        What each patient adds as a donor.
    counted_twice : float
        Sum over pairs of squares that belong to both the image and the donor: the variance counts them once.
    """
    n = int(population.sum())
    chosen = np.flatnonzero(population)
    residuals = [_residuals(role, chosen, strata, patients) for role in roles]
    n_draws = sum(len(found) for found in residuals)
    together = np.sum([found.sum(axis=0) for found in residuals], axis=0)
    influence, twice = np.zeros(n_patients), 0.0
    for role, residual in zip(roles, residuals, strict=True):
        donors = role.donors[:, chosen]
        others = (together - residual) / (n_draws - 1) if n_draws > 1 else 0.0
        added = np.where(donors >= 0, (residual - others) * role.sign / (n * len(residual)), 0.0)
        influence += np.bincount(patients[donors].ravel(), weights=added.ravel(), minlength=n_patients)
        twice += float(np.square(added).sum())
    return influence, twice


def _residuals(
    role: LentChanges, chosen: NDArray[np.intp], strata: NDArray[np.intp], patients: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return (draws, m) changes beyond the mean of images and donors of the same strata, corrected for each change's share in that mean."""
    values, donors = role.values[:, chosen], role.donors[:, chosen]
    lent = donors >= 0
    # A stratum of pairs: the image's and the donor's; where there is no donor, the image's own.
    donor_stratum = np.where(lent, strata[donors], -1)
    pairs = np.stack([np.broadcast_to(strata[chosen], donors.shape), donor_stratum])
    _, pair = np.unique(pairs.reshape(2, -1), axis=1, return_inverse=True)
    pair = pair.reshape(donors.shape)
    n_pairs = int(pair.max()) + 1
    means = np.bincount(pair.ravel(), weights=values.ravel(), minlength=n_pairs) / np.bincount(pair.ravel())
    who = np.unique(np.stack([pair.ravel(), patients[donors].ravel()]), axis=1)
    lenders = np.bincount(who[0], minlength=n_pairs)
    # With q donors, the mean removes 1 / q of their variance; a single donor does not show how much donors differ.
    widened = np.sqrt(lenders / np.maximum(lenders - 1, 1))
    return np.asarray((values - means[pair]) * widened[pair])
