"""The probes behind the four levels of a suspect: what tells the class, what the features tell, and where the network errs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audit.models.bodies import Head
from audit.randomness import generator_for
from audit.run.erasing import measure_erasure
from audit.run.probing import N_PERMUTATIONS, Table, areas_of, cross_scores, patient_folds, permuted
from audit.statistics.jackknife import PatientInfluence, jackknife_interval
from audit.statistics.ranking import auc_influences, mean_influence, mean_placements
from audit.store.levels import Level, SuspectLevels

MIN_PATIENTS = 5
"""Of a class, or of a side of a probe within it."""
_RESAMPLES = 500


def no_level(why: str) -> Level:
    """Return the level of a suspect that could not be measured."""
    return Level(value=None, low=None, high=None, null=None, p=None, n_images=0, n_patients=0, about=why)


class SuspectWorld:
    """The images (n) of the probes: classes, patients, and where the network errs."""

    def __init__(
        self,
        labels: NDArray[np.int64],
        patients: NDArray[np.str_],
        n_classes: int,
        wrong: Table,
        seed: int,
        level: float,
    ) -> None:
        self._present, self._labels = np.unique(labels, return_inverse=True)
        self._patients = np.unique(patients, return_inverse=True)[1]
        self._n_patients = int(self._patients.max()) + 1
        self._k, self._wrong, self._seed, self._level = len(self._present), wrong, seed, level
        self._fold = patient_folds(self._labels, self._patients, seed)
        self._shuffled = permuted(self._labels, self._patients, self._fold, generator_for(seed, "levels", "classes"))

    def levels(
        self, suspect: str, values: Table, features: Table | None, used: Level, head: Head | None = None
    ) -> SuspectLevels:
        """Return the levels of one suspect, whose view of the images is (n, v); the head reads the features."""
        if len(self._present) < 2:
            why = no_level("the images have one class")
            return SuspectLevels(suspect=suspect, available=why, encoded=why, used=used, erased=why, harmful=why)
        scores = cross_scores(values, np.eye(self._k)[self._labels], self._fold)
        return SuspectLevels(
            suspect=suspect,
            available=self._available(values, scores),
            encoded=self._encoded(scores, features, suspect),
            used=used,
            erased=self._erased(scores, features, head, suspect),
            harmful=self._harmful(scores, suspect),
        )

    def _available(self, values: Table, scores: Table) -> Level:
        targets = np.stack([self._labels, *self._shuffled], axis=1)
        areas = areas_of(values, targets, self._fold, self._k)
        placed = mean_placements(scores.T[None], self._labels, self._k)
        assert placed is not None
        _, influence = auc_influences(placed, self._labels, self._patients, self._n_patients, self._k, plain=True)
        return self._area(influence, areas, "ridge regression on the suspect alone, cross-validated over patients")

    def _encoded(self, scores: Table, features: Table | None, suspect: str) -> Level:
        if features is None:
            return no_level("the classifier shows no features")
        found: list[PatientInfluence] = []
        areas: list[Table] = []
        n_images = 0
        for c in range(self._k):
            mine = np.flatnonzero(self._labels == c)
            group = np.unique(self._patients[mine], return_inverse=True)[1]
            points = _side(scores[mine, c], group)
            if points is None:
                continue
            fold = patient_folds(points, group, self._seed)
            rng = generator_for(self._seed, "levels", suspect, c)
            targets = np.stack([points, *permuted(points, group, fold, rng)], axis=1)
            areas.append(areas_of(features[mine], targets, fold, 2))
            placed = mean_placements(cross_scores(features[mine], np.eye(2)[points], fold).T[None], points, 2)
            assert placed is not None
            _, influence = auc_influences(placed, points, self._patients[mine], self._n_patients, 2, plain=True)
            found.append(influence)
            n_images += len(mine)
        if not found:
            return no_level(
                f"in no class do at least {MIN_PATIENTS} patients' images point to the class and as many elsewhere"
            )
        n_patients = sum(i.n_patients for i in found)
        return self._area(
            mean_influence(found, n_images=n_images, n_patients=n_patients),
            np.mean(areas, axis=0),
            "ridge regression on the network's features within a class, mean over classes, cross-validated over patients",
        )

    def _erased(self, scores: Table, features: Table | None, head: Head | None, suspect: str) -> Level:
        if features is None or head is None:
            return no_level("the classifier shows no features that a linear layer reads")
        rng = generator_for(self._seed, "levels", "erased", suspect)
        found = measure_erasure(
            features, scores, head, self._labels, self._patients, self._fold, level=self._level, rng=rng
        )
        return found or no_level("the suspect is alike on all images of a class")

    def _area(self, influence: PatientInfluence, areas: Table, about: str) -> Level:
        interval = jackknife_interval(influence, self._level)
        value, null = float(areas[0]), areas[1:]
        return Level(
            value=round(value, 10),
            low=None if interval.low is None else round(min(interval.low, value), 10),
            high=None if interval.high is None else round(max(interval.high, value), 10),
            null=round(float(null.mean()), 10),
            p=float((1 + np.count_nonzero(null >= value - 1e-12)) / (1 + len(null))),
            n_images=influence.n_images,
            n_patients=influence.n_patients,
            about=about,
        )

    def _harmful(self, scores: Table, suspect: str) -> Level:
        # By patient, as a patient is what is resampled and permuted.
        sizes = np.bincount(self._patients, minlength=self._n_patients)
        sums = [np.bincount(self._patients, weights=column, minlength=self._n_patients) for column in scores.T]
        breaks = (np.stack(sums, axis=1) / sizes[:, None]).argmax(axis=1)[self._patients] != self._labels
        everyone = np.ones((1, self._n_patients))
        value = float(self._difference(breaks, everyone)[0])
        if not np.isfinite(value):
            return no_level("no class has images whose suspect points to it and others whose suspect does not")
        rng = generator_for(self._seed, "levels", "harmful", suspect)
        drawn = rng.multinomial(self._n_patients, np.full(self._n_patients, 1 / self._n_patients), size=_RESAMPLES)
        resampled = self._difference(breaks, drawn.astype(np.float64))
        ends = np.nanquantile(resampled, [(1 - self._level) / 2, (1 + self._level) / 2])
        null = np.array([float(self._difference(self._dealt(breaks, rng), everyone)[0]) for _ in range(N_PERMUTATIONS)])
        null = null[np.isfinite(null)]
        return Level(
            value=round(value, 10),
            low=round(float(min(ends[0], value)), 10),
            high=round(float(max(ends[1], value)), 10),
            null=round(float(null.mean()), 10) if len(null) else None,
            p=float((1 + np.count_nonzero(null >= value - 1e-12)) / (1 + len(null))),
            n_images=len(breaks),
            n_patients=self._n_patients,
            about=f"{int(breaks.sum())} images point elsewhere; mean over classes, percentile bootstrap over patients",
        )

    def _difference(self, breaks: NDArray[np.bool_], weights: Table) -> Table:
        """Return (b,) the error rate where the suspect points elsewhere minus that where it points to the class, mean over classes."""
        differences = []
        for c in range(self._k):
            rates = []
            for side in (True, False):
                mine = (self._labels == c) & (breaks == side)
                n = np.bincount(self._patients[mine], minlength=self._n_patients)
                bad = np.bincount(self._patients[mine], weights=self._wrong[mine], minlength=self._n_patients)
                total = weights @ n
                rates.append(np.divide(weights @ bad, total, out=np.full(len(total), np.nan), where=total > 0))
            differences.append(rates[0] - rates[1])
        stacked = np.stack(differences)
        known = np.isfinite(stacked)
        n_known = known.sum(axis=0)
        total = np.where(known, stacked, 0.0).sum(axis=0)
        return np.asarray(np.divide(total, n_known, out=np.full(len(total), np.nan), where=n_known > 0))

    def _dealt(self, breaks: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
        """Return which images break the association if that is dealt anew among the patients of each class."""
        first = np.unique(self._patients, return_index=True)[1]
        of_patient, of_class = breaks[first], self._labels[first]
        for c in range(self._k):
            mine = np.flatnonzero(of_class == c)
            of_patient[mine] = of_patient[rng.permutation(mine)]
        return np.asarray(of_patient[self._patients])


def _side(scores: Table, group: NDArray[np.intp]) -> NDArray[np.int_] | None:
    """Return (n,) 1 for images of patients whose suspect points to the class more than is usual in it, else 0; None with too few of one.

    Decided by patient, as a patient's images must not stand on both sides.
    """
    of_patient = np.bincount(group, weights=scores) / np.bincount(group)
    above = of_patient > np.median(of_patient) + 1e-9
    if above.sum() < MIN_PATIENTS:  # most are alike: those that are lower are the other side
        above = of_patient >= np.median(of_patient) - 1e-9
    if min(above.sum(), (~above).sum()) < MIN_PATIENTS:
        return None
    return above.astype(np.int_)[group]
