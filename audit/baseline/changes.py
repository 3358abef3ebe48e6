"""Two networks on the same images: how much more an edit moves the one than the other, image by image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.data.plan import Edit, Identity
from audit.errors import UsageError
from audit.prediction.table import FinishedRun
from audit.statistics.alignment import AlignedImages, align_images, apply_condition
from audit.statistics.clusters import PatientBootstrap, sum_by_patient
from audit.statistics.estimands import UNBOUNDED
from audit.statistics.intervals import change_intervals
from audit.statistics.measures import COMPARED
from audit.statistics.populations import COUNTED, natural_unit
from audit.store.results import Effect

_STREAM = 0xC0DE
_SAME_KEY = "images are matched by their pseudonyms. Set AUDIT_KEY to the key of the baseline and run again, or accept a new run"


@dataclass(frozen=True, kw_only=True)
class ImageValues:
    """One measure under one condition, image by image: all that a later run needs to be compared with this one."""

    images: NDArray[np.str_]
    """(n,) names of the images that it is told for."""
    values: NDArray[np.float64]
    """(n,) the measure, beyond the placebo where the condition has one."""


def incomparable(plan: Identity, baseline: Identity, condition: str) -> str:
    """Say why a condition of two runs must not be compared; an empty string where it may be.

    The images, classes, text finder, and the edit with its placebo must be the same. Another seed of draws is not a reason:
    draws are averaged within images, and what they add is inside the interval.

    Parameters
    ----------
    plan, baseline : Identity
        The runs' plans, or of the baseline what it keeps of it.
    condition : str
        An edit of the first.
    """
    mine, other = (identity.privacy.key for identity in (plan, baseline))
    if mine != other:
        return f"the baseline's pseudonyms were made {_by_key(other)}, this run's {_by_key(mine)}: {_SAME_KEY}"
    for key, what in (
        ("content_hash", "other data"),
        ("records_hash", "other images"),
        ("masks_hash", "other lung masks"),
    ):
        if getattr(plan.data, key) != getattr(baseline.data, key):
            return f"the baseline used {what}"
    if plan.model.classes != baseline.model.classes:
        return "the baseline has other classes"
    if plan.detector != baseline.detector:
        return "the baseline used another text finder, or another version of it"
    own, theirs = ({edit.name: edit for edit in identity.suite.conditions} for identity in (plan, baseline))
    if condition not in theirs:
        return f"the baseline was not run under {condition}"
    for name in (condition, own[condition].placebo):
        if name is not None and _edit(own[name]) != _edit(theirs.get(name)):
            return f"{name} differs in the baseline: version, parameters, draws or placebo"
    return ""


def measure_images(run: FinishedRun, condition: str, measure: str) -> ImageValues:
    """Measure every image of a run.

    Parameters
    ----------
    run : FinishedRun
        The run.
    condition : str
        An edit, or `clean` with accuracy, nll or brier.
    measure : str
        One of `COMPARED`.

    Raises
    ------
    UsageError
        If the measure has no number for each image.
    """
    images = align_images(run.table)
    values, population = _values(run, images, condition, measure)
    return ImageValues(images=run.table.record_ids[images.order][population], values=values[population])


def compare_images(
    run: FinishedRun,
    before: ImageValues,
    condition: str,
    measure: str,
    *,
    group: str = "all",
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Effect:
    """Estimate how much larger an effect is in a run than it was before, over the images that have it in both.

    Parameters
    ----------
    run : FinishedRun
        The run at hand.
    before : ImageValues
        The same measure under the same condition of an earlier run on the same data.
    condition : str
        An edit, or `clean` with accuracy, nll or brier.
    measure : str
        One of `COMPARED`; beyond the placebo where the condition has one.
    group : str
        `all`, `column=value`, or `word=STRING`; who is in it is told by the run at hand.
    level : float
        Nominal coverage.
    resamples, seed : int
        Of the patient bootstrap.

    Returns
    -------
    Effect
        `estimate` is run minus baseline.

    Raises
    ------
    UsageError
        If the measure has no number for each image, or there is no such group.
    """
    images = align_images(run.table)
    values, population = _values(run, images, condition, measure)
    members = images.members()
    if group not in members:
        raise UsageError(f"There is no group {group}; the run has {', '.join(sorted(members))}.")
    known = dict(zip(before.images.tolist(), before.values.tolist(), strict=True))
    earlier = np.array(
        [known.get(name, np.nan) for name in run.table.record_ids[images.order].tolist()], dtype=np.float64
    )
    both = population & np.isfinite(earlier) & members[group]
    change = values - np.where(both, earlier, values)
    difference = np.where(np.abs(change) < 1e-12, 0.0, change)
    sums = sum_by_patient(
        difference,
        images.patients,
        images.n_patients,
        population=both,
        # A difference of differences leaves [-1, 1], so no score interval holds for it.
        scale="unbounded" if measure in UNBOUNDED else "contrast",
        counted=measure in COUNTED,
        spread=natural_unit(measure, images),
    )
    if sums is None:
        return no_change(run, condition, measure, group, "no image has this figure in both runs", level=level)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, _STREAM])))
    interval = change_intervals([sums], bootstrap=PatientBootstrap(images.n_patients, resamples, rng), level=level)[0]
    return Effect(
        **_shared(run, condition, measure, group, level),
        estimate=round(sums.estimate, 10),
        low=None if interval.low is None else round(interval.low, 10),
        high=None if interval.high is None else round(interval.high, 10),
        method=f"run minus baseline on the same images; {interval.method}",
        n_images=sums.n_images,
        n_patients=sums.n_patients,
        discordant=int((difference[both] != 0).sum()),
        p=round(interval.p, 10),
        minimum_detectable=interval.minimum_detectable,
    )


def no_change(run: FinishedRun, condition: str, measure: str, group: str, why: str, *, level: float = 0.95) -> Effect:
    """Return the effect of a group that holds too little to tell a change, with the reason as its method."""
    nothing: dict[str, Any] = dict.fromkeys(("estimate", "low", "high", "p", "minimum_detectable"))
    shared = _shared(run, condition, measure, group, level)
    return Effect(**shared, **nothing, method=f"no estimate: {why}", n_images=0, n_patients=0, discordant=0)


def _shared(run: FinishedRun, condition: str, measure: str, group: str, level: float) -> dict[str, Any]:
    named = {"condition": condition, "placebo": run.suite[condition].placebo, "measure": measure, "group": group}
    return {**named, "level": level, "p_adjusted": None, "tolerance": None, "verdict": "descriptive"}


def _values(
    run: FinishedRun, images: AlignedImages, condition: str, measure: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return (n,) the measure of each image, and for which images it is told."""
    if measure not in COMPARED or (condition == "clean" and measure not in ("accuracy", "nll", "brier")):
        raise UsageError(
            f"{measure} under {condition} cannot be compared image by image. These can: {', '.join(COMPARED)}; for unedited "
            "images accuracy, nll, brier."
        )
    if condition == "clean":
        clean = {
            "accuracy": images.clean.correct.astype(np.float64),
            "nll": images.clean.nll,
            "brier": images.clean.brier,
        }
        return clean[measure], np.ones(len(images.labels), dtype=np.bool_)
    applied = apply_condition(condition, run.table, images)
    name, sign = {"shortcut_sensitivity": ("total_variation", 1.0), "sufficiency": ("harm", -1.0)}.get(
        measure, (measure, 1.0)
    )
    placebo_name = run.suite[condition].placebo
    if placebo_name is None:
        return sign * applied.changes.changes[name], applied.everywhere
    placebo = apply_condition(placebo_name, run.table, images)
    moved = applied.changes.changes[name] - placebo.changes.changes[name]
    return sign * moved, applied.everywhere & placebo.everywhere


def _by_key(fingerprint: str | None) -> str:
    return "from plain ids" if fingerprint is None else f"with the key {fingerprint}"


def _edit(edit: Edit | None) -> tuple[Any, ...] | None:
    return None if edit is None else tuple(getattr(edit, name) for name in Edit.__struct_fields__)
