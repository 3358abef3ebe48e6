"""The text finders by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from audit.errors import TextError, UnknownNameError
from audit.text.base import TextDetector


def _cascade(boxes: Path | None) -> TextDetector:
    from audit.text.cascade import CascadeDetector

    return CascadeDetector()


def _rapidocr(boxes: Path | None) -> TextDetector:
    from audit.text.rapidocr_detector import RapidOcrDetector

    return RapidOcrDetector()


def _markers(boxes: Path | None) -> TextDetector:
    from audit.text.marks import MarksDetector

    return MarksDetector()


def _easyocr(boxes: Path | None) -> TextDetector:
    from audit.text.easyocr_detector import EasyOcrDetector

    return EasyOcrDetector()


def _annotated(boxes: Path | None) -> TextDetector:
    from audit.text.annotated import load_annotated

    return load_annotated(boxes)


DETECTORS: Mapping[str, Callable[[Path | None], TextDetector]] = {
    "cascade": _cascade,
    "rapidocr": _rapidocr,
    "markers": _markers,
    "easyocr": _easyocr,
    "annotated": _annotated,
}
"""Detector name -> how to make it, given the file of hand-made boxes, which only `annotated` needs."""

DEFAULT_DETECTOR = "cascade"


def check_detector(name: str, boxes: Path | None) -> None:
    """Check the choice of a finder without making it, and without reading an image.

    Raises
    ------
    UnknownNameError
        If no detector has that name.
    TextError
        If the file of boxes is missing where it is needed, or not of a known form.
    """
    if name not in DETECTORS:
        raise UnknownNameError("text detector", name, DETECTORS)
    if boxes is None and name == "annotated":
        raise TextError("The text finder annotated needs a file of boxes: use --boxes FILE.")
    if boxes is not None:
        from audit.text.boxes import read_boxes

        read_boxes(boxes)


def make_detector(name: str, boxes: Path | None = None) -> TextDetector:
    """Make a text finder by name.

    Parameters
    ----------
    name : str
        cascade (PP-OCR joined by shapes that its reader confirms; the default), rapidocr (PP-OCR alone), markers (shapes
        alone, without weights), easyocr (the reference engine) or annotated (boxes drawn by hand or known from synthesis).
    boxes : Path, optional
        JSON file of boxes: all that `annotated` knows, and what joins any other finder's own regions.

    Raises
    ------
    UnknownNameError
        If no detector has that name.
    TextError
        If the detector cannot start: no weights, no boxes.
    """
    check_detector(name, boxes)
    made = DETECTORS[name](boxes)
    if boxes is None or name == "annotated":
        return made
    from audit.text.annotated import load_annotated
    from audit.text.joined import JoinedDetector

    return JoinedDetector(made, load_annotated(boxes))
