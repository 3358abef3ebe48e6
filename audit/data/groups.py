"""The groups that effects are reported for, from the manifest's columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from audit.store.group import ALL, Group

_AGE_BANDS = ((18, "0-17"), (40, "18-39"), (60, "40-59"), (80, "60-79"))
"""First year beyond each band -> its name; the rest is 80+."""
WITHHELD = "(withheld)"
"""Replaces the name of a site of few patients in files of a run: such a site may identify a patient."""
UNKNOWN = "unknown"
"""Value of a column where the manifest says nothing."""


class Audited(Protocol):
    """What statistics must know of a record."""

    @property
    def name(self) -> str:
        """What files of a run call it."""
        ...

    @property
    def label(self) -> str | None:
        """Its class."""
        ...

    @property
    def truth(self) -> tuple[int, ...]:
        """What is known of each finding of a multi-label task; empty of other tasks."""
        ...

    @property
    def patient(self) -> str:
        """Who was imaged, or a pseudonym."""
        ...

    @property
    def source(self) -> str:
        """Where it comes from."""
        ...

    @property
    def site(self) -> str:
        """Finer than source; empty where unknown."""
        ...

    @property
    def view(self) -> str:
        """Its projection."""
        ...

    @property
    def sex(self) -> str:
        """F, M or empty."""
        ...

    @property
    def age(self) -> float | None:
        """Years; None if unknown."""
        ...


def age_band(age: float | None) -> str:
    """Return the band of an age in years: `0-17`, `18-39`, `40-59`, `60-79`, `80+`, or `unknown`."""
    if age is None or not age >= 0:
        return UNKNOWN
    return next((name for end, name in _AGE_BANDS if age < end), "80+")


def group_columns(records: Sequence[Audited]) -> dict[str, NDArray[np.str_]]:
    """Return the grouping columns by name, each (n,); an empty cell belongs to no group."""
    return {
        "source": np.array([r.source for r in records]),
        # Most manifests have no sites: where none is given the source is all that is known, and `site=unknown` tells nothing.
        "site": np.array([r.site for r in records]),
        "view": np.array([r.view or UNKNOWN for r in records]),
        "sex": np.array([r.sex or UNKNOWN for r in records]),
        "age": np.array([age_band(r.age) for r in records]),
    }


def shown_sites(records: Sequence[Audited], min_patients: int) -> list[str]:
    """Return what files of a run say of each record's site: those of too few patients are withheld."""
    patients: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        patients[record.site].add(record.patient)
    return [r.site if not r.site or len(patients[r.site]) >= min_patients else WITHHELD for r in records]


def known_groups(records: Sequence[Audited], outputs: Sequence[str] = ()) -> set[Group]:
    """Return every group that effects may be reported for, except words: all, classes, and the values of columns.

    Parameters
    ----------
    records : sequence of Audited
    outputs : sequence of str
        Of a multi-label network, whose effects are reported for each of them and not for classes.
    """
    groups = {ALL, *(Group(kind="output", value=name) for name in outputs)}
    if not outputs:
        groups |= {Group(kind="class", value=r.label) for r in records if r.label is not None}
    for column, values in group_columns(records).items():
        groups |= {Group(kind=column, value=value) for value in values.tolist() if value}
    return groups
