"""Effects as they stand by themselves: each estimand with its interval, before the families are adjusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audit.statistics.estimand import Estimand
from audit.statistics.intervals import (
    Interval,
    change_intervals,
    share_interval,
)
from audit.statistics.jackknife import PatientInfluence, jackknife_interval
from audit.statistics.patient_bootstrap import PatientBootstrap
from audit.statistics.patient_sums import PatientSums
from audit.store.results import Effect

NOT_APPLIED = "no estimate: not applied to any image"


@dataclass(frozen=True, kw_only=True)
class Estimate:
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


def estimate_effects(
    estimands: Sequence[Estimand], bootstrap: PatientBootstrap, level: float, limits: Mapping[str, float]
) -> list[Estimate]:
    """Return each estimand with its interval, those that resample patients in one matrix product."""
    resampled = [e.data for e in estimands if isinstance(e.data, PatientSums) and not _is_share(e)]
    intervals = iter(change_intervals(resampled, bootstrap=bootstrap, level=level))
    made = []
    for estimand in estimands:
        tolerance = limits[estimand.measure] if estimand.judged else None
        if estimand.data is None:
            why = "no estimate: no image of this class" if estimand.condition == "clean" else NOT_APPLIED
            made.append(
                Estimate(estimand=estimand, interval=None, effect=undefined_effect(estimand, level, tolerance, why))
            )
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
        made.append(Estimate(estimand=kept, interval=interval, effect=effect, influence=influence))
    return made


def _is_share(estimand: Estimand) -> bool:
    """Say whether it is a plain share of clean images, which has a score interval of its own."""
    return (
        estimand.condition == "clean" and isinstance(estimand.data, PatientSums) and estimand.data.scale == "proportion"
    )


def undefined_effect(estimand: Estimand, level: float, tolerance: float | None, why: str) -> Effect:
    """Return the entry of an estimand that no image is behind, and why."""
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
    low, high = rounded(interval.low), rounded(interval.high)
    return Effect(
        condition=estimand.condition,
        placebo=estimand.placebo,
        measure=estimand.measure,
        group=estimand.group,
        estimate=rounded(sums.estimate),
        low=low,
        high=high,
        level=level,
        method=interval.method + estimand.note,
        interval_kind=interval.kind,
        n_images=sums.n_images,
        n_patients=sums.n_patients,
        discordant=estimand.discordant,
        p=rounded(interval.p) if estimand.tested else None,
        p_adjusted=None,
        tolerance=tolerance,
        verdict="descriptive",
        minimum_detectable=rounded(interval.minimum_detectable),
        classes_absent=estimand.classes_absent,
    )


def rounded(value: float | None) -> float | None:
    """Round to ten decimals: the order of additions in a matrix product differs between machines, but the file must not."""
    return None if value is None else round(value, 10) + 0.0
