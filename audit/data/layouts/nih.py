"""NIH ChestX-ray14 as it unpacks: one table, one official test list, images in one to twelve folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audit.data.ages import says_nothing
from audit.data.layouts.found import FoundSet, Layout, first_match, images_below, labels_of, read_named, taken
from audit.files import read_text_file

SOURCE = "NIH"


def _sign(folder: Path) -> str:
    return first_match(folder, "Data_Entry_2017*.csv")


def _read(folder: Path, classes: Sequence[str]) -> FoundSet:
    table = read_named(
        folder / _sign(folder),
        ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position"),
        # The file of 2017 says gender, newer ones say sex.
        ("Patient Gender", "Patient Sex"),
    )
    images = images_below(folder)
    n_rows = len(table["Image Index"])
    table = taken(table, [name in images for name in table["Image Index"]])
    names, findings = table["Image Index"], table["Finding Labels"]
    sexes = "Patient Gender" if "Patient Gender" in table else "Patient Sex"
    columns = {
        "id": names,
        "path": [images[name] for name in names],
        "label": labels_of(findings, classes),
        "findings": findings,
        "patient": [nih_patient(cell) for cell in table["Patient ID"]],
        "source": [SOURCE] * len(names),
        "view": table["View Position"],
        "age": table["Patient Age"],
    }
    told_by = {
        "path": "Image Index",
        "label": "Finding Labels",
        "patient": "Patient ID",
        "view": "View Position",
        "age": "Patient Age",
    }
    if sexes in table:
        columns["sex"], told_by["sex"] = table[sexes], sexes
    if (folder / "test_list.txt").is_file():
        official = set(read_text_file(folder / "test_list.txt").split())
        columns["split"] = ["test" if name in official else "train" for name in names]
        told_by["split"] = "test_list.txt"
    absent = n_rows - len(names)
    return FoundSet(folder=folder, columns=columns, told_by=told_by, left_out={"not on disk": absent} if absent else {})


def nih_patient(cell: str) -> str:
    """Return the patient that a cell names, which newer tables write without leading zeros; empty where it names nobody."""
    if says_nothing(cell):
        return ""
    return f"nih-{cell.lstrip('0') or '0'}" if cell.isdecimal() else cell


NIH = Layout(name="nih", title="NIH ChestX-ray14", sign=_sign, read=_read)
