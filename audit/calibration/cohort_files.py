"""The files of a planted cohort: images, lung masks, true boxes and a manifest, as an auditor is given them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.calibration.corpus import Specimen
from audit.calibration.plants import Picture
from audit.errors import StoreError
from audit.files import write_atomically
from audit.store.results import SCHEMA_VERSION
from audit.store.serialise import to_json

_ONE_SOURCE = "one source"
_GREY = 2
OWN_COLUMNS = frozenset({"id", "path", "patient", "source", "lung_mask"})
"""Columns of every manifest here: no output of a network can be called so."""


def write_cohort(
    folder: Path,
    specimens: Sequence[Specimen],
    pictures: Sequence[Picture],
    classes: Sequence[str],
    columns: Mapping[str, tuple[str, str]],
    carried: NDArray[np.bool_],
    *,
    boxes: bool,
) -> None:
    """Write images, lung masks, true boxes and a manifest: what an auditor is given, and nothing of the plant."""
    rows, listed = [], {}
    for number, (specimen, picture, here) in enumerate(zip(specimens, pictures, carried.tolist(), strict=True)):
        name = f"images/{number:05d}.png"
        _write_png(folder / name, picture.image)
        row = {
            "id": specimen.id,
            "path": name,
            "patient": specimen.patient,
            "source": _ONE_SOURCE,
            "lung_mask": "",
        }
        if picture.lungs is not None and picture.lungs.any():
            row["lung_mask"] = f"lungs/{number:05d}.png"
            _write_png(folder / row["lung_mask"], picture.lungs)
        # Of a multi-label network a column for each output; what nobody knows stays blank.
        said = specimen.findings
        row |= (
            {"label": classes[specimen.label]}
            if said is None
            else {name: "" if value < 0 else str(value) for name, value in said.items()}
        )
        rows.append({**row, **{column: values[here] for column, values in columns.items()}})
        listed[name] = [asdict(box) for box in picture.boxes]
    if boxes:
        boxes_file = to_json({"schema_version": SCHEMA_VERSION, "images": listed})
        write_atomically(folder / "boxes.json", boxes_file.encode())
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / "manifest.csv", table.getvalue().encode("utf-8", "surrogateescape"))


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    stored = image if image.ndim == _GREY else image[..., ::-1]  # OpenCV has blue first
    fine, data = cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not fine:
        raise StoreError(f"Cannot encode {path} as PNG.")
    write_atomically(path, data.tobytes())
