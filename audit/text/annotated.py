"""Text regions from a file: drawn by hand, or known because the image was synthesised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.data.images import look, pixel_hash, read_image
from audit.data.pixels.colour import luminance
from audit.data.records import TextRegion
from audit.errors import TextError, TextUsageError
from audit.files import file_sha256
from audit.text.boxes import read_boxes


class AnnotatedFinder:
    """Looks boxes up by the pixels of the image, so that it obeys the same contract as an OCR engine."""

    name = "annotated"
    looks_up = True
    about = "boxes from a file, drawn by hand or known from synthesis"

    def __init__(self, regions: Mapping[str, tuple[TextRegion, ...]], version: str) -> None:
        self._regions = regions
        self.version = version
        self.parts = (("file of boxes", version),)

    def config(self) -> Mapping[str, Any]:
        """Return nothing: the boxes themselves are the version."""
        return {}

    def listed(self, image: NDArray[np.uint8]) -> tuple[TextRegion, ...]:
        """Return the boxes of this image; none if the file does not list it."""
        return self._regions.get(pixel_hash(image), ())

    def find(self, image: NDArray[np.uint8]) -> Sequence[TextRegion]:
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
                "one (an empty list means no text); add it, or use another finder, such as --detector cascade."
            )
        return self._regions[key]


def load_annotated(boxes: Path | None) -> AnnotatedFinder:
    """Make a finder of a file of boxes (see `read_boxes`).

    Raises
    ------
    TextError
        If the file is missing or is not of a known form.
    ImageError
        If it names an image that cannot be read.
    """
    if boxes is None:
        raise TextUsageError("The text finder annotated needs a file of boxes: use --boxes FILE.")
    images = read_boxes(boxes)
    regions = {}
    for image in images:
        seen = look(image.path)
        regions[pixel_hash(seen.pixels)] = image.regions
        if (
            seen.facts.coloured_share is not None
        ):  # its brightness in a run in colour, which a palette may round differently
            regions[pixel_hash(luminance(read_image(image.path, colour=True)))] = image.regions
    return AnnotatedFinder(regions, file_sha256(boxes)[:16])
