"""Writes who was audited and where text was found: names made with the key, and no string that the policy withholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from audit.data.findings import unknown_of_truth
from audit.data.groups import shown_sites
from audit.data.records import Record, TextRegion
from audit.data.strings import StringPolicy
from audit.statistics.alignment import MIN_GROUP_PATIENTS
from audit.store.folder import RunFolder
from audit.store.table_schemas import FINDINGS_SCHEMA, RECORDS_SCHEMA, REGIONS_SCHEMA


def write_regions(
    run: RunFolder,
    records: Sequence[Record],
    regions: Mapping[str, tuple[TextRegion, ...]],
    policy: StringPolicy,
    outputs: Sequence[str],
) -> None:
    """Write `regions.parquet` and `records.parquet` of a run.

    Parameters
    ----------
    run : RunFolder
        Where they go.
    records : sequence of Record
        The images that are audited.
    regions : mapping
        Record id -> the text found in it.
    policy : StringPolicy
        Which strings may be shown.
    outputs : sequence of str
        The network's outputs, of which a multi-label record may be unknown.
    """
    names = [name for name in REGIONS_SCHEMA.names if name not in ("record_id", "withheld")]
    run.write_rows(
        "regions.parquet",
        [
            {
                "record_id": r.name,
                "withheld": bool(region.text.strip()) and not policy.shows(region.text),
                **{name: getattr(shown, name) for name in names},
            }
            for r in records
            for region, shown in zip(regions[r.id], policy.redact(regions[r.id]), strict=True)
        ],
        REGIONS_SCHEMA,
    )
    run.write_rows(
        "records.parquet",
        [
            {
                "record_id": r.name,
                "label": r.label,
                "patient": r.patient_name,
                "source": r.source,
                "site": site,
                "view": r.view,
                "sex": r.sex,
                "age": r.age,
                "n_regions": len(regions[r.id]),
                **({"unknown": unknown_of_truth(r.truth, outputs)} if r.truth else {}),
            }
            for r, site in zip(records, shown_sites(records, MIN_GROUP_PATIENTS), strict=True)
        ],
        FINDINGS_SCHEMA if any(r.truth for r in records) else RECORDS_SCHEMA,
    )
