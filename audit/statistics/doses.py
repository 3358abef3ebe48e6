"""Dose ladders: whether the prediction changes more as the edit grows, compared with the same doses of its placebo.

The slope of every image's soft effect over the dose is summed within patients, and each patient's sum is given a random sign:
without a trend beyond the placebo's, both signs are equally likely. A test of the doses alone would call a placebo's trend,
such as that of ever larger rectangles, a trend of the text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from audit.data.conditions import Condition, Suite
from audit.statistics.alignment import AlignedImages, AppliedChanges, align_images, apply_condition
from audit.statistics.patient_bootstrap import GAUSSIAN_FROM
from audit.store.numbers import counted
from audit.store.results import DoseTrend, PredictionTable

_STREAM = 0xD05E
_CHUNK = 500


def measure_trends(table: PredictionTable, suite: Suite, *, seed: int, resamples: int = 10_000) -> list[DoseTrend]:
    """Test every ladder of a suite for a rise of the soft effect (total variation) over its doses.

    Parameters
    ----------
    table : PredictionTable
        Logits of n images under every condition of the suite.
    suite : Suite
        Conditions, of which some are rungs of ladders.
    seed : int
        Of the sign flips.
    resamples : int
        Sign flips of all patients.

    Returns
    -------
    list of DoseTrend
        In the order of the suite; ladders that are placebos of others are not tested by themselves.
    """
    placebos = {c.placebo for c in suite.conditions}
    ladders: dict[str, list[Condition]] = {}
    for condition in suite.conditions:
        if condition.dose is not None and condition.name not in placebos:
            ladders.setdefault(condition.dose.ladder, []).append(condition)
    if not ladders:
        return []
    images = align_images(table)
    return [_trend(rungs, table, suite, images, seed, resamples) for rungs in ladders.values()]


def _trend(
    rungs: Sequence[Condition], table: PredictionTable, suite: Suite, images: AlignedImages, seed: int, resamples: int
) -> DoseTrend:
    first = rungs[0].dose
    assert first is not None
    population = np.ones(len(images.labels), dtype=np.bool_)
    moved, margins = [], []
    for rung in rungs:
        edit = apply_condition(rung.name, table, images, pairs=rung.pairs)
        placebo = None if rung.placebo is None else apply_condition(rung.placebo, table, images, pairs=rung.pairs)
        population &= edit.everywhere if placebo is None else edit.everywhere & placebo.everywhere
        moved.append(_beyond(edit, placebo, "total_variation"))
        margins.append(_beyond(edit, placebo, "margin"))
    doses = tuple(rung.dose.value for rung in rungs if rung.dose is not None)
    placebo_dose = None if rungs[0].placebo is None else suite[rungs[0].placebo].dose
    n_images = int(population.sum())
    if n_images == 0:
        slope, p, one_sd, method = None, None, None, "no test: no image that every dose was applied to"
        estimates: tuple[float, ...] = ()
    else:
        # Ranks, not the doses: opacities, counts and sizes have no common scale, and only a rise is tested.
        steps = np.arange(len(doses)) - (len(doses) - 1) / 2
        slopes = steps @ np.array([m[population] for m in moved]) / float(np.square(steps).sum())
        sums = np.bincount(images.patients[population], weights=slopes, minlength=images.n_patients)
        p, method = _sign_flip(sums.astype(np.float64), seed, resamples)
        slope = round(float(slopes.mean()) * (len(doses) - 1), 10)
        estimates = tuple(round(float(m[population].mean()), 10) for m in moved)
        one_sd = _first_dose(doses, [-float(m[population].mean()) / images.spread for m in margins])
    return DoseTrend(
        ladder=first.ladder,
        placebo=None if placebo_dose is None else placebo_dose.ladder,
        parameter=first.parameter,
        doses=doses,
        estimates=estimates,
        slope=slope,
        p=p,
        dose_one_sd=one_sd,
        n_images=n_images,
        n_patients=len(np.unique(images.patients[population])),
        method=method,
    )


def _beyond(edit: AppliedChanges, placebo: AppliedChanges | None, name: str) -> NDArray[np.float64]:
    return edit.changes.changes[name] - (0.0 if placebo is None else placebo.changes.changes[name])


def _sign_flip(sums: NDArray[np.float64], seed: int, resamples: int) -> tuple[float, str]:
    """Return the one-sided p of a positive total when every patient's sum may have either sign."""
    carried = sums[sums != 0]
    observed, g = float(carried.sum()), len(carried)
    if g == 0:
        return 1.0, "no patient's predictions change with the dose"
    if g >= GAUSSIAN_FROM:
        statistic = observed / float(np.sqrt(np.square(carried).sum()))
        return round(float(ndtr(-statistic)), 10), f"Gaussian limit of sign flips of {g} patients"
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, _STREAM])))
    reached = 0
    for start in range(0, resamples, _CHUNK):
        rows = min(_CHUNK, resamples - start)
        signs = rng.integers(0, 2, size=(rows, g)) * 2.0 - 1.0
        # The margin keeps sums that differ only by rounding from counting as smaller.
        reached += int((signs @ carried >= observed - 1e-12).sum())
    return (1 + reached) / (
        1 + resamples
    ), f"{resamples} sign flips of {counted(g, 'patient')} whose predictions change"


def _first_dose(doses: Sequence[float], falls: Sequence[float]) -> float | None:
    """Return the dose at which the fall first reaches 1, by straight lines between doses and from nothing at dose zero."""
    earlier_dose, earlier_fall = 0.0, 0.0
    for dose, fall in zip(doses, falls, strict=True):
        if fall >= 1.0:
            share = (1.0 - earlier_fall) / (fall - earlier_fall)
            return round(earlier_dose + share * (dose - earlier_dose), 6)
        earlier_dose, earlier_fall = dose, fall
    return None
