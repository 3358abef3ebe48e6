"""Predictions under a suite's conditions -> effects: paired, placebo-controlled, with intervals over patients.

Verdicts are defined in `audit.statistics.verdicts`. Where a control fails, none is given: every judged effect is *void*.
What is judged at all is fixed in `audit.statistics.estimands`; the rest is *descriptive*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from audit.data.conditions import Suite
from audit.statistics.alignment import AlignedImages, AppliedChanges, align_images, apply_condition
from audit.statistics.blindness import find_blindness
from audit.statistics.catalogue import CONTROL_MEASURE
from audit.statistics.clean_estimands import performance_estimands
from audit.statistics.estimand import Estimand
from audit.statistics.estimands import condition_estimands
from audit.statistics.estimates import NOT_APPLIED, Estimate, estimate_effects, undefined_effect
from audit.statistics.families import adjust_and_judge
from audit.statistics.fill_agreement import FillComparison
from audit.statistics.finder_misses import FinderRecall
from audit.statistics.patient_bootstrap import GAUSSIAN_FROM, PatientBootstrap
from audit.statistics.saturation import at_lower_temperature, confirm
from audit.statistics.selections import default_tolerances, headline_of
from audit.statistics.verdicts import control_failures
from audit.store.group import ALL, Group
from audit.store.results import Effect, PredictionTable

_STREAM = 0xB007
"""Separates the bootstrap's random stream from others that start from the run's seed."""


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
    made = estimate_effects(list(performance_estimands(images)), bootstrap, level, limits)
    shown = [c for c in suite.conditions if c.role != "clean"]
    uses = Counter(name for c in shown for name in (c.name, c.placebo) if name)
    known: dict[str, AppliedChanges] = {}

    def changes_under(name: str) -> AppliedChanges:
        applied = known.pop(name, None) or apply_condition(name, table, images, pairs=suite[name].pairs)
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
        made += [one for batch in batches for one in estimate_effects(list(batch), bootstrap, level, limits)]
    made += estimate_effects(list(fills.estimands()), bootstrap, level, limits)
    limit = limits[headline_of("edit").name]
    effects = adjust_and_judge(
        made, level, seed, blind=_is_blind(images, limit), blind_outputs=_blind_outputs(images, limit)
    )
    if not control_failures(effects):
        return effects
    return [e if e.verdict == "descriptive" else replace(e, verdict="void", patients_to_decide=None) for e in effects]


def _control(name: str, applied: AppliedChanges, images: AlignedImages, level: float) -> Estimate:
    estimand = Estimand(condition=name, placebo=None, measure=CONTROL_MEASURE, group=ALL, data=None)
    empty, population = undefined_effect(estimand, level, None, NOT_APPLIED), applied.everywhere
    if not population.any():
        return Estimate(estimand=estimand, interval=None, effect=empty)
    largest = replace(
        empty,
        estimate=float(applied.changes.largest[population].max()),
        interval_kind="exact",
        method="exact: the largest change over images, draws and classes, which must be 0; no inference",
        n_images=int(population.sum()),
        n_patients=len(np.unique(images.patients[population])),
        discordant=int(applied.changes.flipped[population].sum()),
    )
    return Estimate(estimand=estimand, interval=None, effect=largest)


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
