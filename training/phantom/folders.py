"""What the phantoms of every kind are written as: images, true text boxes, and a manifest that comes last."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.errors import StoreError
from audit.files import write_atomically
from audit.store.results import SCHEMA_VERSION
from audit.store.serialise import to_json
from audit.training.phantom.lettering import TextBox

# Run lengths: faster on noise than searching for matches, and no larger.
_PNG_OPTIONS = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image, grey (h, w) or red, green and blue (h, w, 3).

    Raises
    ------
    StoreError
        If the folder cannot be written to.
    """
    # OpenCV writes blue first.
    fine, data = cv2.imencode(
        ".png", image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1]), _PNG_OPTIONS
    )
    if not fine:
        raise StoreError(f"Cannot encode {path} as PNG.")
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise StoreError(f"Cannot write {path}: {error.strerror}. Choose a writable folder.") from error


def write_tables(
    folder: Path,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, str | int]],
    boxes: Mapping[str, Sequence[TextBox]],
) -> Path:
    """Write the boxes, then the manifest, so that a folder with one is complete; return the manifest."""
    images = {name: [asdict(box) for box in found] for name, found in boxes.items()}
    write_atomically(folder / "boxes.json", to_json({"schema_version": SCHEMA_VERSION, "images": images}).encode())
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / "manifest.csv", table.getvalue().encode())
    return folder / "manifest.csv"
