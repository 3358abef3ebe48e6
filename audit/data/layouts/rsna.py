"""RSNA Pneumonia Detection Challenge as it unpacks: DICOM files, whose headers tell age, sex and view, and tables of boxes and classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audit.data.layouts.found import NO_FINDING, FoundSet, Layout, images_below, labels_of, patients_of, read_named
from audit.data.layouts.headers import KEYWORDS, read_headers

SOURCE = "RSNA"
_BOXES = "stage_2_train_labels.csv"
_CLASSES = "stage_2_detailed_class_info.csv"


def _sign(folder: Path) -> str:
    return _BOXES if (folder / _BOXES).is_file() else ""


def _read(folder: Path, classes: Sequence[str]) -> FoundSet:
    boxes = read_named(folder / _BOXES, ("patientId", "Target"))
    # A row a box: whoever has one has lung opacity, which the challenge calls pneumonia.
    target: dict[str, bool] = {}
    for patient, cell in zip(boxes["patientId"], boxes["Target"], strict=True):
        target[patient] = target.get(patient, False) or cell in ("1", "1.0")
    told: dict[str, str] = {}
    if (folder / _CLASSES).is_file():
        table = read_named(folder / _CLASSES, ("patientId", "class"))
        told = dict(zip(table["patientId"], table["class"], strict=True))
    images = {name.rpartition(".")[0]: path for name, path in images_below(folder).items()}
    kept = [patient for patient in target if patient in images]
    findings = [_findings(target[patient], told.get(patient, "")) for patient in kept]
    told_by_headers = read_headers([folder / images[patient] for patient in kept])
    columns = {
        "id": kept,
        "path": [images[patient] for patient in kept],
        "label": labels_of(findings, classes),
        "findings": findings,
        "patient": patients_of("rsna", kept),
        "source": [SOURCE] * len(kept),
        **told_by_headers,
    }
    told_by = {"path": "patientId", "label": "Target" + (", class" if told else ""), "patient": "patientId"}
    told_by |= {column: f"{KEYWORDS[column]} of the DICOM headers" for column in told_by_headers}
    absent = len(target) - len(kept)
    return FoundSet(folder=folder, columns=columns, told_by=told_by, left_out={"not on disk": absent} if absent else {})


def _findings(target: bool, told: str) -> str:
    if target:
        return "Lung Opacity|Pneumonia"
    return NO_FINDING if told == "Normal" else told


RSNA = Layout(name="rsna", title="RSNA Pneumonia Detection Challenge", sign=_sign, read=_read)
