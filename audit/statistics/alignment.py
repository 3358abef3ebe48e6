"""The table of predictions, checked, in the order of record ids, and read in every way that effects need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import SPLITS
from audit.errors import AuditError, CohortError, ModelError, shown_names
from audit.statistics.catalogue import MOVEMENT
from audit.statistics.findings import FindingsReader, operating_points
from audit.statistics.image_changes import ImageChanges, Read, image_changes, settled
from audit.statistics.outputs import Outputs, read_outputs
from audit.store.group import ALL, Group
from audit.store.results import PredictionTable

MIN_GROUP_PATIENTS = 10
"""Groups of fewer patients get no effect of their own."""
_ROUNDING = 1e-9
"""Relative differences below it are due to rounding."""
_MANY_VALUED = ("site",)
"""Columns of maybe thousands of values, most of a few patients: those are not even held, where a small source is shown, greyed."""


@dataclass(frozen=True, kw_only=True)
class AlignedImages:
    """A table's n images in the order of their ranks, or of their ids, so that the order of rows cannot change a number."""

    order: NDArray[np.intp]
    """(n,) row of the table at each place."""
    labels: NDArray[np.int64]
    """(n,) index of the true class; of independent findings all 0, because `findings` holds what is true."""
    patients: NDArray[np.intp]
    """(n,) index of the patient."""
    n_patients: int
    """Patients in the whole table."""
    classes: tuple[str, ...]
    """Class names in the order of the logits."""
    subgroups: Mapping[Group, NDArray[np.bool_]]
    """(n,) membership, for every grouping column and value that is not empty; sites of enough patients."""
    sources: NDArray[np.str_]
    """(n,) source of each image; all empty where the table does not say it."""
    words: Mapping[Group, NDArray[np.bool_]]
    """(n,) whether the string was read on the image."""
    clean: Outputs
    """Outputs of the clean images."""
    read: Read
    """How logits of these images are read."""
    findings: FindingsReader | None
    """What is known of independent findings, and where each counts as found; None where one class applies to an image."""
    spread: float
    """Standard deviation of the clean margins; 1 where they are all equal."""
    splits: NDArray[np.intp]
    """(n,) number of the split of patients into halves that each image's edits are learnt from."""

    @cached_property
    def strata(self) -> NDArray[np.intp]:
        """(n,) number of each image's stratum, its class and source: donors of one stratum are drawn with equal probability.

        Of independent findings its source alone: sets of findings are too many for each to have several donors.
        """
        _, source = np.unique(self.sources, return_inverse=True)
        return np.asarray(source * len(self.classes) + self.labels, dtype=np.intp)

    def class_members(self) -> dict[Group, NDArray[np.bool_]]:
        """Return (n,) membership for every class, with or without images; none where any number of findings applies."""
        if self.findings is not None:
            return {}
        return {Group(kind="class", value=name): self.labels == index for index, name in enumerate(self.classes)}

    def members(self) -> dict[Group, NDArray[np.bool_]]:
        """Return every group's (n,) membership: all images, classes, words, subgroups."""
        everyone = np.ones(len(self.labels), dtype=np.bool_)
        return {ALL: everyone, **self.class_members(), **self.words, **self.subgroups}


@dataclass(frozen=True, kw_only=True)
class AppliedChanges:
    """What a condition did, and to which images."""

    changes: ImageChanges
    """Changes of all n images; zero where the condition was not applied."""
    everywhere: NDArray[np.bool_]
    """(n,) whether the condition was applied in all its draws."""
    logits: NDArray[np.float32]
    """(draws, n, k) in the order of the aligned images."""
    donors: NDArray[np.int64] | None
    """(draws, n) place of the image that the edit was taken from, -1 where there was none; None for conditions without donors."""
    read: Read
    """How logits of these images are read."""
    pairs: int
    """Pairs of draws that see two halves of the patients."""

    def beyond(self, placebo: AppliedChanges) -> dict[str, NDArray[np.float64]]:
        """Return (n,) what the condition changed more than its placebo, by measure; of paired draws as far as both halves agree."""
        own, other = self.changes, placebo.changes
        apart = {name: settled(values - other.changes[name]) for name, values in own.changes.items()}
        return {**apart, MOVEMENT: settled(own.confirmed - other.confirmed)}

    def outputs(self) -> Iterator[Outputs]:
        """Read the logits of one draw after the other; they are not kept, for they are larger than what they come from."""
        for draw in self.logits:
            yield self.read(draw)


def align_images(table: PredictionTable) -> AlignedImages:
    """Check a table of predictions and bring it into the order of its ranks, or of its record ids where it has none.

    Patients are numbered in the order of their first image: their names do not affect any result.

    Raises
    ------
    CohortError
        If there is no image, an id comes twice, or a label is not an index of a class.
    ModelError
        If there are fewer than two classes, or clean logits are not finite.
    AuditError
        If the table holds no clean predictions.
    """
    k, ids = len(table.classes), table.record_ids
    if len(ids) == 0:
        raise CohortError("The table of predictions is empty. Check the manifest and its labels.")
    if len(np.unique(ids)) < len(ids):
        raise CohortError("Two rows of the predictions have the same record id. Ids must be unique in a cohort.")
    if k < 2:
        raise ModelError(f"Effects need at least two classes, found {k}: {shown_names(table.classes)}.")
    low, high = int(table.labels.min()), int(table.labels.max())
    if low < 0 or high >= k:
        raise CohortError(f"Labels must be indices from 0 to {k - 1}, found {low} to {high}. Leave other records out.")
    order = np.argsort(ids if table.ranks is None else table.ranks, kind="stable")
    labels = table.labels[order]
    patients, n_patients = number_patients(table.patients[order])
    subgroups = {
        Group(kind=column, value=value): table.groups[column][order] == value
        for column in sorted(table.groups)
        for value in _values(column, table.groups[column][order], patients)
    }
    logits = _logits("clean", table, order)[0]
    findings = None
    read: Read = partial(read_outputs, labels=labels)
    if table.truth is not None:
        truth = table.truth[order]
        findings = FindingsReader(truth=truth, cuts=operating_points(logits, truth, table.points))
        read = findings.read
    clean = read(logits)
    return AlignedImages(
        order=order,
        labels=labels,
        patients=patients,
        n_patients=n_patients,
        classes=table.classes,
        subgroups=subgroups,
        sources=table.groups["source"][order] if "source" in table.groups else np.full(len(order), ""),
        words={Group(kind="word", value=word): table.words[word][order] for word in sorted(table.words)},
        clean=clean,
        read=read,
        findings=findings,
        spread=spread_of(clean.margin),
        splits=(order if table.ranks is None else table.ranks[order]) % SPLITS,
    )


def number_patients(names: NDArray[np.str_]) -> tuple[NDArray[np.intp], int]:
    """Return (n,) the number of each image's patient, in the order in which they first come, and how many there are."""
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.intp)
    place[np.argsort(first)] = np.arange(len(first))
    return place[inverse], len(first)


def spread_of(values: NDArray[np.float64]) -> float:
    """Return the standard deviation, or 1 where values differ by rounding alone: it is what changes are measured in."""
    spread = float(values.std())
    return spread if spread > _ROUNDING * max(1.0, float(np.abs(values).max())) else 1.0


def apply_condition(name: str, table: PredictionTable, images: AlignedImages, *, pairs: int) -> AppliedChanges:
    """Measure what condition `name` changed in every image, its draws averaged; `pairs` of them see two halves of the patients.

    Raises
    ------
    AuditError
        If the table lacks the condition, or its arrays do not fit.
    ModelError
        If logits are not finite.
    """
    logits = _logits(name, table, images.order)
    applied = table.applied.get(name)
    if applied is None or applied.shape != logits.shape[:2]:
        raise AuditError(
            f"The predictions do not record which images {name!r} was applied to in each draw. Run the audit again."
        )
    donors = table.donors.get(name)
    lent = donors is not None and bool((donors >= 0).any())
    return AppliedChanges(
        changes=image_changes(images.clean, logits, images.read, by_draw=lent, pairs=pairs),
        everywhere=np.all(applied[:, images.order], axis=0, out=np.empty(len(images.order), dtype=np.bool_)),
        logits=logits,
        donors=_places(donors, images.order) if donors is not None and lent else None,
        read=images.read,
        pairs=pairs,
    )


def _values(column: str, cells: NDArray[np.str_], patients: NDArray[np.intp]) -> list[str]:
    """List the values of a column that are groups."""
    names, of_image = np.unique(cells, return_inverse=True)
    pairs = np.unique(np.stack([of_image, patients]), axis=1)
    n_patients = np.bincount(pairs[0], minlength=len(names)).tolist()
    least = MIN_GROUP_PATIENTS if column in _MANY_VALUED else 1
    # An empty cell says that the value is unknown, which is not a group.
    return [name for name, n in zip(names.tolist(), n_patients, strict=True) if name and n >= least]


def _places(rows: NDArray[np.int64], order: NDArray[np.intp]) -> NDArray[np.int64]:
    """Turn (draws, n) rows of a table into places, in the order of places; -1 stays."""
    place = np.empty(len(order) + 1, dtype=np.int64)
    place[order], place[-1] = np.arange(len(order)), -1
    return np.asarray(place[rows[:, order]])


def _logits(name: str, table: PredictionTable, order: NDArray[np.intp]) -> NDArray[np.float32]:
    if name not in table.logits:
        raise AuditError(
            f"The suite declares condition {name!r}, but the predictions have only {', '.join(sorted(table.logits))}. "
            "Finish the run, or use the suite of the run."
        )
    logits = table.logits[name]
    shape = (len(order), len(table.classes))
    if logits.ndim != 3 or logits.shape[1:] != shape or len(logits) < 1:
        raise AuditError(
            f"Logits of {name!r} must have the shape (draws, {shape[0]}, {shape[1]}), found {logits.shape}. Run it again."
        )
    finite = np.isfinite(logits)
    if not finite.all():
        bad = np.flatnonzero(~finite.all(axis=(0, 2)))
        raise ModelError(
            f"The model's logits under {name!r} are not finite for {len(bad)} of {len(order)} images, the first being "
            f"{str(table.record_ids[bad[0]])!r}. Check the weights and the preprocessing; such outputs are not judged."
        )
    return logits[:, order]
