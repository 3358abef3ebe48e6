"""Sources of few patients get a neutral name before anything is computed, so that no file of a run can hold what a table calls them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from audit.data.groups import UNKNOWN, WITHHELD
from audit.data.records import Record
from audit.data.strings import MIN_PATIENTS


def withhold_sources(records: Sequence[Record]) -> list[Record]:
    """Rename the sources that the images of fewer than `MIN_PATIENTS` patients come from.

    A cell of a table may hold anybody's name; what ten patients share is nobody's. Sources stay apart, as an edit that takes another
    source's look must not take it from the same one.
    """
    patients: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        patients[record.source].add(record.patient)
    few = sorted(name for name, of_it in patients.items() if len(of_it) < MIN_PATIENTS and name != UNKNOWN)
    if not few:
        return list(records)
    neutral = {name: f"source {number} {WITHHELD}" for number, name in enumerate(few, start=1)}
    return [replace(r, source=neutral[r.source]) if r.source in neutral else r for r in records]
