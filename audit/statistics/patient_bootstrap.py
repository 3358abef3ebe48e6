"""The bootstrap that resamples the cohort's patients: the same draws serve every estimand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from audit.statistics.patient_sums import PatientSums

GAUSSIAN_FROM = 2_000
"""Patients from which the bootstrap is replaced by its Gaussian limit, which then differs by less than its noise."""
_CHUNK = 500
_DRAWN = 50
"""Resamples drawn at once: their counts stay in the cache, which halves the time."""


class PatientBootstrap:
    """Resamples the cohort's patients with replacement; the same draws serve every estimand.

    A resample is a vector of multinomial weights over patients, so that an estimand under all resamples is a matrix
    product of the weights with its sums within patients; ratios are formed after the product, hence exact.

    Of a cohort of `GAUSSIAN_FROM` patients or more only small groups are resampled, each among its own patients: the weights
    of the whole cohort would take gigabytes, and nearly all of them belong to patients who are not in the group.

    Parameters
    ----------
    n_patients : int
        Patients in the cohort.
    resamples : int
        Number of bootstrap resamples.
    rng : numpy.random.Generator
        Where the draws come from; it is read once, when the first replicates are asked for.
    """

    def __init__(self, n_patients: int, resamples: int, rng: np.random.Generator) -> None:
        self.n_patients = n_patients
        self.resamples = resamples
        self._rng = rng
        self._among: dict[int, PatientBootstrap] = {}

    @cached_property
    def _own_seed(self) -> list[int]:
        """Seed of a stream for each size of group, so that the order of requests does not matter."""
        drawn: list[int] = self._rng.integers(2**32, size=4).tolist()
        return drawn

    @cached_property
    def _weights(self) -> NDArray[np.uint8]:
        # Counts are Poisson(1)-like: one byte holds them, and 10,000 x 2,000 of them are 20 MB.
        weights = np.empty((self.resamples, self.n_patients), dtype=np.uint8)
        for start in range(0, self.resamples, _DRAWN):
            rows = min(_DRAWN, self.resamples - start)
            drawn = self._rng.integers(0, self.n_patients, size=(rows, self.n_patients))
            drawn += np.arange(rows)[:, None] * self.n_patients
            counts = np.bincount(drawn.ravel(), minlength=rows * self.n_patients)
            weights[start : start + rows] = np.minimum(counts, 255).reshape(rows, self.n_patients)
        return weights

    def replicates(self, samples: Sequence[PatientSums]) -> NDArray[np.float64]:
        """Return every estimand under every resample, (resamples, number of samples).

        A stratum that a resample misses is left out of that resample's mean; a resample without any image is NaN.
        """
        if self.n_patients >= GAUSSIAN_FROM:
            return np.concatenate([self._among_own(s) for s in samples], axis=1)
        return self._resampled(samples)

    def _resampled(self, samples: Sequence[PatientSums]) -> NDArray[np.float64]:
        columns = np.concatenate([np.concatenate([s.totals, s.sizes]) for s in samples]).T.copy()
        result = np.empty((self.resamples, len(samples)))
        for start in range(0, self.resamples, _CHUNK):
            stop = min(start + _CHUNK, self.resamples)
            sums = self._weights[start:stop].astype(np.float64) @ columns
            at = 0
            for index, sample in enumerate(samples):
                strata = len(sample.totals)
                top, bottom = sums[:, at : at + strata], sums[:, at + strata : at + 2 * strata]
                at += 2 * strata
                seen = (bottom > 0).sum(axis=1)
                ratios = np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0).sum(axis=1)
                result[start:stop, index] = np.divide(ratios, seen, out=np.full(len(seen), np.nan), where=seen > 0)
        return result

    def _among_own(self, sample: PatientSums) -> NDArray[np.float64]:
        """Resample the patients of one group, (resamples, 1); groups of as many patients share their draws."""
        present = sample.sizes.sum(axis=0) > 0
        n = int(present.sum())
        if n >= GAUSSIAN_FROM:
            return self._resampled([sample])
        if n not in self._among:
            rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([*self._own_seed, n])))
            self._among[n] = PatientBootstrap(n, self.resamples, rng)
        own = replace(
            sample,
            totals=sample.totals[:, present],
            movement=sample.movement[:, present],
            sizes=sample.sizes[:, present],
        )
        return self._among[n].replicates([own])
