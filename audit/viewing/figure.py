"""One image under one condition as an object that shows itself in a notebook."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audit.data.strings import shown_string
from audit.prediction.table import FinishedRun
from audit.reports.page.templates import environment
from audit.store.numbers import number, signed
from audit.viewing.cases import Case, CaseRow, find_image, known_condition, read_case
from audit.viewing.pictures import KINDS, CasePictures, Kind, NotDrawnError

_NAMES: Mapping[Kind, str] = {
    "clean": "Unedited", "edit": "Edit", "placebo": "Placebo", "difference": "Difference", "relevance": "Relevance",
}  # fmt: skip
_SIDE_PX, _CAPTION_PX, _GAP_PX = 320, 40, 8
_INK = (40, 40, 40)


@dataclass(frozen=True, kw_only=True)
class CaseFigure:
    """One image of a run under one condition, with its pictures."""

    case: Case
    """The image, with its predictions under every condition."""
    row: CaseRow | None
    """The condition and draw that are shown; None where no edit was applied."""
    pictures: Mapping[Kind, bytes] = field(repr=False)
    """PNG of each picture that could be drawn."""
    why_not: Mapping[Kind, str]
    """Why the others could not, in a sentence each."""
    checked: str
    """How image and edit, drawn again, compare with what the run recorded."""

    def _repr_html_(self) -> str:
        clean = self.case.row("clean")
        placebo = None if self.row is None else self.case.placebo_of(self.row)
        return (
            environment()
            .get_template("figure.html.j2")
            .render(
                case=self.case,
                row=self.row,
                clean=clean,
                rows=[r for r in self.case.rows if r.condition != "clean"],
                pictures=[
                    (kind, _NAMES[kind], _uri(self.pictures.get(kind)), self.why_not.get(kind, ""), told)
                    for kind, told in zip(KINDS, (clean, self.row, placebo, None, None), strict=True)
                ],
                checked=self.checked,
            )
        )

    def _repr_png_(self) -> bytes:
        """Return the pictures side by side, each with its prediction."""
        clean = self.case.row("clean")
        placebo = None if self.row is None else self.case.placebo_of(self.row)
        told: dict[Kind, CaseRow | None] = {"clean": clean, "edit": self.row, "placebo": placebo}
        cells = [_cell(self._shown(kind), _NAMES[kind], told.get(kind)) for kind in KINDS]
        gap = np.full((cells[0].shape[0], _GAP_PX, 3), 255, dtype=np.uint8)
        parts = [part for cell in cells for part in (cell, gap)][:-1]
        buffer = io.BytesIO()
        Image.fromarray(np.hstack(parts)).save(buffer, "PNG")
        return buffer.getvalue()

    def _shown(self, kind: Kind) -> NDArray[np.uint8] | None:
        if kind not in self.pictures:
            return None
        picture = Image.open(io.BytesIO(self.pictures[kind]))
        if kind != "relevance" or "clean" not in self.pictures:
            return np.asarray(picture.convert("RGB"))
        under = Image.open(io.BytesIO(self.pictures["clean"])).convert("RGBA")
        laid = picture.convert("RGBA").resize(under.size, Image.Resampling.BILINEAR)
        return np.asarray(Image.alpha_composite(under, laid).convert("RGB"))


def draw_case(finished: FinishedRun, pictures: CasePictures, image: str, condition: str | None) -> CaseFigure:
    """Draw an image of a run under a condition; a picture that cannot be drawn is a sentence.

    Parameters
    ----------
    finished : FinishedRun
        The run.
    pictures : CasePictures
        Draws its images.
    image : str
        Name of the image, or its beginning.
    condition : str or None
        The condition; None for the edit that moved the prediction most.

    Raises
    ------
    UsageError
        If the run has no such image or condition.
    """
    known_condition([c.name for c in finished.suite.conditions], condition)
    name = find_image(finished.path, finished.table.record_ids.tolist(), image, plain=finished.plan.privacy.key is None)
    case = read_case(finished.path, name)
    row = case.most_moved() if condition is None else case.row(condition)
    drawn: dict[Kind, bytes] = {}
    why_not: dict[Kind, str] = {}
    for kind in KINDS:
        try:
            drawn[kind] = pictures.draw(case, kind, row)
        except NotDrawnError as error:
            why_not[kind] = str(error)
    _, checked = pictures.check(case, row)
    return CaseFigure(case=case, row=row, pictures=drawn, why_not=why_not, checked=checked)


def _uri(png: bytes | None) -> str:
    return "" if png is None else f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _cell(image: NDArray[np.uint8] | None, name: str, told: CaseRow | None) -> NDArray[np.uint8]:
    """Return a picture within a square, over its name and its prediction."""
    cell = np.full((_SIDE_PX + _CAPTION_PX, _SIDE_PX, 3), 255, dtype=np.uint8)
    if image is None:
        cell[:_SIDE_PX] = 230
    else:
        scale = _SIDE_PX / max(image.shape[:2])
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        cell[: size[1], : size[0]] = cv2.resize(image, size, interpolation=how)
    second = "" if image is not None else "not drawn"
    if told is not None and told.applied:
        moved = "" if told.change is None or told.condition == "clean" else f" ({signed(100 * told.change, 1)} points)"
        second = f"{shown_string(told.predicted, 24)} {number(max(told.probabilities.values()), 2)}{moved}"
    for text, y in ((name, 16), (second, 34)):
        plain = text.encode("ascii", "replace").decode()  # OpenCV's letters are ASCII's
        cv2.putText(cell, plain, (2, _SIDE_PX + y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, _INK, 1, cv2.LINE_AA)
    return cell
