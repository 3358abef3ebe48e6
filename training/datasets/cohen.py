"""covid-chestxray-dataset (Cohen et al. 2020): COVID-19 images from publications, whatever the era of its metadata."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlparse

from audit.data.ages import parse_age
from audit.data.records import Record
from audit.errors import CohortError
from audit.training.datasets.published import Selection, find_folder, read_table, sex

SOURCE = "covid-chestxray-dataset"
# Semi-erect and erect were told apart only in the last versions of the metadata.
FRONTAL = frozenset({"PA", "AP", "AP SUPINE", "AP SEMI ERECT", "AP ERECT"})
_NOTES = ("clinical_notes", "clinical notes", "other_notes", "other notes")


def cohen(root: Path, *, exclude: frozenset[str] = frozenset(), seed: int = 0) -> Selection:
    """Take the frontal X-rays with COVID-19 and without arrows (Bassi & Attux 2021, section 2.2).

    COVID-19 is a part of `finding` between slashes or commas: the early metadata says `COVID-19, ARDS`, the late
    `Pneumonia/Viral/COVID-19`. The authors removed images with arrows by eye, and published no list: here images whose
    notes speak of an arrow are left out, and those that `exclude` names.

    Parameters
    ----------
    root : Path
        The repository: `metadata.csv` and `images/`.
    exclude : frozenset of str
        File names to leave out.
    seed : int
        Not used: nothing is drawn.

    Raises
    ------
    CohortError
        If the metadata or a column is missing, or no image is left.
    """
    folder = find_folder(root, "covid-chestxray-dataset", "metadata.csv")
    table = read_table(folder / "metadata.csv", ("finding", "view", "filename"))
    patients = next((c for c in ("patientid", "Patientid") if table and c in table[0]), None)
    if patients is None:
        raise CohortError(f"{folder / 'metadata.csv'} has no column 'patientid' (in March 2020 'Patientid').")
    left_out: Counter[str] = Counter()
    records: dict[str, Record] = {}
    for row in table:
        name = row["filename"]
        path = folder / (row.get("folder", "") or "images") / name
        reason = _reason(row, name, path, exclude, name in records)
        if reason:
            left_out[reason] += 1
            continue
        records[name] = Record(
            id=name,
            path=path,
            label="covid",
            # A string: 311a and 311b are two patients of one publication.
            patient=f"cohen-{row[patients]}",
            findings=("COVID-19",),
            source=SOURCE,
            site=_site(row),
            view=row["view"],
            sex=sex(row.get("sex", "")),
            age=parse_age(row.get("age", "")),
        )
    if not records:
        raise CohortError(
            f"{folder} has no usable frontal COVID-19 image: {dict(left_out)}. Check that the images are unpacked."
        )
    return Selection(records=tuple(records.values()), left_out=dict(left_out))


def _reason(row: Mapping[str, str], name: str, path: Path, exclude: frozenset[str], seen: bool) -> str:
    """Say why a row is not taken; empty if it is."""
    if "COVID-19" not in [part.strip() for part in re.split("[/,]", row["finding"])]:
        return "not COVID-19"
    if row.get("modality", "X-ray") != "X-ray" or row["view"].upper() not in FRONTAL:
        return "not a frontal X-ray"
    if any("arrow" in row.get(column, "").lower() for column in _NOTES):
        return "arrow in the notes"
    if name in exclude:
        return "excluded by name"
    if seen:
        return "second row of the same file"
    return "" if path.is_file() else "not on disk"


def _site(row: Mapping[str, str]) -> str:
    host = urlparse(row.get("url", "")).hostname or ""
    return " | ".join(part for part in (host, row.get("location", "")) if part)
