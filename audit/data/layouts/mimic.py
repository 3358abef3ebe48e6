"""MIMIC-CXR-JPG as it unpacks: `files/p10/p10000032/s50414267/<image>.jpg` and three packed tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audit.data.layouts.chexpert import FINDINGS
from audit.data.layouts.found import FoundSet, Layout, first_match, labels_of, patients_of, positives, read_named
from audit.errors import CohortError

SOURCE = "MIMIC-CXR"


def _sign(folder: Path) -> str:
    return first_match(folder, "mimic-cxr-2*-metadata.csv.gz", "mimic-cxr-2*-metadata.csv")


def _table(folder: Path, what: str) -> Path | None:
    name = first_match(folder, f"mimic-cxr-2*-{what}.csv.gz", f"mimic-cxr-2*-{what}.csv")
    return folder / name if name else None


def _read(folder: Path, classes: Sequence[str]) -> FoundSet:
    images = read_named(folder / _sign(folder), ("dicom_id", "subject_id", "study_id", "ViewPosition"))
    labels = _table(folder, "chexpert") or _table(folder, "negbio")
    if labels is None:
        raise CohortError(
            f"{folder} has no table of findings: mimic-cxr-2.x.x-chexpert.csv.gz or -negbio.csv.gz is expected next to the metadata. "
            "Download it from the page of the metadata."
        )
    studies = read_named(labels, ("study_id", *FINDINGS))
    of_study = dict(zip(studies["study_id"], positives(studies, FINDINGS), strict=True))
    row_of_study = {study: row for row, study in enumerate(studies["study_id"])}
    rows: list[int | None] = []
    lists = _table(folder, "split")
    split = {}
    if lists is not None:
        table = read_named(lists, ("dicom_id", "split"))
        split = dict(zip(table["dicom_id"], table["split"], strict=True))
    root = "files/" if (folder / "files").is_dir() else ""
    columns: dict[str, list[str]] = {name: [] for name in ("id", "path", "findings", "patient", "view", "split")}
    absent = 0
    for image, subject, study, view in zip(*images.values(), strict=True):
        path = f"{root}p{subject[:2]}/p{subject}/s{study}/{image}.jpg"
        if not (folder / path).is_file():
            absent += 1
            continue
        cells = (image, path, of_study.get(study, ""), subject, view, split.get(image, ""))
        for column, cell in zip(columns.values(), cells, strict=True):
            column.append(cell)
        rows.append(row_of_study.get(study))
    columns["patient"] = patients_of("mimic", columns["patient"])
    columns |= {"label": labels_of(columns["findings"], classes), "source": [SOURCE] * len(columns["id"])}
    told_by = {
        "path": "dicom_id",
        "label": f"the findings that are 1 in {labels.name}",
        "patient": "subject_id",
        "view": "ViewPosition",
    }
    if lists is None:
        del columns["split"]
    else:
        told_by["split"] = lists.name
    graded = {name: ["" if row is None else studies[name][row] for row in rows] for name in FINDINGS}
    left_out = {"not on disk": absent} if absent else {}
    return FoundSet(folder=folder, columns=columns, told_by=told_by, left_out=left_out, graded=graded)


MIMIC = Layout(name="mimic-cxr-jpg", title="MIMIC-CXR-JPG", sign=_sign, read=_read)
