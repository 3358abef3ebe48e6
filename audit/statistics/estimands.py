"""Which numbers are estimated for each condition, over which images, and which of them are judged.

Judged, and so the declared family: for each edit with a placebo its controlled accuracy change over all images, and its
shortcut sensitivity over all images, over those of each class, and, where the edit takes text away, over those on which each
common string was read; for each edit without a placebo its raw accuracy change; for each sufficiency condition its
sufficiency. Stresses and the rungs of ladders are measured, not judged. All other effects with a placebo are exploratory.

If a network reads a word that occurs on few images, only the predictions for these images change, and the mean over all
images hides it. Of a multi-label network each output is judged as well, like a group: a finding that follows the text is diluted
among others that do not (`audit.statistics.output_estimands`). Which groups are judged depends on labels and images alone, never on
predictions. The effect of a word's group is that of the whole edit on the images that carry the word, whatever else was read on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import Condition
from audit.statistics.alignment import MIN_GROUP_PATIENTS, AlignedImages, AppliedChanges
from audit.statistics.catalogue import MEASURES, MOVEMENT
from audit.statistics.direction import donor_direction
from audit.statistics.estimand import Estimand
from audit.statistics.finder_misses import FinderRecall, corrected_effect
from audit.statistics.image_changes import settled
from audit.statistics.measure import Measure
from audit.statistics.output_estimands import output_estimands
from audit.statistics.patient_sums import PatientSums
from audit.statistics.populations import Population, applies, image_values, missing_classes
from audit.statistics.selections import (
    headline_of,
    judged_measures,
    measured_of_classes,
    measured_of_edits,
    towards_donors,
)
from audit.statistics.whole_sample import Curve, curve_changes
from audit.store.group import ALL, Group


def condition_estimands(
    condition: Condition,
    applied: AppliedChanges,
    placebo: AppliedChanges | None,
    images: AlignedImages,
    recall: FinderRecall | None = None,
) -> Iterator[Estimand]:
    """Yield a condition's raw effects, then those compared with its placebo, then its headline measure by class, word and subgroup.

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
    # A class that has nothing to lose is not one that was left out: had the network learnt the property, images of the others show it.
    absent = () if condition.declared.one_way else _classes_absent(population, images)
    for estimand in _over(population, condition, applied, placebo, images, recall):
        yield replace(estimand, classes_absent=absent) if absent and estimand.group == ALL else estimand


def _over(
    population: NDArray[np.bool_],
    condition: Condition,
    applied: AppliedChanges,
    placebo: AppliedChanges | None,
    images: AlignedImages,
    recall: FinderRecall | None,
) -> Iterator[Estimand]:
    alone, counted = (
        Population(images=images, chosen=population, lenders=lenders, taught=applied if applied.pairs else None)
        for lenders in (_lenders(applied), _lenders(applied, placebo))
    )
    headline = headline_of(condition.role)
    judged = judged_measures(condition.role) if condition.judged else ()
    if condition.declared.towards_class:
        judged = tuple(name for name in judged if name == headline.name)
    towards = _directions(applied, applied, images, paired=True)
    yield from _contrast(
        condition.name,
        None,
        {**applied.changes.changes, **towards},
        applied.changes.flipped,
        alone,
        headline=MEASURES[MOVEMENT],
        judged=judged if placebo is None else (),
        tested=placebo is None,
    )
    if images.findings is not None:
        yield from output_estimands(condition, applied, None, population, images)
    if placebo is None:
        for name, group, influence in _curves(applied, None, population, images):
            yield Estimand(
                condition=condition.name, placebo=None, measure=name, group=group, data=influence, tested=True
            )
        return
    differences = applied.beyond(placebo)
    towards_placebo = _directions(applied, placebo, images, paired=False)
    differences |= {name: settled(towards[name] - towards_placebo[name]) for name in towards}
    flipped = applied.changes.flipped | placebo.changes.flipped
    yield from _contrast(
        condition.name,
        condition.placebo,
        differences,
        flipped,
        counted,
        headline=headline,
        judged=judged,
        tested=True,
    )
    if images.findings is not None:
        yield from output_estimands(condition, applied, placebo, population, images)
    for name, group, influence in _curves(applied, placebo, population, images):
        yield Estimand(
            condition=condition.name,
            placebo=condition.placebo,
            measure=name,
            group=group,
            data=influence,
            discordant=int(flipped[population].sum()),
            tested=True,
        )
    moved = image_values(headline, differences, images)
    corrected = next((m.name for m in MEASURES.values() if m.corrects == headline.name), None)
    if recall is not None and corrected is not None and "text" in condition.declared.removes:
        yield Estimand(
            condition=condition.name,
            placebo=condition.placebo,
            measure=corrected,
            group=ALL,
            data=corrected_effect(moved, population, images, recall),
            discordant=int(flipped[population].sum()),
            tested=True,
            note=recall.note,
        )
    for group, declared, members, sums in _grouped(condition, headline, moved, counted):
        if sums is not None and sums.n_patients >= MIN_GROUP_PATIENTS:
            yield Estimand(
                condition=condition.name,
                placebo=condition.placebo,
                measure=headline.name,
                group=group,
                data=sums,
                discordant=int(np.count_nonzero(flipped & population & members)),
                judged=declared,
                tested=True,
            )


def _curves(
    applied: AppliedChanges, placebo: AppliedChanges | None, population: NDArray[np.bool_], images: AlignedImages
) -> Iterator[Curve]:
    """Yield the changes of curves; those of independent findings are yielded with their outputs."""
    if images.findings is None:
        yield from curve_changes(applied, placebo, population, images)


def _grouped(
    condition: Condition, headline: Measure, moved: NDArray[np.float64], counted: Population
) -> Iterator[tuple[Group, bool, NDArray[np.bool_], PatientSums | None]]:
    """Yield group, whether it is judged, its members and what its patients say: classes, words of edits that remove text, subgroups."""
    images = counted.images
    declared = condition.judged and headline.judged_in_groups
    by_class = {} if images.findings is not None else counted.sums_by_class(headline, moved, "difference")
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
    if edit.donors is None or images.findings is not None:
        return {}
    classes = np.where(edit.donors >= 0, images.labels[edit.donors], -1)
    found = donor_direction(images.clean, shown.outputs(), classes, images.labels, paired=paired)
    if not found.known.any():  # donors of the image's class move it towards no other class
        return {}
    return {name: np.where(found.known, values, np.nan) for name, values in found.moves.items()}


def _lenders(*roles: AppliedChanges | None) -> tuple[AppliedChanges, ...]:
    """Return those under which images were edited with what others lent, if the first is one."""
    if roles[0] is None or roles[0].donors is None:
        return ()
    return tuple(role for role in roles if role is not None and role.donors is not None)


def _contrast(
    name: str,
    placebo: str | None,
    changes: Mapping[str, NDArray[np.float64]],
    flipped: NDArray[np.bool_],
    population: Population,
    *,
    headline: Measure,
    judged: tuple[str, ...],
    tested: bool,
) -> Iterator[Estimand]:
    images, controlled = population.images, placebo is not None
    found: list[tuple[Measure, Group, NDArray[np.bool_], PatientSums | None]] = []
    for measure in (*measured_of_edits(), headline):
        if not applies(measure, images):
            continue
        values = image_values(measure, changes, images)
        unknown = np.isnan(values)
        told = population.only(~unknown) if unknown.any() else population
        sums = told.sums(measure, values, measure.scale_under(controlled=controlled))
        found.append((measure, ALL, told.chosen, sums))
    for measure in (MEASURES[direction] for direction in towards_donors() if direction in changes):
        told = population.only(~np.isnan(changes[measure.name]))
        sums = told.sums(measure, changes[measure.name], measure.scale_under(controlled=controlled))
        found.append((measure, ALL, told.chosen, sums))
    for measure in measured_of_classes() if images.findings is None else ():
        values = image_values(measure, changes, images)
        by_class = population.sums_by_class(measure, values, measure.scale_under(controlled=controlled))
        for group, members in images.class_members().items():
            found.append((measure, group, population.chosen & members, by_class.get(group)))
    for measure, group, chosen, sums in found:
        yield Estimand(
            condition=name,
            placebo=placebo,
            measure=measure.name,
            group=group,
            data=sums,
            discordant=int(np.count_nonzero(flipped & chosen)),
            judged=measure.name in judged,
            tested=tested,
            note=missing_classes(measure, sums, images),
        )


def _classes_absent(population: NDArray[np.bool_], images: AlignedImages) -> tuple[str, ...]:
    """Return the classes that no image of the population has, though others have; none where there is no image at all."""
    if not population.any() or images.findings is not None:
        return ()
    k = len(images.classes)
    there = np.bincount(images.labels, minlength=k) > 0
    counted = np.bincount(images.labels[population], minlength=k) > 0
    return tuple(images.classes[c] for c in np.flatnonzero(there & ~counted).tolist())
