"""What a text finder is, and the finders by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audit.errors import UnknownNameError
from audit.records import TextRegion


class TextDetector(Protocol):
    """Finds burned-in text in one image; equal pixels give equal regions."""

    @property
    def name(self) -> str:
        """Name that every result carries."""
        ...

    @property
    def version(self) -> str:
        """Library and weights: whatever changes the output without changing the configuration."""
        ...

    def config(self) -> Mapping[str, Any]:
        """Return everything that changes the output, in JSON's types."""
        ...

    def detect(self, image: NDArray[np.uint8]) -> Sequence[TextRegion]:
        """Return the regions of one grey image (h, w), in its own pixels."""
        ...


def _easyocr(boxes: Path | None) -> TextDetector:
    from audit.text.easyocr_detector import EasyOcrDetector

    return EasyOcrDetector()


def _annotated(boxes: Path | None) -> TextDetector:
    from audit.text.annotated import load_annotated

    return load_annotated(boxes)


DETECTORS: Mapping[str, Callable[[Path | None], TextDetector]] = {"easyocr": _easyocr, "annotated": _annotated}
"""Detector name -> how to make it, given the file of hand-made boxes (which only `annotated` reads)."""


def make_detector(name: str, boxes: Path | None = None) -> TextDetector:
    """Make a text finder by name.

    Parameters
    ----------
    name : str
        easyocr (the reference engine) or annotated (boxes drawn by hand or known from synthesis).
    boxes : Path, optional
        JSON file of boxes, for `annotated`.

    Raises
    ------
    UnknownNameError
        If no detector has that name.
    TextError
        If the detector cannot start: no weights, no boxes.
    """
    if name not in DETECTORS:
        raise UnknownNameError("text detector", name, DETECTORS)
    return DETECTORS[name](boxes)
