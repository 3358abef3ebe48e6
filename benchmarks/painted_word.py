"""A copy of a cohort in which some images of one class carry a word: a shortcut of known share, for the other benchmarks."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np

from audit.data.images import read_gray
from audit.store.results import SCHEMA_VERSION

_CAPITAL_PX = 22
"""Height of a capital at scale 1."""


def paint_word(
    manifest: Path,
    folder: Path,
    *,
    label: str,
    share: float,
    seed: int,
    word: str = "SITIO",
    height_share: float = 0.1,
    boxes: Path | None = None,
) -> Path:
    """Write a manifest whose images of `label` carry the word with probability `share`; the others are left where they are.

    Record ids stay, so that a network's splits hold. With `boxes`, a file of boxes for all images is written beside the manifest.
    """
    (folder / "images").mkdir(parents=True)
    known = {} if boxes is None else json.loads(boxes.read_text())["images"]
    listed = {}
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        source = (manifest.parent / row["path"]).resolve()
        row["id"] = row.get("id") or row["path"]
        told = list(known.get(row["path"], []))
        rng = np.random.default_rng([seed, number])
        if row["label"] == label and rng.random() < share:
            image = read_gray(source).copy()
            told.append(write_word(image, rng, word=word, height_share=height_share))
            source = (folder / "images" / f"{number:05}.png").resolve()
            cv2.imwrite(str(source), image)
        row["path"] = str(source)
        listed[row["path"]] = told
        if row.get("lung_mask"):
            row["lung_mask"] = str((manifest.parent / row["lung_mask"]).resolve())
    if boxes is not None:
        (folder / "boxes.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION, "images": listed}))
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


def write_word(
    image: np.ndarray, rng: np.random.Generator, *, word: str = "SITIO", height_share: float = 0.1
) -> dict[str, object]:
    """Draw the word in white near the upper left corner, as a scanner does; return its box."""
    height, width = image.shape
    side = min(height, width)
    scale, thick = height_share * side / _CAPITAL_PX, max(1, round(side / 200))
    (w, h), below = cv2.getTextSize(word, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    x = int(width * rng.uniform(0.03, 0.05))
    y = int(height * 0.08) + h // 2
    cv2.putText(image, word, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, 245, thick, cv2.LINE_AA)
    x0, y0 = max(0, x - thick), max(0, y - h - thick)
    return {"x0": x0, "y0": y0, "x1": min(width, x + w + thick), "y1": min(height, y + below), "text": word}
