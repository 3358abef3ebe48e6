"""A second look at small shapes: each in a cell of its own, enlarged, where the network that marks text sees little else."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.records import TextRegion
from audit.text.ppocr import PpOcr

CELL_PX = 64
# A cell's side, in lengths of its shape: a letter alone fills half of it.
CELL_LENGTHS = 1.8
# A shape is marked as surely as this share of its cell's middle is: more than a speck, less than a letter's core.
CORE_SHARE = 0.05
_COLUMNS = 8
_FRAME_PX = 12


def marked_in_cells(shapes: Sequence[TextRegion], image: NDArray[np.uint8], networks: PpOcr) -> list[float]:
    """Return how surely each shape of a grey image (h, w) is marked as text in a cell of its own, upright or turned.

    Parameters
    ----------
    shapes : sequence of TextRegion
        Boxes around one letter each, or a few.
    image : ndarray of uint8 (h, w)
        Grey levels.
    networks : PpOcr
        Marks the cells; all of them at once, once upright and once turned by 90 degrees.

    Returns
    -------
    list of float
        From 0 to 1, in the order of `shapes`.
    """
    if not shapes:
        return []
    cells = [_cell(shape, image) for shape in shapes]
    rows = -(-len(cells) // _COLUMNS)
    surest = np.zeros(len(cells))
    for turns in (0, 1):
        sheet = np.zeros((rows * CELL_PX, min(_COLUMNS, len(cells)) * CELL_PX), dtype=np.uint8)
        places = [np.s_[y : y + CELL_PX, x : x + CELL_PX] for y, x in map(_corner, range(len(cells)))]
        for place, cell in zip(places, cells, strict=True):
            sheet[place] = np.rot90(cell, turns)
        marked = networks.probabilities(sheet)
        middle = np.s_[_FRAME_PX : CELL_PX - _FRAME_PX, _FRAME_PX : CELL_PX - _FRAME_PX]
        found = [float(np.quantile(marked[place][middle], 1 - CORE_SHARE)) for place in places]
        surest = np.maximum(surest, found)
    return [float(value) for value in surest]


def _corner(number: int) -> tuple[int, int]:
    """Return the upper left corner (y, x) of a cell on the sheet."""
    return number // _COLUMNS * CELL_PX, number % _COLUMNS * CELL_PX


def _cell(shape: TextRegion, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut a square around a shape and scale it to a cell; beyond the image's edge its grey goes on."""
    side = max(4, round(CELL_LENGTHS * max(shape.x1 - shape.x0, shape.y1 - shape.y0)))
    centre = ((shape.x0 + shape.x1 - 1) / 2, (shape.y0 + shape.y1 - 1) / 2)
    square = cv2.getRectSubPix(image, (side, side), centre)
    how = cv2.INTER_AREA if side > CELL_PX else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (CELL_PX, CELL_PX), interpolation=how), dtype=np.uint8)
