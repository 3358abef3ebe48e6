"""Every text finder on the same hand-drawn boxes: recall, images fully covered, false regions, processor seconds. Prints a table.

    python -m benchmarks.finders_compared [--boxes boxes.json] [--only NAME...]

Engines as shipped stand beside the finders of this package: EasyOCR's `readtext` with its working size set to 1,024 px,
RapidOCR's own pipeline, and Tesseract looking for sparse text (if the program is installed).
"""

from __future__ import annotations

import argparse
import csv
import logging
import os
import resource
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from audit.data.records import TextRegion
from audit.text.boxes import read_boxes
from audit.text.easyocr_finder import weights_folder
from audit.text.finders import make_finder
from audit.text.scoring import FinderScore, score_finder


class Shipped:
    """An engine as its makers ship it."""

    version = "as shipped"

    def __init__(self, name: str) -> None:
        self.name = name

    def config(self) -> Mapping[str, Any]:
        return {}

    def region(self, corners: Any, text: str, confidence: float) -> TextRegion:
        points = np.asarray(corners, dtype=float).reshape(-1, 2)
        (x0, y0), (x1, y1) = points.min(0), points.max(0)
        return TextRegion(
            x0=int(x0), y0=int(y0), x1=int(np.ceil(x1)), y1=int(np.ceil(y1)), text=text, confidence=confidence
        )


class PlainEasyOcr(Shipped):
    def __init__(self) -> None:
        super().__init__("EasyOCR, readtext at 1,024 px")
        import easyocr

        folder = weights_folder()
        storage = {} if folder is None else {"model_storage_directory": str(folder), "download_enabled": False}
        self._reader = easyocr.Reader(["en"], gpu=False, verbose=False, **storage)

    looks_up = False

    def find(self, image: np.ndarray) -> Sequence[TextRegion]:
        found = self._reader.readtext(image, canvas_size=1024)
        return [self.region(corners, text, confidence) for corners, text, confidence in found]


class PlainRapidOcr(Shipped):
    def __init__(self) -> None:
        super().__init__("RapidOCR, its own pipeline")
        from rapidocr import RapidOCR

        logging.getLogger("RapidOCR").setLevel(logging.ERROR)
        self._engine = RapidOCR()

    looks_up = False

    def find(self, image: np.ndarray) -> Sequence[TextRegion]:
        found = self._engine(np.repeat(image[:, :, None], 3, axis=2))
        if found.boxes is None:
            return []
        return [self.region(b, t, float(s)) for b, t, s in zip(found.boxes, found.txts, found.scores, strict=True)]


class Tesseract(Shipped):
    def __init__(self) -> None:
        super().__init__("Tesseract, sparse text")

    looks_up = False

    def find(self, image: np.ndarray) -> Sequence[TextRegion]:
        with tempfile.TemporaryDirectory() as folder:
            Image.fromarray(image).save(Path(folder) / "image.png")
            command = ["tesseract", "image.png", "stdout", "--psm", "11", "tsv"]
            environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}
            out = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, check=True
            ).stdout
        rows = csv.DictReader(out.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
        found = []
        for row in rows:
            if row["text"].strip() and float(row["conf"]) > 0:
                x, y, w, h = (int(row[key]) for key in ("left", "top", "width", "height"))
                found.append(self.region([[x, y], [x + w, y + h]], row["text"], float(row["conf"]) / 100))
        return found


def processor_s() -> float:
    return time.process_time() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


def line(name: str, score: FinderScore, seconds: float) -> str:
    everything = score.recalls[0]
    kinds = {str(r.group): r for r in score.recalls}
    lead, overlay = kinds.get("kind=lead_marker"), kinds.get("kind=overlay")

    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    cells = (
        name,
        f"{share(everything.recall)} ({everything.n_found}/{everything.n_boxes})",
        share(lead.recall if lead else None),
        share(overlay.recall if overlay else None),
        share(score.fully_covered_share),
        f"{score.false_regions_per_image:.2f}",
        f"{seconds / score.n_images:.2f}",
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(os.environ.get("AUDIT_TEXT_DIR", "../shared/text")) / "boxes.json"
    parser.add_argument("--boxes", type=Path, default=default)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    images = read_boxes(options.boxes)
    makers = {
        "cascade": lambda: make_finder("cascade"),
        "rapidocr": lambda: make_finder("rapidocr"),
        "markers": lambda: make_finder("markers"),
        "easyocr": lambda: make_finder("easyocr"),
        "plain-rapidocr": PlainRapidOcr,
        "plain-easyocr": PlainEasyOcr,
    }
    if shutil.which("tesseract"):
        makers["tesseract"] = Tesseract
    print(
        "| finder | recall | lead markers | overlays | images fully covered | false regions an image | processor s an image |"
    )
    print("|---|---|---|---|---|---|---|")
    for key, make in makers.items():
        if options.only and key not in options.only:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of engines as shipped
            finder = make()
            start = processor_s()
            score = score_finder(images, finder)
        name = f"`{key}`" if key == finder.name else finder.name
        print(line(name, score, processor_s() - start), flush=True)


if __name__ == "__main__":
    main()
