"""The cohort is measured for the edits that compare an image with it: by every process together, before any edit is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from audit.data.records import Record, TextRegion
from audit.perturbations import Comparing, Perturbation
from audit.perturbations.measures import CohortMeasures, ImageMeasures, Wanted, measure_wanted
from audit.prediction.pool import each_side_by_side
from audit.prediction.variants import CohortContext


def wanted_measures(
    records: Sequence[Record],
    regions: Mapping[str, tuple[TextRegion, ...]],
    context: CohortContext,
    perturbations: Mapping[str, Perturbation],
) -> list[Wanted]:
    """Return what perturbations compare images with, and on which of the records it is measured: on a bounded sample.

    Parameters
    ----------
    records : sequence of Record
        The cohort.
    regions : mapping
        Record id -> its text.
    context : CohortContext
        Chooses the samples.
    perturbations : mapping
        Of the conditions; one that does not declare what it compares is measured for when it first asks.
    """
    compared = {part for p in perturbations.values() if isinstance(p, Comparing) for part in p.compares}
    of_properties = [*(context.properties.sample() if "properties" in compared else [])]
    of_properties += context.sources.sample() if "sources" in compared else []
    properties = {r.id for r in of_properties}
    parts = {r.id for r in context.background.sample()} if "background" in compared else set[str]()
    levels = {r.id for r in context.grey_range.sample()} if "leaves_range" in compared else set[str]()
    return [
        Wanted(
            record=r,
            regions=regions[r.id],
            properties=r.id in properties,
            part=r.id in parts,
            levels=r.id in levels,
        )
        for r in records
        if r.id in properties or r.id in parts or r.id in levels
    ]


def measure_cohort(wanted: Sequence[Wanted], on_image: Callable[[], None], *, workers: int = 1) -> CohortMeasures:
    """Measure the cohort.

    Parameters
    ----------
    wanted : sequence of Wanted
        See `wanted_measures`.
    on_image : callable
        Called after each image.
    workers : int
        Processes; their number changes no byte.

    Raises
    ------
    AuditError
        If an image cannot be read, or a process died.
    """
    found: dict[int, ImageMeasures] = {}
    for number, measured in each_side_by_side(_measure, wanted, len(wanted), workers):
        found[number] = measured
        on_image()
    ids = [one.record.id for one in wanted]

    def by_record(name: str) -> dict[str, Any]:
        told = ((ids[n], getattr(found[n], name)) for n in range(len(wanted)))
        return {record_id: value for record_id, value in told if value is not None}

    return CohortMeasures(properties=by_record("properties"), parts=by_record("part"), levels=by_record("levels"))


def _measure(wanted: Sequence[Wanted], number: int) -> ImageMeasures:
    return measure_wanted(wanted, number)
