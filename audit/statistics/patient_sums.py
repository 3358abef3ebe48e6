"""Per-image values reduced to sums within patients, on which every interval over patients is based."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audit.statistics.teaching import Teaching

Scale = Literal["proportion", "difference", "contrast", "unbounded"]
"""Values in [0, 1], in [-1, 1], differences of such differences (in [-2, 2]), or anywhere."""
BOUNDED: tuple[Scale, ...] = ("proportion", "difference")
"""Those for which a score interval is valid."""


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
    lent: NDArray[np.float64] | None = None
    """(g,) what each patient adds to the estimate as a donor; None where nothing was lent."""
    counted_twice: float = 0.0
    """Variance that stands both in what an image adds and in what its donor adds."""
    taught: Teaching | None = None
    """What the choice of patients who taught the edit adds; None where none did, or nothing tells."""

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
        """(g,) influence of each patient of the cohort on the estimate, to first order; sums to 0."""
        residual = self.totals - self.by_stratum[:, None] * self.sizes
        drawn: NDArray[np.float64] = (residual / self.sizes.sum(axis=1, keepdims=True)).mean(axis=0)
        if self.lent is None:
            return drawn
        both = drawn + self.lent
        squares, own = float(np.square(both).sum()), float(np.square(drawn).sum())
        # Squares that are counted twice are subtracted evenly; the error is never smaller than over images alone.
        kept: NDArray[np.float64] = (
            both * np.sqrt(max(squares - self.counted_twice, own) / squares) if squares > 0 else both
        )
        return kept

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
            # Proportions are never negative, so their absolute values are the values.
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
