"""Two networks on the same images: the difference between the effects of an edit, image by image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.baseline.identity import other_cohort, other_edit
from audit.data.plan import Identity
from audit.errors import UsageError
from audit.prediction.table import FinishedRun
from audit.statistics.alignment import AlignedImages, AppliedChanges, align_images, apply_condition
from audit.statistics.catalogue import MEASURES
from audit.statistics.intervals import change_intervals
from audit.statistics.output_estimands import outputs_of
from audit.statistics.patient_bootstrap import PatientBootstrap
from audit.statistics.patient_sums import sum_by_patient
from audit.statistics.populations import image_values, natural_unit
from audit.statistics.selections import comparable, comparable_on_clean
from audit.store.group import ALL, Group
from audit.store.results import Effect

_STREAM = 0xC0DE
_SAME_KEY = "images are matched by their pseudonyms. Set AUDIT_KEY to the key of the baseline and run again, or accept a new run"


@dataclass(frozen=True, kw_only=True)
class ImageValues:
    """One measure under one condition, image by image: everything that a comparison with a later run needs."""

    images: NDArray[np.str_]
    """(n,) names of the images that have a value."""
    values: NDArray[np.float64]
    """(n,) the measure, minus the placebo's where the condition has one."""


def incomparable(plan: Identity, baseline: Identity, condition: str, titles: Mapping[str, str]) -> str:
    """Return why a condition of two runs cannot be compared; an empty string where it can.

    The images, classes, text finder, and the edit with its placebo must be the same. Another seed of draws is not a reason:
    draws are averaged within images, and what they add is inside the interval.

    Parameters
    ----------
    plan, baseline : Identity
        The runs' plans, or of the baseline what it keeps of it.
    condition : str
        An edit of the first.
    titles : mapping
        Condition -> its name for people; one that it lacks keeps its own.
    """
    mine, other = (identity.privacy.key for identity in (plan, baseline))
    if mine != other:
        return f"the baseline's pseudonyms were made {_by_key(other)}, this run's {_by_key(mine)}: {_SAME_KEY}"
    other_images = other_cohort(plan, baseline)
    if other_images:
        return f"the baseline {other_images}"
    name, is_there = other_edit(plan, baseline, condition)
    said = titles.get(name, name)
    if not is_there:
        return f"the baseline was not run with the edit “{said}”"
    return f"“{said}” differs in the baseline: version, parameters, draws or placebo" if name else ""


def measure_images(run: FinishedRun, condition: str, measure: str, group: Group = ALL) -> ImageValues:
    """Measure every image of a run.

    Parameters
    ----------
    run : FinishedRun
        The run.
    condition : str
        An edit, or `clean` with one of `comparable_on_clean`.
    measure : str
        One of `audit.statistics.selections.comparable`.
    group : Group
        An output of a multi-label network, to measure it alone; all other groups share the values of all images.

    Raises
    ------
    UsageError
        If the measure has no number for each image.
    """
    images = align_images(run.table)
    values, population = _values(run, images, condition, measure, group)
    return ImageValues(images=run.table.record_ids[images.order][population], values=values[population])


def compare_images(
    run: FinishedRun,
    before: ImageValues,
    condition: str,
    measure: str,
    *,
    group: Group = ALL,
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
        An edit, or `clean` with one of `comparable_on_clean`.
    measure : str
        One of `audit.statistics.selections.comparable`; beyond the placebo where the condition has one.
    group : Group
        Who is in it is told by the run at hand.
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
    values, population = _values(run, images, condition, measure, group)
    described = MEASURES[measure]
    members = {**images.members(), **_outputs(images)}
    if group not in members:
        raise UsageError(f"There is no group {group}; the run has {', '.join(map(str, sorted(members)))}.")
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
        scale="unbounded" if described.scale == "unbounded" else "contrast",
        counted=described.counted,
        spread=natural_unit(described, images),
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


def no_change(run: FinishedRun, condition: str, measure: str, group: Group, why: str, *, level: float = 0.95) -> Effect:
    """Return the effect of a group that is too small to estimate a change, with the reason as its method."""
    nothing: dict[str, Any] = dict.fromkeys(("estimate", "low", "high", "p", "minimum_detectable"))
    shared = _shared(run, condition, measure, group, level)
    return Effect(**shared, **nothing, method=f"no estimate: {why}", n_images=0, n_patients=0, discordant=0)


def _shared(run: FinishedRun, condition: str, measure: str, group: Group, level: float) -> dict[str, Any]:
    named = {"condition": condition, "placebo": run.suite[condition].placebo, "measure": measure, "group": group}
    return {**named, "level": level, "p_adjusted": None, "tolerance": None, "verdict": "descriptive"}


def _values(
    run: FinishedRun, images: AlignedImages, condition: str, measure: str, group: Group
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return (n,) the measure of each image, and the images that have one."""
    if measure not in (comparable_on_clean() if condition == "clean" else comparable()):
        raise UsageError(
            f"{measure} under {condition} cannot be compared image by image. These can: {', '.join(comparable())}; for unedited "
            f"images {', '.join(comparable_on_clean())}."
        )
    known = MEASURES[measure]
    output = next((o for o in outputs_of(images) if o.group == group), None) if images.findings is not None else None
    seen = images if output is None else output.images
    if condition == "clean":
        assert known.clean is not None
        found = known.clean(seen.clean)
        return found, ~np.isnan(found)

    def under(name: str) -> AppliedChanges:
        applied = apply_condition(name, run.table, images, pairs=run.suite[name].pairs)
        return applied if output is None else output.changed(applied)

    applied = under(condition)
    if (known.made_of or measure) not in applied.changes.changes:
        raise UsageError(
            f"{measure} is not measured of a single output, so {group} cannot be compared with a baseline by it."
        )
    moved, population = applied.changes.changes, applied.everywhere
    placebo_name = run.suite[condition].placebo
    if placebo_name is not None:
        placebo = under(placebo_name)
        moved = applied.beyond(placebo)
        population = population & placebo.everywhere
    found = image_values(known, moved, seen)
    return found, population & ~np.isnan(found)


def _outputs(images: AlignedImages) -> dict[Group, NDArray[np.bool_]]:
    """Return the outputs of a multi-label network as groups of all images."""
    if images.findings is None:
        return {}
    everyone = np.ones(len(images.labels), dtype=np.bool_)
    return {Group(kind="output", value=name): everyone for name in images.classes}


def _by_key(fingerprint: str | None) -> str:
    return "from plain ids" if fingerprint is None else f"with the key {fingerprint}"
