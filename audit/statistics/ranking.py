"""AUC of a class against the rest, and how an edit changes it, patient by patient (DeLong 1988; Obuchowski 1997)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.statistics.jackknife import PatientInfluence

_KIND = "placements summed within patients (DeLong, Obuchowski)"
_ENOUGH = 12.0
"""Effective patients from which AUC is covered 93 to 97 %, its skewness taken away: `benchmarks/interval_coverage.py`."""


def ascending(scores: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return an order in which finite scores ascend, as `argsort` does, in a third of its time.

    The bits of a float, read as a whole number, order it. The lowest of them give way to the position, so that plain sorting
    carries it along. Scores that differ in no other bits may come out in the wrong order: then `argsort` has to do it.
    """
    bits, place = scores.view(np.int64), (1 << len(scores).bit_length()) - 1
    keys = bits ^ ((bits >> 63) & np.iinfo(np.int64).max)  # below zero a larger magnitude is less
    keys = (keys & ~place) | np.arange(len(scores))
    keys.sort()
    order = (keys & place).astype(np.intp, copy=False)
    ranked = scores[order]
    return order if (ranked[:-1] <= ranked[1:]).all() else np.argsort(scores, kind="stable")


def placements(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (n,) for a positive the share of negatives below it, for a negative the share of positives above; ties half.

    Their mean over the positives, and over the negatives, is the AUC.
    """
    order = ascending(scores)
    ranked, is_positive = scores[order], positive[order]
    before_positive = np.concatenate([[0], np.cumsum(is_positive)])
    new = ranked[1:] != ranked[:-1]
    if new.all():
        positives_below = (before_positive[:-1] + before_positive[1:]) / 2
        all_below = np.arange(len(ranked)) + 0.5
    else:
        # Tied scores share a rank: all scores before their group, and half of those within it.
        starts = np.flatnonzero(np.concatenate([[True], new]))
        ends = np.append(starts[1:], len(ranked))
        group = np.repeat(np.arange(len(starts)), ends - starts)
        positives_below = ((before_positive[starts] + before_positive[ends]) / 2)[group]
        all_below = ((starts + ends) / 2)[group]
    n_positive = int(before_positive[-1])
    placed = np.empty(len(scores))
    placed[order] = np.where(
        is_positive,
        (all_below - positives_below) / (len(scores) - n_positive),
        1 - positives_below / n_positive,
    )
    return placed


def mean_placements(
    draws: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int
) -> NDArray[np.float64] | None:
    """Return (classes with images on both sides, n) placements, averaged over draws; None if no class has both sides.

    Parameters
    ----------
    draws : array, (d draws, k classes, n images)
        Scores under each draw, see `Outputs.scores`.
    labels : array of int, (n images,)
        Index of the true class.
    n_classes : int
    """
    usable = usable_classes(labels, n_classes)
    if not usable:
        return None
    total = np.zeros((len(usable), len(labels)))
    for scores in draws:
        for row, c in enumerate(usable):
            total[row] += placements(scores[c], labels == c)
    return total / len(draws)


def usable_classes(labels: NDArray[np.int64], n_classes: int) -> list[int]:
    """Return the classes that some of the images have, and some have not."""
    counts = np.bincount(labels, minlength=n_classes)
    return [c for c in range(n_classes) if 0 < counts[c] < len(labels)]


def auc_influences(
    moved: NDArray[np.float64],
    labels: NDArray[np.int64],
    patients: NDArray[np.intp],
    n_patients: int,
    n_classes: int,
    *,
    plain: bool,
) -> tuple[dict[int, PatientInfluence], PatientInfluence]:
    """Turn placements, or differences of placements, into AUCs or changes of AUC: of each class, and their mean.

    Parameters
    ----------
    moved : array, (usable classes, n images)
        Placements (AUC), or placements under a condition minus those without it (change of AUC).
    labels, patients : array of int, (n images,)
    n_patients : int
        Patients of the whole cohort.
    n_classes : int
    plain : bool
        Whether `moved` are placements themselves: an AUC lies in [0, 1], a change in [-1, 1].
    """
    seen = int((np.bincount(patients, minlength=n_patients) > 0).sum())
    bounds = (0.0, 1.0) if plain else (-1.0, 1.0)
    found: dict[int, PatientInfluence] = {}
    for values, c in zip(moved, usable_classes(labels, n_classes), strict=True):
        rows = np.flatnonzero(labels == c), np.flatnonzero(labels != c)
        estimate = float(values[rows[0]].mean())
        sides = [_side(values[side] - estimate, patients[side], n_patients) for side in rows]
        influence = sides[0].influence + sides[1].influence
        widening, freedom = _small_sample(sides)
        found[c] = PatientInfluence(
            estimate=estimate,
            influence=influence,
            n_images=len(values),
            n_patients=seen,
            fewest=min(side.n_images for side in sides),
            bounds=bounds,
            kind=_KIND,
            enough=_ENOUGH,
            on_log_odds=plain,
            widening=widening,
            freedom=freedom,
        )
    return found, mean_influence(list(found.values()), n_images=len(labels), n_patients=seen)


def mean_influence(each: Sequence[PatientInfluence], *, n_images: int, n_patients: int) -> PatientInfluence:
    """Return the mean of AUCs, or of changes of AUC, of several classes or outputs.

    Parameters
    ----------
    each : sequence of PatientInfluence
        At least one; of the same patients.
    n_images, n_patients : int
        Behind all of them.
    """
    return PatientInfluence(
        estimate=float(np.mean([one.estimate for one in each])),
        influence=np.mean([one.influence for one in each], axis=0),
        n_images=n_images,
        n_patients=n_patients,
        fewest=min(one.fewest for one in each),
        bounds=each[0].bounds,
        kind=_KIND,
        enough=_ENOUGH,
        on_log_odds=each[0].on_log_odds,
        # Classes are correlated in ways that these numbers do not show, so the most conservative one is used.
        widening=max(one.widening for one in each if one.widening is not None),
        freedom=min(one.freedom for one in each if one.freedom is not None),
    )


@dataclass(frozen=True, kw_only=True)
class _Side:
    """The positives of an AUC, or the negatives."""

    influence: NDArray[np.float64]
    """(g,) what each patient's images of this side add."""
    n_images: int
    """Images."""
    n_patients: int
    """Patients with such images."""


def _side(residual: NDArray[np.float64], patients: NDArray[np.intp], n_patients: int) -> _Side:
    influence = np.bincount(patients, weights=residual, minlength=n_patients) / len(residual)
    seen = int((np.bincount(patients, minlength=n_patients) > 0).sum())
    return _Side(influence=influence, n_images=len(residual), n_patients=seen)


def _small_sample(sides: Sequence[_Side]) -> tuple[float, float]:
    """Return the widening and the degrees of freedom of two samples with variances of their own (Brunner & Munzel 2000).

    Each side's variance is over its own patients, of whom there may be few; Satterthwaite's degrees of freedom lie between
    those of the smaller side and of both. Neither is known if a side has only one patient.
    """
    spare = [side.n_patients - 1 for side in sides]
    if min(spare) < 1:
        return 1.0, 0.0
    squares = [float(np.square(side.influence).sum()) for side in sides]
    if sum(squares) <= 0:
        return 1.0, float(min(spare))
    variances = [square * (1 + 1 / left) for square, left in zip(squares, spare, strict=True)]
    freedom = sum(variances) ** 2 / sum(v * v / left for v, left in zip(variances, spare, strict=True))
    return sum(variances) / sum(squares), freedom
