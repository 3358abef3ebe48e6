"""Predictions under a suite's conditions -> effects: paired, placebo-controlled, with intervals over patients.

Verdicts are defined in `audit.statistics.verdicts`. Where a control fails, none is given: every judged effect is *void*.
What is judged at all is fixed in `audit.statistics.estimands`; the rest is *descriptive*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import Suite
from audit.statistics.alignment import AlignedImages, AppliedChanges, align_images, apply_condition
from audit.statistics.blindness import find_blindness
from audit.statistics.catalogue import CONTROL_MEASURE, MEASURES
from audit.statistics.detector_misses import FinderRecall
from audit.statistics.estimand import Estimand
from audit.statistics.estimands import condition_estimands, performance_estimands
from audit.statistics.fill_agreement import FillComparison
from audit.statistics.intervals import (
    UNSEEN_MOVE,
    Interval,
    change_intervals,
    critical_value,
    lengthened_interval,
    share_interval,
    widened_interval,
)
from audit.statistics.jackknife import PatientInfluence, jackknife_interval
from audit.statistics.multiplicity import adjust_family, benjamini_hochberg
from audit.statistics.patient_bootstrap import GAUSSIAN_FROM, PatientBootstrap
from audit.statistics.patient_sums import PatientSums
from audit.statistics.power import detectable_beyond
from audit.statistics.saturation import at_lower_temperature, confirm
from audit.statistics.selections import default_tolerances, headline_of
from audit.statistics.verdicts import control_failures, judge_effect
from audit.store.group import ALL, Group
from audit.store.results import Effect, PredictionTable

_NOT_APPLIED = "no estimate: not applied to any image"
_STREAM = 0xB007
"""Separates the bootstrap's random stream from others that start from the run's seed."""


@dataclass(frozen=True, kw_only=True)
class _Estimate:
    """One entry before the families are adjusted."""

    estimand: Estimand
    """What is estimated. Its data are kept only if the interval must be recomputed later."""
    interval: Interval | None
    """None where no image is behind it."""
    effect: Effect
    """The entry as it stands by itself."""
    influence: NDArray[np.float32] | None = None
    """(g,) each patient's influence on the estimate, for declared effects; half as large as the data that it is computed
    from."""


def measure_effects(
    table: PredictionTable,
    suite: Suite,
    *,
    seed: int,
    resamples: int = 10_000,
    level: float = 0.95,
    tolerances: Mapping[str, float] | None = None,
    recall: FinderRecall | None = None,
) -> list[Effect]:
    """Estimate performance on unedited images and every condition's effects, and judge them against tolerances.

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
        Measure -> absolute tolerance, replacing entries of `default_tolerances`.
    recall : FinderRecall, optional
        Share of the text that the finder finds; masking is then also reported as if it had found all of it.

    Returns
    -------
    list of Effect
        `clean` first (accuracy, recalls, AUCs, likelihood, calibration, accuracy of subgroups), then the suite's order: raw effects,
        placebo-controlled ones (`placebo` set), shortcut sensitivity of subgroups; for controls the largest change.

    Raises
    ------
    CohortError, ModelError, AuditError
        If labels, logits or conditions of the table cannot be used.

    Notes
    -----
    Shortcut sensitivity is the mean over images of the total variation between the probabilities under the edit
    and clean, minus the same under the placebo (mean over its draws); the other controlled effects are the same differences
    of differences. Sufficiency is the probability of the true class under a condition that keeps only an irrelevant part,
    minus the same under the placebo, which keeps an equal area from elsewhere.

    Where many images are saturated (`audit.statistics.saturation`), an effect is only robust or bounded if it is so at a lower
    temperature too.
    """
    limits = {**default_tolerances(), **(tolerances or {})}
    measured = _measured(table, suite, seed=seed, resamples=resamples, level=level, limits=limits, recall=recall)
    cooler = at_lower_temperature(table, limits[headline_of("edit").name])
    if cooler is None or not any(e.verdict in ("robust", "bounded") for e in measured):
        return measured
    return confirm(
        measured, _measured(cooler, suite, seed=seed, resamples=resamples, level=level, limits=limits, recall=recall)
    )


def _measured(
    table: PredictionTable,
    suite: Suite,
    *,
    seed: int,
    resamples: int,
    level: float,
    limits: Mapping[str, float],
    recall: FinderRecall | None,
) -> list[Effect]:
    # What a user may set is checked by `audit.run.settings`, before anything is computed.
    assert seed >= 0
    assert resamples >= 100
    assert 0.5 <= level < 1
    assert set(limits) == set(default_tolerances())
    images = align_images(table)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, _STREAM])))
    bootstrap = PatientBootstrap(images.n_patients, resamples, rng)
    made = _estimate(list(performance_estimands(images)), bootstrap, level, limits)
    shown = [c for c in suite.conditions if c.role != "clean"]
    uses = Counter(name for c in shown for name in (c.name, c.placebo) if name)
    known: dict[str, AppliedChanges] = {}

    def changes_under(name: str) -> AppliedChanges:
        applied = known.pop(name, None) or apply_condition(name, table, images)
        uses[name] -= 1
        if uses[name]:  # freed if not needed again: one condition is as large as all its images
            known[name] = applied
        return applied

    fills = FillComparison(images=images)
    for condition in shown:
        applied = changes_under(condition.name)
        if condition.role == "control":
            made.append(_control(condition.name, applied, images, level))
            continue
        placebo = None if condition.placebo is None else changes_under(condition.placebo)
        fills.add(condition, applied, placebo)
        estimands = condition_estimands(condition, applied, placebo, images, recall)
        # They share one matrix product if patients are resampled; otherwise each is processed alone, to save memory.
        batches = [estimands] if images.n_patients < GAUSSIAN_FROM else ([e] for e in estimands)
        made += [one for batch in batches for one in _estimate(list(batch), bootstrap, level, limits)]
    made += _estimate(list(fills.estimands()), bootstrap, level, limits)
    limit = limits[headline_of("edit").name]
    effects = _adjust(made, level, seed, blind=_is_blind(images, limit), blind_outputs=_blind_outputs(images, limit))
    if not control_failures(effects):
        return effects
    return [e if e.verdict == "descriptive" else replace(e, verdict="void", patients_to_decide=None) for e in effects]


def _estimate(
    estimands: Sequence[Estimand], bootstrap: PatientBootstrap, level: float, limits: Mapping[str, float]
) -> list[_Estimate]:
    resampled = [e.data for e in estimands if isinstance(e.data, PatientSums) and not _is_share(e)]
    intervals = iter(change_intervals(resampled, bootstrap=bootstrap, level=level))
    made = []
    for estimand in estimands:
        tolerance = limits[estimand.measure] if estimand.judged else None
        if estimand.data is None:
            why = "no estimate: no image of this class" if estimand.condition == "clean" else _NOT_APPLIED
            made.append(_Estimate(estimand=estimand, interval=None, effect=_undefined(estimand, level, tolerance, why)))
            continue
        if isinstance(estimand.data, PatientInfluence):
            interval = jackknife_interval(estimand.data, level)
        else:
            interval = share_interval(estimand.data, level) if _is_share(estimand) else next(intervals)
        effect = _effect(estimand, interval, level, tolerance)
        # Only declared effects need their patients again, and most of them only the correlations.
        influence = estimand.data.influence.astype(np.float32) if estimand.judged else None
        anew = estimand.judged and interval.reach is None
        kept = replace(estimand, data=replace(estimand.data) if anew else None)
        made.append(_Estimate(estimand=kept, interval=interval, effect=effect, influence=influence))
    return made


def _is_share(estimand: Estimand) -> bool:
    """Say whether it is a plain share of clean images, which has a score interval of its own."""
    return (
        estimand.condition == "clean" and isinstance(estimand.data, PatientSums) and estimand.data.scale == "proportion"
    )


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
    sums = estimand.data
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
        interval_kind=interval.kind,
        n_images=sums.n_images,
        n_patients=sums.n_patients,
        discordant=estimand.discordant,
        p=_rounded(interval.p) if estimand.tested else None,
        p_adjusted=None,
        tolerance=tolerance,
        verdict="descriptive",
        minimum_detectable=_rounded(interval.minimum_detectable),
        classes_absent=estimand.classes_absent,
    )


def _rounded(value: float | None) -> float | None:
    # Ten decimals: the order of additions in a matrix product differs between machines, but the file must not.
    return None if value is None else round(value, 10) + 0.0


def _control(name: str, applied: AppliedChanges, images: AlignedImages, level: float) -> _Estimate:
    estimand = Estimand(condition=name, placebo=None, measure=CONTROL_MEASURE, group=ALL, data=None)
    empty, population = _undefined(estimand, level, None, _NOT_APPLIED), applied.everywhere
    if not population.any():
        return _Estimate(estimand=estimand, interval=None, effect=empty)
    largest = replace(
        empty,
        estimate=float(applied.changes.largest[population].max()),
        interval_kind="exact",
        method="exact: the largest change over images, draws and classes, which must be 0; no inference",
        n_images=int(population.sum()),
        n_patients=len(np.unique(images.patients[population])),
        discordant=int(applied.changes.flipped[population].sum()),
    )
    return _Estimate(estimand=estimand, interval=None, effect=largest)


def _is_blind(images: AlignedImages, tolerance: float) -> bool:
    """Return whether the clean probabilities hardly vary or one class always wins, so that an unchanged prediction is no evidence."""
    exclusive = images.findings is None
    labels = (
        [images.classes[k] for k in images.labels.tolist()]
        if images.findings is None
        else list(map(str, images.findings.truth.tolist()))
    )
    found = find_blindness(images.clean.probabilities, labels, images.classes, tolerance=tolerance, exclusive=exclusive)
    return any(b.total for b in found)


def _blind_outputs(images: AlignedImages, tolerance: float) -> frozenset[Group]:
    """Return the outputs of a multi-label network that differ by less than the tolerance over all images: they show no effect."""
    if images.findings is None:
        return frozenset()
    values = images.clean.probabilities
    narrow = (values.max(axis=0) - values.min(axis=0) < tolerance).tolist()
    return frozenset(
        Group(kind="output", value=name) for name, still in zip(images.classes, narrow, strict=True) if still
    )


def _adjust(
    made: Sequence[_Estimate], level: float, seed: int, *, blind: bool, blind_outputs: frozenset[Group]
) -> list[Effect]:
    """Adjust and judge the effects over all images, those in groups, and the exploratory rest.

    The first two are separate families: the effect over all images is the primary question, and is not penalised for the many
    groups that are tested as well.
    """
    judged = [m for m in made if m.influence is not None]
    adjusted: dict[int, float] = {}
    levels: dict[bool, float] = {}
    for over_all in (True, False):
        members = [m for m in judged if (m.estimand.group == ALL) == over_all]
        influences = [m.influence for m in members if m.influence is not None]
        family = adjust_family([m.interval.p for m in members if m.interval], influences, level=level, seed=seed)
        adjusted |= {id(m): p for m, p in zip(members, family.p_adjusted, strict=True)}
        levels[over_all] = family.simultaneous_level
    explored = iter(benjamini_hochberg([m.effect.p for m in made if m.estimand.tested and not m.estimand.judged]))
    effects = []
    for m in made:
        effect = m.effect
        if m.estimand.judged:
            unseen = blind or m.estimand.group in blind_outputs
            effect = replace(effect, family="declared", p_adjusted=_rounded(adjusted.get(id(m))), blind=unseen)
            effect = _judge(effect, m, levels[m.estimand.group == ALL])
        elif m.estimand.tested:
            effect = replace(effect, family="exploratory", p_adjusted=_rounded(next(explored)))
        effects.append(effect)
    return effects


def _judge(effect: Effect, made: _Estimate, simultaneous_level: float) -> Effect:
    interval, data = made.interval, made.estimand.data
    if interval is not None and effect.estimate is not None:
        if isinstance(data, PatientSums):
            low, high = widened_interval(data, simultaneous_level)
        else:
            low, high = lengthened_interval(
                interval, effect.estimate, effect.n_patients, effect.level, simultaneous_level
            )
        effect = replace(
            effect,
            simultaneous_low=_rounded(low),
            simultaneous_high=_rounded(high),
            minimum_detectable=_smallest_shown(effect, simultaneous_level),
        )
    return judge_effect(effect)


def _smallest_shown(effect: Effect, simultaneous_level: float) -> float | None:
    """Return the smallest true effect that is called sensitive with 80 % power."""
    if effect.low is None or effect.high is None or effect.tolerance is None or effect.n_patients < 2:
        return None
    error = (effect.high - effect.low) / 2 / critical_value(effect.level, effect.n_patients)
    critical = critical_value(simultaneous_level, effect.n_patients)
    move = 1.0 if MEASURES[effect.measure].counted else UNSEEN_MOVE
    return _rounded(detectable_beyond(effect.tolerance, error, critical, effect.n_patients, move=move))
