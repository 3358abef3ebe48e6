"""The text finders by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from audit.errors import TextUsageError, UnknownNameError
from audit.text.base import TextFinder


def _cascade(boxes: Path | None) -> TextFinder:
    from audit.text.cascade import CascadeFinder

    return CascadeFinder()


def _rapidocr(boxes: Path | None) -> TextFinder:
    from audit.text.rapidocr_finder import RapidOcrFinder

    return RapidOcrFinder()


def _markers(boxes: Path | None) -> TextFinder:
    from audit.text.marks import MarksFinder

    return MarksFinder()


def _easyocr(boxes: Path | None) -> TextFinder:
    from audit.text.easyocr_finder import EasyOcrFinder

    return EasyOcrFinder()


def _annotated(boxes: Path | None) -> TextFinder:
    from audit.text.annotated import load_annotated

    return load_annotated(boxes)


FINDERS: Mapping[str, Callable[[Path | None], TextFinder]] = {
    "cascade": _cascade,
    "rapidocr": _rapidocr,
    "markers": _markers,
    "easyocr": _easyocr,
    "annotated": _annotated,
}
"""Finder name -> how to make it, given the file of hand-made boxes, which only `annotated` needs."""

DEFAULT_FINDER = "cascade"


def check_finder(name: str, boxes: Path | None) -> None:
    """Check the choice of a finder without making it, and without reading an image.

    Raises
    ------
    UnknownNameError
        If no finder has that name.
    TextError
        If the file of boxes is missing where it is needed, or not of a known form.
    """
    if name not in FINDERS:
        raise UnknownNameError("text finder", name, FINDERS)
    if boxes is None and name == "annotated":
        raise TextUsageError("The text finder annotated needs a file of boxes: use --boxes FILE.")
    if boxes is not None:
        from audit.text.boxes import read_boxes

        read_boxes(boxes)


def make_finder(name: str, boxes: Path | None = None) -> TextFinder:
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
        If no finder has that name.
    TextError
        If the finder cannot start: no weights, no boxes.
    """
    check_finder(name, boxes)
    made = FINDERS[name](boxes)
    if boxes is None or name == "annotated":
        return made
    from audit.text.annotated import load_annotated
    from audit.text.joined import JoinedFinder

    return JoinedFinder(made, load_annotated(boxes))
