"""Every condition of a suite on a few images, side by side, for inspection before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import Suite
from audit.data.records import Record
from audit.errors import StoreError
from audit.prediction.variants import CohortContext, Variant, make_perturbations, read_scene, variants

_CELL_PX = 220
_CAPTION_PX = 34
_COLUMNS = 8
_INK, _PAPER = 225, 24
_CHARACTERS = 34


def draw_sheet(records: Sequence[Record], suite: Suite, context: CohortContext, seed: int) -> bytes:
    """Show the first draw of every condition on each record, as PNG; a condition that does not apply shows the reason.

    Parameters
    ----------
    records : sequence of Record
        Images to show, one block each.
    suite : Suite
        Whose conditions are shown.
    context : CohortContext
        Text regions, donors and mean image.
    seed : int
        Run seed: the sheet shows the very edits of the run.
    """
    perturbations = make_perturbations(suite)
    blocks = []
    for record in records:
        scene = read_scene(record, context)
        cells = [_cell(v) for v in variants(scene, suite, perturbations, seed) if v.draw == 0]
        cells += [np.full_like(cells[0], _PAPER)] * (-len(cells) % _COLUMNS)
        blocks += [np.hstack(cells[i : i + _COLUMNS]) for i in range(0, len(cells), _COLUMNS)]
    sheet = np.vstack(blocks)
    # OpenCV writes blue first.
    fine, data = cv2.imencode(".png", sheet if sheet.ndim == 2 else np.ascontiguousarray(sheet[..., ::-1]))
    if not fine:
        raise StoreError("The contact sheet cannot be encoded as PNG.")
    return bytes(data.tobytes())


def _cell(variant: Variant) -> NDArray[np.uint8]:
    """Draw one variant with its name and how much of the image it changed, or why it does not apply."""
    cell = np.full((_CELL_PX + _CAPTION_PX, _CELL_PX, *variant.image.shape[2:]), _PAPER, dtype=np.uint8)
    second = f"{100 * variant.changed_share:.1f} % changed" if not variant.why_not else variant.why_not
    if not variant.why_not:
        height, width = variant.image.shape[:2]
        scale = (_CELL_PX - 6) / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(np.ascontiguousarray(variant.image), size, interpolation=how)
        cell[3 : 3 + size[1], 3 : 3 + size[0]] = small
    for text, y in ((variant.condition, _CELL_PX + 11), (second, _CELL_PX + 27)):
        cv2.putText(cell, text[:_CHARACTERS], (4, y), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (_INK,) * 3, 1, cv2.LINE_AA)
    return cell
