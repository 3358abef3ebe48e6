"""A self-check of the audit on a run's own predictions: a planted effect must be detected, and a null effect must not.

It needs no further predictions. The outputs of one edit are replaced by synthetic ones; the estimator, the family of all
judged effects, the patients and the tolerance are those of the run. An effect that is detected here is one that this run can
detect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import Condition, Suite
from audit.randomness import generator_for
from audit.statistics.effects import measure_effects
from audit.statistics.outputs import sigmoid, softmax
from audit.statistics.selections import default_tolerances, headline_of
from audit.store.controls import PlantedCheck
from audit.store.group import ALL
from audit.store.results import PredictionTable

PLANTED_TOLERANCES = 3.0
"""How many times the tolerance the planted effect is, on average over patients."""
_MOST_MOVED = 0.9


def check_planted(
    table: PredictionTable,
    suite: Suite,
    *,
    seed: int,
    resamples: int,
    level: float,
    tolerances: Mapping[str, float] | None = None,
) -> list[PlantedCheck]:
    """Plant an effect and a null in the first edit of the suite that was applied to an image.

    Parameters
    ----------
    table, suite, seed, resamples, level, tolerances
        Those of the run, see `audit.statistics.effects.measure_effects`.

    Returns
    -------
    list of PlantedCheck
        The planted effect and the null; empty where the suite judges no edit that was applied.
    """
    judged = [c for c in suite.conditions if c.judged]
    condition = next((c for c in judged if _is_usable(c, table)), None)
    if condition is None:
        return []
    measure = headline_of(condition.role).name
    tolerance = {**default_tolerances(), **(tolerances or {})}[measure]
    names = {"clean", *(c.name for c in judged), *(c.placebo for c in judged if c.placebo)}
    # Only judged conditions: they form the run's family, and the rest would only cost time.
    family = replace(suite, conditions=tuple(c for c in suite.conditions if c.name in names))
    coin = _coin(table, seed)
    strength = min(PLANTED_TOLERANCES * tolerance, _MOST_MOVED / 2)
    made: tuple[tuple[Literal["planted", "null"], PredictionTable, float], ...] = (
        ("planted", _with_effect(table, condition, np.where(coin, 2 * strength, 0.0)), strength),
        ("null", _with_places_changed(table, condition, coin), 0.0),
    )
    checks = []
    for kind, altered, planted in made:
        effects = measure_effects(altered, family, seed=seed, resamples=resamples, level=level, tolerances=tolerances)
        found = next(
            e
            for e in effects
            if (e.condition, e.measure, e.group) == (condition.name, measure, ALL) and e.placebo is not None
        )
        checks.append(
            PlantedCheck(
                kind=kind,
                condition=condition.name,
                strength=planted,
                estimate=found.estimate,
                low=found.simultaneous_low,
                high=found.simultaneous_high,
                verdict=found.verdict,
                as_expected=(found.verdict == "sensitive") == (kind == "planted"),
                n_images=found.n_images,
                n_patients=found.n_patients,
            )
        )
    return checks


def _is_usable(condition: Condition, table: PredictionTable) -> bool:
    """Say whether an edit and its placebo were both applied to some image."""
    if condition.role != "edit" or condition.placebo is None:
        return False
    return bool((table.applied[condition.name].all(axis=0) & table.applied[condition.placebo].all(axis=0)).any())


def _coin(table: PredictionTable, seed: int) -> NDArray[np.bool_]:
    """Return (n,) heads for half of the patients, whatever the order of the rows."""
    names, of_image = np.unique(table.patients, return_inverse=True)
    heads = generator_for(seed, "planted effect").permutation(len(names)) < (len(names) + 1) // 2
    found: NDArray[np.bool_] = heads[of_image]
    return found


def _with_effect(table: PredictionTable, condition: Condition, moved: NDArray[np.float64]) -> PredictionTable:
    """Give an edit its placebo's outputs, with a share (n,) of the probability moved to the class that was least likely."""
    placebo = str(condition.placebo)
    if table.truth is not None:
        return _with_effect_on_findings(table, condition, moved)
    probabilities = softmax(table.logits[placebo])
    least = np.eye(len(table.classes))[table.logits["clean"][0].argmin(axis=1)]
    mixed = (1 - moved)[:, None] * probabilities + (moved[:, None] * least)[None]
    planted = np.log(np.maximum(mixed, 1e-30)).astype(np.float32)
    return _replaced(table, {condition.name: (planted, table.applied[placebo])})


def _with_effect_on_findings(
    table: PredictionTable, condition: Condition, moved: NDArray[np.float64]
) -> PredictionTable:
    """Give an edit its placebo's outputs, with a share (n,) of the way of the surest finding to its opposite."""
    placebo = str(condition.placebo)
    clean = table.logits["clean"][0]
    surest = np.eye(len(table.classes), dtype=np.bool_)[np.abs(clean).argmax(axis=1)]
    probabilities = sigmoid(table.logits[placebo])
    share = np.where(surest, moved[:, None], 0.0)
    mixed = np.clip((1 - share) * probabilities + share * (clean < 0), 1e-30, 1 - 1e-15)
    planted = np.where(share > 0, np.log(mixed) - np.log1p(-mixed), table.logits[placebo]).astype(np.float32)
    return _replaced(table, {condition.name: (planted, table.applied[placebo])})


def _with_places_changed(table: PredictionTable, condition: Condition, coin: NDArray[np.bool_]) -> PredictionTable:
    """Swap edit and placebo where the coin is heads: what remains is noise of this run's size."""
    placebo = str(condition.placebo)
    made = {}
    for name, other in ((condition.name, placebo), (placebo, condition.name)):
        # The two may have different numbers of draws; those of the other are used in turn.
        turn = np.arange(len(table.logits[name])) % len(table.logits[other])
        made[name] = (
            np.where(coin[None, :, None], table.logits[other][turn], table.logits[name]),
            np.where(coin[None], table.applied[other][turn], table.applied[name]),
        )
    return _replaced(table, made)


def _replaced(
    table: PredictionTable, made: Mapping[str, tuple[NDArray[np.float32], NDArray[np.bool_]]]
) -> PredictionTable:
    return replace(
        table,
        logits={**table.logits, **{name: logits for name, (logits, _) in made.items()}},
        applied={**table.applied, **{name: applied for name, (_, applied) in made.items()}},
        # Directions towards a donor belong to the real outputs.
        donors={},
    )
