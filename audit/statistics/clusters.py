"""Per-image values reduced to sums within patients, and the bootstrap that resamples the patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Scale = Literal["proportion", "difference", "contrast", "unbounded"]
"""Values in [0, 1], in [-1, 1], differences of such differences (in [-2, 2]), or anywhere."""
BOUNDED: tuple[Scale, ...] = ("proportion", "difference")
"""Those that a score interval holds for."""
GAUSSIAN_FROM = 2_000
"""Patients from which the bootstrap is replaced by its Gaussian limit, which then differs by less than its noise."""
_CHUNK = 500
_DRAWN = 50
"""Resamples drawn at once: their counts stay in the cache, which halves the time."""


@dataclass(frozen=True, kw_only=True)
class PatientSums:
    """One estimand's data: sums over each patient's images, by stratum (s strata, g patients of the cohort).

    The estimand is the mean over strata of (sum of values / number of images); one stratum gives the plain mean,
    strata by class give balanced accuracy.
    """

    scale: Scale
    """Where a value can lie."""
    counted: bool
    """Whether the values are counts (or averages of counts over draws) rather than continuous."""
    totals: NDArray[np.float64]
    """(s, g) sum of the values."""
    movement: NDArray[np.float64]
    """(s, g) sum of the absolute values."""
    sizes: NDArray[np.float64]
    """(s, g) number of images."""
    spread: float = 1.0
    """The measure's natural unit, for unbounded values that never moved: the SD of the clean margins."""

    @cached_property
    def n_images(self) -> int:
        """Images behind the estimate."""
        return int(self.sizes.sum())

    @cached_property
    def n_patients(self) -> int:
        """Patients behind the estimate."""
        return int((self.sizes.sum(axis=0) > 0).sum())

    @cached_property
    def by_stratum(self) -> NDArray[np.float64]:
        """(s,) mean of the values in each stratum."""
        means: NDArray[np.float64] = self.totals.sum(axis=1) / self.sizes.sum(axis=1)
        return means

    @cached_property
    def estimate(self) -> float:
        """Mean over strata."""
        return float(self.by_stratum.mean())

    @cached_property
    def standard_error(self) -> float:
        """Linearised (infinitesimal jackknife) standard error over patients; infinite for fewer than two."""
        g = self.n_patients
        if g < 2:
            return float("inf")
        return float(np.sqrt(g / (g - 1) * np.square(self.influence).sum()))

    @cached_property
    def influence(self) -> NDArray[np.float64]:
        """(g,) how far each patient of the cohort draws the estimate to itself, to first order; sums to 0."""
        residual = self.totals - self.by_stratum[:, None] * self.sizes
        drawn: NDArray[np.float64] = (residual / self.sizes.sum(axis=1, keepdims=True)).mean(axis=0)
        return drawn

    def stratum(self, index: int) -> PatientSums:
        """Return one stratum as an estimand of its own."""
        row = slice(index, index + 1)
        return PatientSums(
            scale=self.scale,
            counted=self.counted,
            totals=self.totals[row],
            movement=self.movement[row],
            sizes=self.sizes[row],
            spread=self.spread,
        )


class PatientCells:
    """Where the images of one population add up: a cell for each stratum and patient. Serves any number of measures.

    Parameters
    ----------
    patients : array of int, (n images,)
        Index of each image's patient.
    n_patients : int
        Patients in the whole cohort.
    population : array of bool, (n images,)
        Images that count, at least one.
    strata : array of int, (n images,), optional
        Class of each image, for estimands that weigh classes equally; strata without an image are left out.
    """

    def __init__(
        self,
        patients: NDArray[np.intp],
        n_patients: int,
        population: NDArray[np.bool_],
        strata: NDArray[np.int64] | None = None,
    ) -> None:
        self._population = None if population.all() else population
        self._cell = patients[population]
        self.strata: tuple[int, ...] = (0,)
        """The strata that have images, in the order of their rows."""
        if strata is not None:
            chosen = strata[population]
            present = np.bincount(chosen) > 0
            self.strata = tuple(np.flatnonzero(present).tolist())
            self._cell = (np.cumsum(present) - 1)[chosen] * n_patients + self._cell
        self._shape = (len(self.strata), n_patients)
        self._sizes = self._add_up(None)

    def _add_up(self, weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
        sums = np.bincount(self._cell, weights=weights, minlength=self._shape[0] * self._shape[1])
        return sums.astype(np.float64, copy=False).reshape(self._shape)

    def sums(self, values: NDArray[np.float64], *, scale: Scale, counted: bool, spread: float = 1.0) -> PatientSums:
        """Reduce per-image values, (n images,), to sums within patients; the rest of the settings: see `PatientSums`."""
        chosen = values if self._population is None else values[self._population]
        totals = self._add_up(chosen)
        return PatientSums(
            scale=scale,
            counted=counted,
            totals=totals,
            # Proportions are never negative: what they moved is what they are.
            movement=totals if scale == "proportion" else self._add_up(np.abs(chosen)),
            sizes=self._sizes,
            spread=spread,
        )


def sum_by_patient(
    values: NDArray[np.float64],
    patients: NDArray[np.intp],
    n_patients: int,
    *,
    population: NDArray[np.bool_],
    scale: Scale,
    counted: bool,
    strata: NDArray[np.int64] | None = None,
    spread: float = 1.0,
) -> PatientSums | None:
    """Reduce per-image values to sums within patients; None where the population is empty.

    Parameters
    ----------
    values : array, (n images,)
    patients : array of int, (n images,)
        Index of each image's patient.
    n_patients : int
        Patients in the whole cohort.
    population : array of bool, (n images,)
        Images that count.
    scale, counted, spread
        See `PatientSums`.
    strata : array of int, (n images,), optional
        See `PatientCells`.
    """
    if not population.any():
        return None
    cells = PatientCells(patients, n_patients, population, strata)
    return cells.sums(values, scale=scale, counted=counted, spread=spread)


class PatientBootstrap:
    """Resamples the cohort's patients with replacement; the same draws serve every estimand.

    A resample is a vector of multinomial weights over patients, so that an estimand under all resamples is a matrix
    product of the weights with its sums within patients; ratios are formed after the product, hence exact.

    Of a cohort of `GAUSSIAN_FROM` patients or more only small groups are resampled, each among its own patients: the weights
    of the whole cohort would be gigabytes, and nearly all of them stand before patients who are not in the group.

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
        """Start of a stream for each size of group, so that it does not matter which of them asks first."""
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
