"""CheXpert as it unpacks: v1.0 and v1.0-small in one folder, and the four batches of the archive of 2021."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from audit.data.layouts.found import FoundSet, Layout, header_of, labels_of, positives, read_named, taken

SOURCE = "CheXpert"
FINDINGS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation", "Pneumonia",
    "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
_COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
_PATIENT = re.compile(r"patient\d+")
_TABLES = {"train.csv": "train", "valid.csv": "validation", "test.csv": "test"}


def patient_of(path: str) -> str | None:
    """Return the patient that a path of the tables names."""
    found = _PATIENT.search(path)
    return found.group() if found else None


def chexpert_files(folder: Path) -> Callable[[str], Path | None]:
    """Return what finds the file of a path in the tables; None where it is not on disk.

    The tables say `CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg`, whatever the folder is called. In the archive of
    2021 the tables lie in `CheXpert-v1.0 batch 1 (validate & csv)`, with `valid/`, and the patients of `train/` directly in the
    folders of batches 2 to 4 beside it.
    """
    bases = [folder, *sorted(folder.glob("*batch *")), *sorted(folder.parent.glob("CheXpert* batch *"))]
    places: dict[str, Path] = {}
    for base in dict.fromkeys(bases):
        for place in (base, *(base / name for name in ("train", "valid", "test"))):
            if place.is_dir():
                for entry in place.iterdir():
                    if entry.name.startswith("patient"):
                        places.setdefault(entry.name, entry)

    def find(path: str) -> Path | None:
        patient = patient_of(path)
        if patient is None or patient not in places:
            return None
        file = places[patient] / path.partition(f"{patient}/")[2]
        return file if file.is_file() else None

    return find


def _sign(folder: Path) -> str:
    return next(
        (name for name in _TABLES if (folder / name).is_file() and set(_COLUMNS) <= set(header_of(folder / name))), ""
    )


def _read(folder: Path, classes: Sequence[str]) -> FoundSet:
    find = chexpert_files(folder)
    columns: dict[str, list[str]] = {}
    graded: dict[str, list[str]] = {name: [] for name in FINDINGS}
    absent = 0
    for name, split in _TABLES.items():
        if not (folder / name).is_file() or not set(_COLUMNS) <= set(header_of(folder / name)):
            continue
        table = read_named(folder / name, (*_COLUMNS, *FINDINGS))
        files = [find(path) for path in table["Path"]]
        absent += files.count(None)
        table = taken(table, [file is not None for file in files])
        findings = positives(table, FINDINGS)
        for name, cells_of in graded.items():
            cells_of.extend(table[name])
        sides = zip(table["AP/PA"], table["Frontal/Lateral"], strict=True)
        for column, cells in {
            "id": table["Path"],
            "path": [str(file) for file in files if file is not None],
            "label": labels_of(findings, classes),
            "findings": findings,
            "patient": [f"chexpert-{patient_of(path)}" for path in table["Path"]],
            "source": [SOURCE] * len(findings),
            "view": [side or ("L" if frontal == "Lateral" else "") for side, frontal in sides],
            "sex": table["Sex"],
            "age": table["Age"],
            "split": [split] * len(findings),
        }.items():
            columns.setdefault(column, []).extend(cells)
    told_by = {
        "path": "Path", "label": "the findings that are 1", "patient": "Path", "view": "AP/PA", "sex": "Sex", "age": "Age",
        "split": "train.csv, valid.csv",
    }  # fmt: skip
    left_out = {"not on disk": absent} if absent else {}
    return FoundSet(folder=folder, columns=columns, told_by=told_by, left_out=left_out, graded=graded)


CHEXPERT = Layout(name="chexpert", title="CheXpert", sign=_sign, read=_read)
