"""PadChest as it unpacks: one table, and images in numbered folders or in one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from audit.data.layouts.found import (
    NO_FINDING,
    FoundSet,
    Layout,
    first_match,
    images_below,
    labels_of,
    patients_of,
    read_named,
    taken,
)

_LABEL = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def _sign(folder: Path) -> str:
    return first_match(folder, "PADCHEST_chest_x_ray_images_labels*.csv", "PADCHEST_chest_x_ray_images_labels*.csv.gz")


def _read(folder: Path, classes: Sequence[str]) -> FoundSet:
    table = read_named(
        folder / _sign(folder),
        ("ImageID", "PatientID", "Labels"),
        ("StudyDate_DICOM", "PatientBirth", "PatientSex_DICOM", "Projection", "Manufacturer_DICOM"),
    )
    images = images_below(folder)
    n_rows = len(table["ImageID"])
    table = taken(table, [name in images for name in table["ImageID"]])
    names = table["ImageID"]
    findings = [_findings(cell) for cell in table["Labels"]]
    makers = table.get("Manufacturer_DICOM", [""] * len(names))
    columns = {
        "id": names,
        "path": [images[name] for name in names],
        "label": labels_of(findings, classes),
        "findings": findings,
        "patient": patients_of("padchest", table["PatientID"]),
        # One hospital: scanners are what sources can be.
        "source": [f"PadChest {maker}".strip() for maker in makers],
    }
    told_by = {"path": "ImageID", "label": "Labels", "patient": "PatientID", "source": "Manufacturer_DICOM"}
    for column, name in (("view", "Projection"), ("sex", "PatientSex_DICOM")):
        if name in table:
            columns[column], told_by[column] = table[name], name
    if "PatientBirth" in table and "StudyDate_DICOM" in table:
        dates = zip(table["StudyDate_DICOM"], table["PatientBirth"], strict=True)
        columns["age"], told_by["age"] = (
            [_age(study, birth) for study, birth in dates],
            "StudyDate_DICOM - PatientBirth",
        )
    absent = n_rows - len(names)
    return FoundSet(folder=folder, columns=columns, told_by=told_by, left_out={"not on disk": absent} if absent else {})


def _findings(cell: str) -> str:
    """Read a list as Python prints it; some labels have blanks before their words."""
    found = [" ".join((one or other).split()) for one, other in _LABEL.findall(cell)]
    return "|".join(NO_FINDING if name == "normal" else name for name in found if name)


def _age(study: str, birth: str) -> str:
    """Return whole years between two years; the table has no day of birth."""
    years = study[:4], birth[:4]
    return str(int(years[0]) - int(years[1])) if all(year.isdecimal() and len(year) == 4 for year in years) else ""


PADCHEST = Layout(name="padchest", title="PadChest", sign=_sign, read=_read)
