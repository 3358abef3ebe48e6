"""The images behind effects, and how their values add up within patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from audit.statistics.alignment import AlignedImages, AppliedChanges, spread_of
from audit.statistics.catalogue import MEASURES, MOVEMENT
from audit.statistics.donor_influence import LentChanges, donor_influence
from audit.statistics.image_changes import ImageChanges
from audit.statistics.measure import Measure
from audit.statistics.patient_sums import PatientCells, PatientSums, Scale
from audit.statistics.teaching import Teaching, teaching_chance
from audit.store.group import Group


@dataclass(frozen=True, kw_only=True)
class Population:
    """Images behind effects, and how they add up within patients: found once, whatever number of measures is taken."""

    images: AlignedImages
    """All n images."""
    chosen: NDArray[np.bool_]
    """(n,) those that count."""
    lenders: tuple[AppliedChanges, ...] = ()
    """The edit, and its placebo if there is one, where images were edited with what others lent."""
    taught: AppliedChanges | None = None
    """The edit, where it was learnt from halves of the patients."""

    @cached_property
    def _by_patient(self) -> PatientCells:
        return PatientCells(self.images.patients, self.images.n_patients, self.chosen)

    @cached_property
    def _by_class(self) -> PatientCells:
        return PatientCells(self.images.patients, self.images.n_patients, self.chosen, self.images.labels)

    def sums(self, measure: Measure, values: NDArray[np.float64], scale: Scale) -> PatientSums | None:
        """Reduce a measure to sums within patients; None where no image counts."""
        if not self.chosen.any():
            return None
        cells = self._by_class if measure.over == "classes" else self._by_patient
        spread = natural_unit(measure, self.images)
        return self._with_others(measure, cells.sums(values, scale=scale, counted=measure.counted, spread=spread))

    def sums_by_class(self, measure: Measure, values: NDArray[np.float64], scale: Scale) -> dict[Group, PatientSums]:
        """Reduce a measure to sums within patients, class by class; classes without images are left out."""
        if not self.chosen.any():
            return {}
        whole = self._by_class.sums(values, scale=scale, counted=measure.counted)
        groups = [Group(kind="class", value=self.images.classes[index]) for index in self._by_class.strata]
        members = self.images.class_members()
        return {
            group: self.only(members[group])._with_others(measure, whole.stratum(row))
            for row, group in enumerate(groups)
        }

    def only(self, members: NDArray[np.bool_]) -> Population:
        """Return those of the images that are among the members."""
        return replace(self, chosen=self.chosen & members)

    def _with_others(self, measure: Measure, sums: PatientSums) -> PatientSums:
        """Add what donors and teachers add, to a mean over images."""
        if measure.over == "classes" or (measure.change is None and not measure.made_of):
            return sums
        found = self._with_lenders(measure, sums) if self.lenders else sums
        return found if self.taught is None else replace(found, taught=self._teaching(measure, self.taught.changes))

    def _teaching(self, measure: Measure, changes: ImageChanges) -> Teaching | None:
        if (measure.made_of or measure.name) not in changes.halves:
            return None
        halves = image_values(measure, changes.halves, self.images)[:, self.chosen]
        # The condition's own total variation counts chance like anything else: nothing is left to confirm.
        confirmed = measure.made_of == MOVEMENT
        unconfirmed = changes.unconfirmed[self.chosen] if confirmed else None
        return teaching_chance(halves, self.images.splits[self.chosen], unconfirmed)

    def _with_lenders(self, measure: Measure, sums: PatientSums) -> PatientSums:
        roles = [
            LentChanges(values=image_values(measure, role.changes.by_draw, self.images), donors=role.donors, sign=sign)
            for role, sign in zip(self.lenders, (1, -1), strict=False)
            if role.donors is not None
        ]
        strata, images = self.images.strata, self.images
        lent, twice = donor_influence(roles, self.chosen, strata, images.patients, images.n_patients)
        return replace(sums, lent=lent, counted_twice=twice)


def natural_unit(measure: Measure, images: AlignedImages) -> float:
    """Return the natural unit of an unbounded measure: the standard deviation of its clean values."""
    return spread_of(measure.clean(images.clean)) if measure.scale == "unbounded" and measure.clean is not None else 1.0


def image_values(
    measure: Measure, changes: Mapping[str, NDArray[np.float64]], images: AlignedImages
) -> NDArray[np.float64]:
    """Return a measure's (n,) numbers of each image, from those of the measures that have numbers of their own."""
    values = changes[measure.made_of or measure.name]
    if measure.turned:
        values = 0.0 - values  # not minus, which would make a negative zero
    return values / natural_unit(MEASURES[measure.made_of], images) if measure.standardised else values


def applies(measure: Measure, images: AlignedImages) -> bool:
    """Say whether a measure of all images has a meaning: where any number of findings applies, no image has one class."""
    return images.findings is None or measure.over == "images"


def missing_classes(measure: Measure, sums: PatientSums | None, images: AlignedImages) -> str:
    """Return a note on a mean over classes of which some have no image; empty for all others.

    Parameters
    ----------
    measure : Measure
        What is averaged.
    sums : PatientSums or None
        Its sums within patients; None where no image counts.
    images : AlignedImages
        Whose classes there are.
    """
    present = 0 if sums is None else len(sums.totals)
    if measure.over != "classes" or sums is None or present == len(images.classes):
        return ""
    return f"; over the {present} of {len(images.classes)} classes with images"
