"""Which numbers are estimated for each condition, over which images, and which of them are judged.

Judged, and so the declared family: for each edit with a placebo its controlled accuracy change over all images, and its
shortcut sensitivity over all images, over those of each class, and, where the edit takes text away, over those on which each
common string was read; for each edit without a placebo its raw accuracy change; for each sufficiency condition its
sufficiency. Stresses and the rungs of ladders are measured, not judged. What else is beyond a placebo is exploratory.

A network that reads a word of a few films moves these films only: the mean over all of them would hide it. Which groups are
judged hangs on labels and films alone, never on predictions. The effect of a word's group is that of the whole edit on
the films that carry the word, whatever else was read on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import Condition
from audit.statistics.alignment import MIN_GROUP_PATIENTS, AlignedImages, AppliedChanges
from audit.statistics.clusters import PatientSums, Scale
from audit.statistics.detector_misses import FinderRecall, corrected_effect
from audit.statistics.direction import TO_DONOR, donor_direction
from audit.statistics.jackknife import PatientInfluence
from audit.statistics.measures import ACCURACY_OVER_SOURCE, CHANGES
from audit.statistics.populations import Population
from audit.statistics.source_guess import guess_from_source
from audit.statistics.whole_sample import clean_curves, curve_changes

_HEADLINES: Mapping[str, str] = {"edit": "shortcut_sensitivity", "sufficiency": "sufficiency"}
"""Role -> name of the measure that sums a condition up, beyond its placebo; `total_variation` for the rest."""
_JUDGED: Mapping[str, tuple[str, ...]] = {"edit": ("accuracy", "shortcut_sensitivity"), "sufficiency": ("sufficiency",)}
UNBOUNDED = ("margin", "margin_sd", "nll", "brier")
"""Not within [-1, 1]; a Brier score of k classes may change by 2."""


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
    data: PatientSums | PatientInfluence | None
    """What its patients say of it; None where no image is behind it."""
    discordant: int = 0
    """Images whose prediction changed."""
    judged: bool = False
    """Whether it is compared with a tolerance."""
    tested: bool = False
    """Whether it is tested at all: as one of the declared family where it is judged, else as exploratory."""
    note: str = ""
    """What a reader must know beside the method of the interval."""
    classes_absent: tuple[str, ...] = ()
    """Classes that have images, but none that the condition could be applied to."""


def performance_estimands(images: AlignedImages) -> Iterator[Estimand]:
    """Yield how well the clean images are told: accuracy and recalls, AUCs, likelihood, calibration; then subgroups."""
    correct = images.clean.correct.astype(np.float64)
    everyone = np.ones(len(correct), dtype=np.bool_)
    wanted = [("accuracy", "all", everyone), ("balanced_accuracy", "all", everyone)]
    wanted += [("recall", group, members) for group, members in images.class_members().items()]
    wanted += [("accuracy", group, members) for group, members in images.subgroups.items()]
    for measure, group, members in wanted:
        sums = Population(images=images, chosen=members).sums(measure, correct, "proportion")
        note = _missing_classes(measure, sums, images)
        yield Estimand(condition="clean", placebo=None, measure=measure, group=group, data=sums, note=note)
    yield _over_source(images, correct, everyone)
    for measure, values in (("nll", images.clean.nll), ("brier", images.clean.brier)):
        sums = Population(images=images, chosen=everyone).sums(measure, values, "unbounded")
        yield Estimand(condition="clean", placebo=None, measure=measure, group="all", data=sums)
    for measure, group, influence in clean_curves(images):
        yield Estimand(condition="clean", placebo=None, measure=measure, group=group, data=influence)


def _over_source(images: AlignedImages, correct: NDArray[np.float64], everyone: NDArray[np.bool_]) -> Estimand:
    """Say by how much the network is right more often than a guess from the source alone, image by image."""
    guess = guess_from_source(images.labels, images.sources, images.patients) == images.labels
    sums = Population(images=images, chosen=everyone).sums(
        ACCURACY_OVER_SOURCE, correct - guess.astype(np.float64), "difference"
    )
    note = f"; always predicting each source's most frequent class has accuracy {guess.mean():.3f}"
    return Estimand(condition="clean", placebo=None, measure=ACCURACY_OVER_SOURCE, group="all", data=sums, note=note)


def condition_estimands(
    condition: Condition,
    applied: AppliedChanges,
    placebo: AppliedChanges | None,
    images: AlignedImages,
    recall: FinderRecall | None = None,
) -> Iterator[Estimand]:
    """Yield a condition's raw effects, then those beyond its placebo, then its headline measure by class, word and subgroup.

    The population are the images to which the condition was applied in all its draws, and its placebo too.

    Parameters
    ----------
    condition : Condition
        Anything but clean and controls.
    applied, placebo : AppliedChanges
        What the condition and its placebo did; None where it has no placebo.
    images : AlignedImages
        The table's images.
    recall : FinderRecall, optional
        How much text the finder finds; masking's effect is then given for a finder that misses none, too.
    """
    population = applied.everywhere if placebo is None else applied.everywhere & placebo.everywhere
    absent = _classes_absent(population, images)
    for estimand in _over(population, condition, applied, placebo, images, recall):
        yield replace(estimand, classes_absent=absent) if absent and estimand.group == "all" else estimand


def _over(
    population: NDArray[np.bool_],
    condition: Condition,
    applied: AppliedChanges,
    placebo: AppliedChanges | None,
    images: AlignedImages,
    recall: FinderRecall | None,
) -> Iterator[Estimand]:
    counted = Population(images=images, chosen=population)
    headline = _HEADLINES.get(condition.role, "total_variation")
    towards = _directions(applied, applied, images, paired=True)
    yield from _contrast(
        condition.name,
        None,
        {**applied.changes.changes, **towards},
        applied.changes.flipped,
        counted,
        headline="total_variation",
        judged=("accuracy",) if condition.judged and placebo is None else (),
        tested=placebo is None,
    )
    if placebo is None:
        for measure, group, influence in curve_changes(applied, None, population, images):
            yield Estimand(
                condition=condition.name, placebo=None, measure=measure, group=group, data=influence, tested=True
            )
        return
    differences = {name: _settle(applied.changes.changes[name] - placebo.changes.changes[name]) for name in CHANGES}
    towards_placebo = _directions(applied, placebo, images, paired=False)
    differences |= {name: _settle(towards[name] - towards_placebo[name]) for name in towards}
    flipped = applied.changes.flipped | placebo.changes.flipped
    yield from _contrast(
        condition.name,
        condition.placebo,
        differences,
        flipped,
        counted,
        headline=headline,
        judged=_JUDGED[condition.role] if condition.judged else (),
        tested=True,
    )
    for measure, group, influence in curve_changes(applied, placebo, population, images):
        yield Estimand(
            condition=condition.name,
            placebo=condition.placebo,
            measure=measure,
            group=group,
            data=influence,
            discordant=int(flipped[population].sum()),
            tested=True,
        )
    moved = _headline_changes(headline, differences)
    if recall is not None and "text" in condition.declared.removes and headline == "shortcut_sensitivity":
        yield Estimand(
            condition=condition.name,
            placebo=condition.placebo,
            measure="shortcut_sensitivity_corrected",
            group="all",
            data=corrected_effect(moved, population, images, recall),
            discordant=int(flipped[population].sum()),
            tested=True,
            note=recall.note,
        )
    for group, judged, members, sums in _grouped(condition, headline, moved, counted):
        if sums is not None and sums.n_patients >= MIN_GROUP_PATIENTS:
            yield Estimand(
                condition=condition.name,
                placebo=condition.placebo,
                measure=headline,
                group=group,
                data=sums,
                discordant=int(np.count_nonzero(flipped & population & members)),
                judged=judged,
                tested=True,
            )


def _grouped(
    condition: Condition, headline: str, moved: NDArray[np.float64], counted: Population
) -> Iterator[tuple[str, bool, NDArray[np.bool_], PatientSums | None]]:
    """Yield group, whether it is judged, its members and what its patients say: classes, words of edits that remove text, subgroups."""
    images = counted.images
    declared = condition.judged and headline == "shortcut_sensitivity"
    by_class = counted.sums_by_class(headline, moved, "difference")
    for group, members in images.class_members().items():
        yield group, declared, members, by_class.get(group)
    words = images.words if "text" in condition.declared.removes else {}
    for groups, judged in ((words, declared), (images.subgroups, False)):
        for group, members in groups.items():
            # One after the other: each is as large as all patients, and there may be hundreds of sites.
            yield group, judged, members, counted.only(members).sums(headline, moved, "difference")


def _directions(
    edit: AppliedChanges, shown: AppliedChanges, images: AlignedImages, *, paired: bool
) -> dict[str, NDArray[np.float64]]:
    """Return (n,) moves towards the classes of the edit's donors; NaN where it had none of another class."""
    if edit.donors is None:
        return {}
    classes = np.where(edit.donors >= 0, images.labels[edit.donors], -1)
    found = donor_direction(images.clean, shown.outputs(), classes, images.labels, paired=paired)
    if not found.known.any():  # donors of the own class push towards no other
        return {}
    return {name: np.where(found.known, getattr(found, name), np.nan) for name in TO_DONOR}


def _contrast(
    name: str,
    placebo: str | None,
    changes: Mapping[str, NDArray[np.float64]],
    flipped: NDArray[np.bool_],
    population: Population,
    *,
    headline: str,
    judged: tuple[str, ...],
    tested: bool,
) -> Iterator[Estimand]:
    images = population.images
    values: dict[str, NDArray[np.float64]] = {
        "accuracy": changes["accuracy"],
        "balanced_accuracy": changes["accuracy"],
        "margin": changes["margin"],
        "margin_sd": changes["margin"] / images.spread,
        "flip_rate": changes["flip_rate"],
        "harm": changes["harm"],
        "nll": changes["nll"],
        "brier": changes["brier"],
        headline: _headline_changes(headline, changes),
        **{name: changes[name] for name in TO_DONOR if name in changes},
    }
    recalls = population.sums_by_class("recall", changes["accuracy"], _scale("recall", placebo))
    found = []
    for measure, moved in values.items():
        told = population.only(~np.isnan(moved)) if measure in TO_DONOR else population
        found.append((measure, "all", told.chosen, told.sums(measure, moved, _scale(measure, placebo))))
    for group, members in images.class_members().items():
        found.append(("recall", group, population.chosen & members, recalls.get(group)))
    for measure, group, chosen, sums in found:
        yield Estimand(
            condition=name,
            placebo=placebo,
            measure=measure,
            group=group,
            data=sums,
            discordant=int(np.count_nonzero(flipped & chosen)),
            judged=measure in judged,
            tested=tested,
            note=_missing_classes(measure, sums, images),
        )


def _scale(measure: str, placebo: str | None) -> Scale:
    if measure in UNBOUNDED:
        return "unbounded"
    raw_shares = ("flip_rate", "total_variation", "flip_rate_to_donor")
    return "proportion" if placebo is None and measure in raw_shares else "difference"


def _headline_changes(headline: str, changes: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return (n,) total variation, or for sufficiency the probability of the true class that the edit tells more of."""
    return 0.0 - changes["harm"] if headline == "sufficiency" else changes["total_variation"]


def _missing_classes(measure: str, sums: PatientSums | None, images: AlignedImages) -> str:
    present = 0 if sums is None else len(sums.totals)
    if measure != "balanced_accuracy" or sums is None or present == len(images.classes):
        return ""
    return f"; over the {present} of {len(images.classes)} classes with images"


def _classes_absent(population: NDArray[np.bool_], images: AlignedImages) -> tuple[str, ...]:
    """Return the classes that no image of the population has, though others have; none where there is no image at all."""
    if not population.any():
        return ()
    k = len(images.classes)
    there = np.bincount(images.labels, minlength=k) > 0
    counted = np.bincount(images.labels[population], minlength=k) > 0
    return tuple(images.classes[c] for c in np.flatnonzero(there & ~counted).tolist())


def _settle(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Set to zero what is only the rounding of means over different numbers of draws."""
    settled: NDArray[np.float64] = np.where(np.abs(values) < 1e-12, 0.0, values)
    return settled
