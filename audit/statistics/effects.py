"""Predictions under a suite's conditions -> effects: paired, placebo-controlled, with intervals over patients.

An effect is *sensitive* when its whole interval lies beyond the tolerance (above it; for accuracy below minus it),
*robust* when the whole interval lies on the near side of it (it is shown to be smaller; for accuracy, which may move
either way, between minus and plus the tolerance), else *inconclusive*.
What is judged at all is fixed in `audit.statistics.estimands`; the rest is *descriptive*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from audit.conditions import Suite
from audit.errors import UnknownNameError, UsageError
from audit.results import Effect, EffectVerdict, PredictionTable
from audit.statistics.alignment import AlignedImages, AppliedChanges, align_images, apply_condition
from audit.statistics.clusters import PatientBootstrap
from audit.statistics.estimands import Estimand, condition_estimands, performance_estimands
from audit.statistics.intervals import Interval, change_intervals, share_interval
from audit.statistics.multiplicity import holm

DEFAULT_TOLERANCES: Mapping[str, float] = {"shortcut_sensitivity": 0.05, "sufficiency": 0.05, "accuracy": 0.02}
"""Largest effect that counts as small, by judged measure; absolute."""
_NOT_APPLIED = "no estimate: not applied to any image"
_STREAM = 0xB007
"""Keeps the bootstrap's stream apart from others that start from the run's seed."""


def measure_effects(
    table: PredictionTable,
    suite: Suite,
    *,
    seed: int,
    resamples: int = 10_000,
    level: float = 0.95,
    tolerances: Mapping[str, float] | None = None,
) -> list[Effect]:
    """Estimate plain performance and every condition's effects, and judge them against tolerances.

    The population of an edit's effects are the images to which the edit was applied in all its draws and, if it has a
    placebo, the placebo too. Draws are averaged within the image before patients are resampled.

    Parameters
    ----------
    table : PredictionTable
        Logits of n images under every condition of the suite; finite, at least two classes.
    suite : Suite
        Conditions with their roles and placebos.
    seed : int
        Seed of the bootstrap; the same seed gives the same effects, whatever the order of the table's rows.
    resamples : int
        Bootstrap resamples of patients, at least 100.
    level : float
        Nominal coverage of the intervals, from 0.5 to below 1.
    tolerances : mapping, optional
        Measure -> absolute tolerance, replacing entries of `DEFAULT_TOLERANCES`.

    Returns
    -------
    list of Effect
        `clean` first (accuracy, balanced accuracy, recall, accuracy of subgroups), then the suite's order: raw effects,
        placebo-controlled ones (`placebo` set), shortcut sensitivity of subgroups; for controls the largest change.

    Raises
    ------
    UsageError
        If a setting is out of range or a tolerance names a measure that is not judged.
    CohortError, ModelError, AuditError
        If labels, logits or conditions of the table cannot be used.

    Notes
    -----
    Shortcut sensitivity is the mean over images of the total variation between the probabilities under the edit and
    clean, minus the same under the placebo (mean over its draws); the other controlled effects are the same
    differences of differences. Sufficiency is the probability of the true class under a condition that keeps only what must
    not matter, minus the same under the placebo, which keeps as much from elsewhere.
    """
    limits = _check_settings(seed, resamples, level, tolerances)
    images = align_images(table)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, _STREAM])))
    bootstrap = PatientBootstrap(images.n_patients, resamples, rng)
    effects = [_performance(e, level) for e in performance_estimands(images)]
    shared = {c.placebo for c in suite.conditions}
    known: dict[str, AppliedChanges] = {}

    def changes_under(name: str) -> AppliedChanges:
        if name in known:
            return known[name]
        applied = apply_condition(name, table, images)
        if name in shared:  # only placebos are needed twice; the others are let go
            known[name] = applied
        return applied

    for condition in suite.conditions:
        if condition.role == "clean":
            continue
        applied = changes_under(condition.name)
        if condition.role == "control":
            effects.append(_control(condition.name, applied, images, level))
        else:
            placebo = None if condition.placebo is None else changes_under(condition.placebo)
            estimands = list(condition_estimands(condition, applied, placebo, images))
            effects += _estimate(estimands, bootstrap, level, limits)
    return _adjust(effects)


def control_failures(effects: Sequence[Effect]) -> list[Effect]:
    """Return the controls that changed something: an image's own crop pasted back must move no probability at all."""
    return [e for e in effects if e.measure == "max_abs_probability_change" and e.estimate not in (None, 0.0)]


def _check_settings(
    seed: int, resamples: int, level: float, tolerances: Mapping[str, float] | None
) -> Mapping[str, float]:
    if seed < 0:
        raise UsageError(f"The seed must be 0 or a positive whole number, found {seed}.")
    if resamples < 100:
        raise UsageError(f"At least 100 bootstrap resamples are needed, found {resamples}; 10,000 is the default.")
    if not 0.5 <= level < 1:
        raise UsageError(f"The level of intervals must lie from 0.5 to below 1, found {level}; 0.95 is the default.")
    for measure, value in (tolerances or {}).items():
        if measure not in DEFAULT_TOLERANCES:
            raise UnknownNameError("judged measure", measure, DEFAULT_TOLERANCES, "Only these have a tolerance.")
        if not 0 < value < 1:
            raise UsageError(f"The tolerance of {measure} must lie between 0 and 1, found {value}.")
    return {**DEFAULT_TOLERANCES, **(tolerances or {})}


def _performance(estimand: Estimand, level: float) -> Effect:
    if estimand.sums is None:
        return _undefined(estimand, level, None, "no estimate: no image of this class")
    return _effect(estimand, share_interval(estimand.sums, level), level, None)


def _estimate(
    estimands: Sequence[Estimand], bootstrap: PatientBootstrap, level: float, limits: Mapping[str, float]
) -> list[Effect]:
    with_data = [e.sums for e in estimands if e.sums is not None]
    intervals = iter(change_intervals(with_data, bootstrap=bootstrap, level=level))
    effects = []
    for estimand in estimands:
        tolerance = limits[estimand.measure] if estimand.judged else None
        if estimand.sums is None:
            effects.append(_undefined(estimand, level, tolerance, _NOT_APPLIED))
        else:
            effects.append(_effect(estimand, next(intervals), level, tolerance))
    return effects


def _undefined(estimand: Estimand, level: float, tolerance: float | None, why: str) -> Effect:
    return Effect(
        condition=estimand.condition,
        placebo=estimand.placebo,
        measure=estimand.measure,
        group=estimand.group,
        estimate=None,
        low=None,
        high=None,
        level=level,
        method=why,
        n_images=0,
        n_patients=0,
        discordant=0,
        p=None,
        p_adjusted=None,
        tolerance=tolerance,
        verdict="inconclusive" if estimand.judged else "descriptive",
        minimum_detectable=None,
    )


def _effect(estimand: Estimand, interval: Interval, level: float, tolerance: float | None) -> Effect:
    sums = estimand.sums
    assert sums is not None
    low, high = _rounded(interval.low), _rounded(interval.high)
    return Effect(
        condition=estimand.condition,
        placebo=estimand.placebo,
        measure=estimand.measure,
        group=estimand.group,
        estimate=_rounded(sums.estimate),
        low=low,
        high=high,
        level=level,
        method=interval.method + estimand.note,
        n_images=sums.n_images,
        n_patients=sums.n_patients,
        discordant=estimand.discordant,
        p=_rounded(interval.p) if estimand.judged else None,
        p_adjusted=None,
        tolerance=tolerance,
        verdict="descriptive" if tolerance is None else _compare(estimand.measure, low, high, tolerance),
        minimum_detectable=_rounded(interval.minimum_detectable),
    )


def _rounded(value: float | None) -> float | None:
    # Ten decimals: the order of a matrix product's additions differs between machines, the file must not.
    return None if value is None else round(value, 10) + 0.0


def _compare(measure: str, low: float | None, high: float | None, tolerance: float) -> EffectVerdict:
    if low is None or high is None:
        return "inconclusive"
    if measure == "accuracy":
        if high < -tolerance:
            return "sensitive"
        return "robust" if -tolerance < low and high < tolerance else "inconclusive"
    # One-sided: a placebo that moves more than the edit is no sign of a shortcut.
    if low > tolerance:
        return "sensitive"
    return "robust" if high < tolerance else "inconclusive"


def _control(name: str, applied: AppliedChanges, images: AlignedImages, level: float) -> Effect:
    measure = "max_abs_probability_change"
    estimand = Estimand(condition=name, placebo=None, measure=measure, group="all", sums=None)
    empty, population = _undefined(estimand, level, None, _NOT_APPLIED), applied.everywhere
    if not population.any():
        return empty
    return replace(
        empty,
        estimate=float(applied.changes.largest[population].max()),
        method="exact: the largest change over images, draws and classes, which must be 0; nothing is inferred from it",
        n_images=int(population.sum()),
        n_patients=len(np.unique(images.patients[population])),
        discordant=int(applied.changes.flipped[population].sum()),
    )


def _adjust(effects: Sequence[Effect]) -> list[Effect]:
    adjusted = iter(holm([e.p for e in effects if e.tolerance is not None]))
    return [e if e.tolerance is None else replace(e, p_adjusted=_rounded(next(adjusted))) for e in effects]
