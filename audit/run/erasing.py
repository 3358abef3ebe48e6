"""How far the answers move without the direction of a suspect in the features: concept erasure (LEACE) against random directions.

Least-squares concept erasure (Belrose et al. 2023) takes from the features everything that a linear model could read of a concept, and
changes them as little as that allows. The concept is here which class the suspect of an image points to, and it is sought within the
classes, so that the disease itself is not part of it. The control erases random directions instead, as many and of the same variance
within a class: an answer that depends on everything moves there too.

With the covariance S of the features and C of features and concept, within classes, the erased features are
x - C (C' S^-1 C)^+ C' S^-1 (x - mean). This is the paper's W^+ P W with W = S^(-1/2), as S, shrunk (Ledoit and Wolf 2004), has an inverse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from sklearn.covariance import ledoit_wolf_shrinkage

from audit.models.bodies import Head
from audit.statistics.intervals import change_intervals
from audit.statistics.outputs import softmax
from audit.statistics.patient_bootstrap import PatientBootstrap
from audit.statistics.patient_sums import sum_by_patient
from audit.store.levels import Level

Table = NDArray[np.float64]
N_RANDOM = 99
"""Random directions; p is at least 1 / (this + 1)."""
_RESAMPLES = 500
_LEAST_SHRINKAGE = 1e-6
"""Of the covariance: a feature that never moves within a class leaves it singular."""
_SAME = 1e-9


@dataclass(frozen=True, kw_only=True)
class Eraser:
    """Directions that are taken from features."""

    mean: Table
    """(f,) of the features."""
    writes: Table
    """(f, r) what is subtracted for one unit of each reading."""
    reads: Table
    """(f, r) how a reading is made of features minus their mean."""

    def erased(self, features: Table) -> Table:
        """Return the features (n, f) without the directions."""
        return np.asarray(features - self._readings(features) @ self.writes.T)

    def shift(self, features: Table, weight: Table) -> Table:
        """Return by how much the logits (n, k) of a head with this weight (k, f) fall."""
        return np.asarray(self._readings(features) @ (weight @ self.writes).T)

    def _readings(self, features: Table) -> Table:
        return np.asarray((features - self.mean) @ self.reads)


class Covariance:
    """Covariance of features within classes, shrunk; never formed, because it may be larger than the data.

    Parameters
    ----------
    features : float64 (n, f)
    labels : int (n)
        Class of each image.
    """

    def __init__(self, features: Table, labels: NDArray[np.int64]) -> None:
        self.mean = np.asarray(features.mean(axis=0))
        self._within = within_classes(features, labels)
        n, f = self._within.shape
        shrinkage = float(ledoit_wolf_shrinkage(self._within, assume_centered=True)) if n > 1 else 1.0
        shrinkage = min(max(shrinkage, _LEAST_SHRINKAGE), 1 - _LEAST_SHRINKAGE)
        trace = max(float(np.square(self._within).sum()) / (n * f), np.finfo(np.float64).tiny)
        self._kept, self._floor = (1 - shrinkage) / n, shrinkage * trace
        # Of the n x n form (Woodbury), as there are more features than images.
        gram = self._within @ self._within.T
        self._factor = cho_factor(gram + np.eye(n) * (self._floor / self._kept))

    def eraser(self, concept: Table, labels: NDArray[np.int64]) -> Eraser | None:
        """Return what erases a concept (n, v); None where it does not vary within any class."""
        moved = within_classes(concept, labels)
        if np.abs(moved).max(initial=0.0) < _SAME:
            return None
        return self._eraser(self._within.T @ (moved / np.abs(moved).max()) / len(moved))

    def random_shifts(self, features: Table, weight: Table, rank: int, rng: np.random.Generator) -> Table:
        """Return by how much logits fall, (draws, n, k), if as many directions are erased at random: all vary alike within classes."""
        n, f = self._within.shape
        drawn = np.sqrt(self._kept) * (self._within.T @ rng.normal(size=(n, N_RANDOM * rank)))
        drawn += np.sqrt(self._floor) * rng.normal(size=(f, N_RANDOM * rank))
        solved = self._solve(drawn).reshape(f, N_RANDOM, rank)
        writes = drawn.reshape(f, N_RANDOM, rank)
        inverse = np.linalg.inv(np.einsum("fdi,fdj->dij", writes, solved))
        reads = np.einsum("fdi,dij->fdj", solved, inverse)
        readings = ((features - self.mean) @ reads.reshape(f, -1)).reshape(-1, N_RANDOM, rank)
        heard = (weight @ drawn).reshape(-1, N_RANDOM, rank)
        return np.asarray(np.einsum("ndr,kdr->dnk", readings, heard))

    def _eraser(self, writes: Table) -> Eraser:
        solved = self._solve(writes)
        reads = solved @ np.linalg.pinv(writes.T @ solved, rcond=1e-6, hermitian=True)
        return Eraser(mean=self.mean, writes=writes, reads=np.asarray(reads))

    def _solve(self, rows: Table) -> Table:
        inner = cho_solve(self._factor, self._within @ rows)
        return np.asarray((rows - self._within.T @ inner) / self._floor)


def measure_erasure(
    features: Table,
    concept: Table,
    head: Head,
    labels: NDArray[np.int64],
    patients: NDArray[np.intp],
    fold: NDArray[np.intp],
    *,
    level: float,
    rng: np.random.Generator,
) -> Level | None:
    """Measure how far erasing a concept moves the answers more than erasing random directions; None where it varies in no class.

    Parameters
    ----------
    features : float64 (n, f)
        What the last layer reads.
    concept : float64 (n, v)
        What is erased; a prediction of the class from the suspect alone.
    head : Head
        The last layer.
    labels : int64 (n)
        Class of each image.
    patients : int (n)
        Number of its patient.
    fold : int (n)
        Directions are found on the images of the other folds.
    level : float
        Coverage of the interval.
    rng : numpy.random.Generator
        Of random directions and of the resampling.
    """
    weight = head.weight.astype(np.float64)
    # Units of the features' own, as shrinkage treats all features alike.
    unit = within_classes(features, labels).std(axis=0)
    unit = np.where(unit > _SAME * max(1.0, float(np.abs(features).max())), unit, 1.0)
    features, weight = features / unit, weight * unit
    logits = features @ weight.T + head.bias
    before = softmax(logits)
    moved, at_random = np.zeros(len(labels)), np.zeros((N_RANDOM, len(labels)))
    for number in np.unique(fold):
        tested = fold == number
        covariance = Covariance(features[~tested], labels[~tested])
        eraser = covariance.eraser(concept[~tested], labels[~tested])
        if eraser is None:
            continue
        rank = int(np.linalg.matrix_rank(eraser.reads))
        moved[tested] = _moved(logits[tested], before[tested], eraser.shift(features[tested], weight))
        shifts = covariance.random_shifts(features[tested], weight, rank, rng)
        at_random[:, tested] = _moved(logits[tested], before[tested], shifts)
    if not moved.any():
        return None
    n_patients = int(patients.max()) + 1
    beyond = moved - at_random.mean(axis=0)
    everyone = np.ones(len(labels), dtype=np.bool_)
    sums = sum_by_patient(beyond, patients, n_patients, population=everyone, scale="difference", counted=False)
    assert sums is not None
    (interval,) = change_intervals([sums], bootstrap=PatientBootstrap(n_patients, _RESAMPLES, rng), level=level)
    return Level(
        value=round(float(beyond.mean()), 10),
        low=None if interval.low is None else round(interval.low, 10),
        high=None if interval.high is None else round(interval.high, 10),
        null=0.0,
        p=float((1 + np.count_nonzero(at_random.mean(axis=1) >= moved.mean() - 1e-12)) / (1 + N_RANDOM)),
        n_images=len(labels),
        n_patients=len(np.unique(patients)),
        about=f"LEACE within classes moves the probabilities by {moved.mean():.3f}, {N_RANDOM} random directions by {at_random.mean():.3f}",
    )


def within_classes(values: Table, labels: NDArray[np.int64]) -> Table:
    """Return values (n, v) minus the mean of their class."""
    found = np.array(values, dtype=np.float64)
    for c in np.unique(labels):
        found[labels == c] -= found[labels == c].mean(axis=0)
    return found


def _moved(logits: Table, before: Table, shift: Table) -> Table:
    """Return the total variation (..., n) between the answers and those whose logits fall by a shift (..., n, k)."""
    return np.asarray(np.abs(softmax(logits - shift) - before).sum(axis=-1) / 2)
