"""The families of effects: adjusted for what is tested together, then judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from audit.statistics.catalogue import MEASURES
from audit.statistics.effective_counts import critical_value
from audit.statistics.estimates import Estimate, rounded
from audit.statistics.intervals import (
    UNSEEN_MOVE,
    lengthened_interval,
    widened_interval,
)
from audit.statistics.multiplicity import adjust_family, benjamini_hochberg
from audit.statistics.patient_sums import PatientSums
from audit.statistics.power import detectable_beyond
from audit.statistics.verdicts import judge_effect
from audit.store.group import ALL, Group
from audit.store.results import Effect


def adjust_and_judge(
    made: Sequence[Estimate], level: float, seed: int, *, blind: bool, blind_outputs: frozenset[Group]
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
            effect = replace(effect, family="declared", p_adjusted=rounded(adjusted.get(id(m))), blind=unseen)
            effect = _judge(effect, m, levels[m.estimand.group == ALL])
        elif m.estimand.tested:
            effect = replace(effect, family="exploratory", p_adjusted=rounded(next(explored)))
        effects.append(effect)
    return effects


def _judge(effect: Effect, made: Estimate, simultaneous_level: float) -> Effect:
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
            simultaneous_low=rounded(low),
            simultaneous_high=rounded(high),
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
    return rounded(detectable_beyond(effect.tolerance, error, critical, effect.n_patients, move=move))
