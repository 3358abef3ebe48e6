"""Which numbers are estimated for each condition, over which images, and which of them are judged.

Judged, and so the family that Holm's procedure adjusts: for each edit with a placebo its shortcut sensitivity and its
controlled accuracy change, over all images; for each edit without a placebo its raw accuracy change; for each
sufficiency condition its sufficiency. Stresses and the rungs of ladders are measured, not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.conditions import Condition
from audit.statistics.alignment import AlignedImages, AppliedChanges
from audit.statistics.clusters import PatientSums, Scale, sum_by_patient
from audit.statistics.measures import CHANGES

MIN_GROUP_PATIENTS = 10
"""Subgroups with fewer patients get no effect of their own."""
_HEADLINES: Mapping[str, str] = {"edit": "shortcut_sensitivity", "sufficiency": "sufficiency"}
"""Role -> name of the measure that sums a condition up, beyond its placebo; `total_variation` for the rest."""
_JUDGED: Mapping[str, tuple[str, ...]] = {"edit": ("accuracy", "shortcut_sensitivity"), "sufficiency": ("sufficiency",)}
_COUNTED = ("accuracy", "balanced_accuracy", "recall", "flip_rate")


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimand:
    """One entry of the effects before its interval is known."""

    condition: str
    """Name of the condition."""
    placebo: str | None
    """Condition that is subtracted."""
    measure: str
    """What is measured."""
    group: str
    """`all`, or `column=value`."""
    sums: PatientSums | None
    """Its data within patients; None where no image is behind it."""
    discordant: int = 0
    """Images whose prediction changed."""
    judged: bool = False
    """Whether it is compared with a tolerance."""
    note: str = ""
    """What a reader must know beside the method of the interval."""


def performance_estimands(images: AlignedImages) -> Iterator[Estimand]:
    """Yield the clean images' accuracy, balanced accuracy, recall of each class, and accuracy of each subgroup."""
    correct = images.clean.correct.astype(np.float64)
    everyone = np.ones(len(correct), dtype=np.bool_)
    wanted = [("accuracy", "all", everyone), ("balanced_accuracy", "all", everyone)]
    wanted += [("recall", group, members) for group, members in images.class_members().items()]
    wanted += [("accuracy", group, members) for group, members in images.subgroups.items()]
    for measure, group, members in wanted:
        sums = _sums(measure, correct, images, members, scale="proportion")
        yield Estimand(
            condition="clean",
            placebo=None,
            measure=measure,
            group=group,
            sums=sums,
            note=_missing_classes(measure, sums, images),
        )


def condition_estimands(
    condition: Condition, applied: AppliedChanges, placebo: AppliedChanges | None, images: AlignedImages
) -> Iterator[Estimand]:
    """Yield a condition's raw effects, then those beyond its placebo, then its headline measure by subgroup.

    The population are the images to which the condition was applied in all its draws, and its placebo too.

    Parameters
    ----------
    condition : Condition
        Anything but clean and controls.
    applied, placebo : AppliedChanges
        What the condition and its placebo did; None where it has no placebo.
    images : AlignedImages
        The table's images.
    """
    population = applied.everywhere if placebo is None else applied.everywhere & placebo.everywhere
    headline = _HEADLINES.get(condition.role, "total_variation")
    yield from _contrast(
        condition.name,
        None,
        applied.changes.changes,
        applied.changes.flipped,
        population,
        images,
        headline="total_variation",
        judged=("accuracy",) if condition.judged and placebo is None else (),
    )
    if placebo is None:
        return
    differences = {name: _settle(applied.changes.changes[name] - placebo.changes.changes[name]) for name in CHANGES}
    flipped = applied.changes.flipped | placebo.changes.flipped
    yield from _contrast(
        condition.name,
        condition.placebo,
        differences,
        flipped,
        population,
        images,
        headline=headline,
        judged=_JUDGED[condition.role] if condition.judged else (),
    )
    for group, members in {**images.class_members(), **images.subgroups}.items():
        chosen = population & members
        moved = _headline_changes(headline, differences)
        sums = _sums(headline, moved, images, chosen, scale="difference")
        if sums is not None and sums.n_patients >= MIN_GROUP_PATIENTS:
            yield Estimand(
                condition=condition.name,
                placebo=condition.placebo,
                measure=headline,
                group=group,
                sums=sums,
                discordant=int(flipped[chosen].sum()),
                note="; exploratory",
            )


def _contrast(
    name: str,
    placebo: str | None,
    changes: Mapping[str, NDArray[np.float64]],
    flipped: NDArray[np.bool_],
    population: NDArray[np.bool_],
    images: AlignedImages,
    *,
    headline: str,
    judged: tuple[str, ...],
) -> Iterator[Estimand]:
    values = {
        "accuracy": changes["accuracy"],
        "balanced_accuracy": changes["accuracy"],
        "margin": changes["margin"],
        "flip_rate": changes["flip_rate"],
        "harm": changes["harm"],
        headline: _headline_changes(headline, changes),
    }
    for measure, moved in values.items():
        scale: Scale = "difference"
        if measure == "margin":
            scale = "unbounded"
        elif placebo is None and measure in ("flip_rate", "total_variation"):
            scale = "proportion"
        sums = _sums(measure, moved, images, population, scale=scale)
        yield Estimand(
            condition=name,
            placebo=placebo,
            measure=measure,
            group="all",
            sums=sums,
            discordant=int(flipped[population].sum()),
            judged=measure in judged,
            note=_missing_classes(measure, sums, images),
        )


def _headline_changes(headline: str, changes: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return (n,) total variation, or for sufficiency the probability of the true class that the edit tells more of."""
    return 0.0 - changes["harm"] if headline == "sufficiency" else changes["total_variation"]


def _sums(
    measure: str, values: NDArray[np.float64], images: AlignedImages, population: NDArray[np.bool_], *, scale: Scale
) -> PatientSums | None:
    return sum_by_patient(
        values,
        images.patients,
        images.n_patients,
        population=population,
        scale=scale,
        counted=measure in _COUNTED,
        strata=images.labels if measure == "balanced_accuracy" else None,
        spread=images.spread,
    )


def _missing_classes(measure: str, sums: PatientSums | None, images: AlignedImages) -> str:
    present = 0 if sums is None else len(sums.totals)
    if measure != "balanced_accuracy" or sums is None or present == len(images.classes):
        return ""
    return f"; over the {present} of {len(images.classes)} classes that have images"


def _settle(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Set to zero what is only the rounding of means over different numbers of draws."""
    settled: NDArray[np.float64] = np.where(np.abs(values) < 1e-12, 0.0, values)
    return settled
