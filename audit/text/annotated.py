"""Text regions from a file: drawn by hand, or known because the image was synthesised."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.errors import TextError
from audit.images import pixel_hash, read_gray
from audit.records import TextRegion


class AnnotatedDetector:
    """Looks boxes up by the pixels of the image, so that it obeys the same contract as an OCR engine."""

    name = "annotated"

    def __init__(self, regions: Mapping[str, tuple[TextRegion, ...]], version: str) -> None:
        self._regions = regions
        self.version = version

    def config(self) -> Mapping[str, Any]:
        """Return nothing: the boxes themselves are the version."""
        return {}

    def detect(self, image: NDArray[np.uint8]) -> Sequence[TextRegion]:
        """Return the boxes of this image.

        Raises
        ------
        TextError
            If the file of boxes has no entry for these pixels: silence would read as "no text".
        """
        key = pixel_hash(image)
        if key not in self._regions:
            raise TextError(
                f"The file of boxes has no entry for an image of {image.shape[1]} x {image.shape[0]} pixels. Every image needs "
                "one (an empty list says that it has no text); add it, or use --detector easyocr."
            )
        return self._regions[key]


def load_annotated(boxes: Path | None) -> AnnotatedDetector:
    """Read a file of boxes: `{"images": {relative path: [{x0, y0, x1, y1, text, kind}, ...]}}`.

    Paths are relative to the file's folder; boxes are half-open, in pixels of the stored image.

    Raises
    ------
    TextError
        If the file is missing, is not of that form, or names an image that cannot be read.
    """
    if boxes is None:
        raise TextError("The detector annotated needs a file of boxes: give --boxes FILE.")
    try:
        data = boxes.read_bytes()
        images = json.loads(data)["images"]
        regions = {
            pixel_hash(read_gray(boxes.parent / name)): tuple(_region(row) for row in rows)
            for name, rows in images.items()
        }
    except OSError as error:
        raise TextError(f"The file of boxes {boxes} cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TextError(
            f"The file of boxes {boxes} does not have the expected form (images: path -> list of boxes): {error!r}."
        ) from error
    return AnnotatedDetector(regions, hashlib.sha256(data).hexdigest()[:16])


def _region(row: Mapping[str, Any]) -> TextRegion:
    return TextRegion(
        x0=int(row["x0"]),
        y0=int(row["y0"]),
        x1=int(row["x1"]),
        y1=int(row["y1"]),
        text=str(row.get("text", "")),
        kind=str(row.get("kind", "text")),
        polygon=tuple((float(x), float(y)) for x, y in row.get("polygon", ())),
    )
