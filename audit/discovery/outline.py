"""The outline of an object: where images that show it differ, after alignment on its template, from images that do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from audit.data.pixels.facts import GreyImage
from audit.perturbations.places import Box
from audit.store.suspects import MOST_PARTS

Field = NDArray[np.float64]
Flags = NDArray[np.bool_]

_FINE_PX = 6.0
"""Structure wider than this is shading, tissue or disease, which differ between classes; an object has edges."""
_CHANCE = 0.01
"""Probability that a single pixel of the whole image is outlined by chance."""
_EDGE_CHANCE = 0.001
"""The same of one pixel that is connected to one that stands out beyond chance."""
_CONTRAST = 0.2
"""Contrast of the outline's faintest pixel, as a share of the contrast of the clearest ones."""
_ECHO = 0.5
"""The same where the contrast is the other way round."""
_GAP_PX = 7
"""Parts of one object lie as near to each other as this, in pixels at the scale of the search."""
_NOISE_LEVELS = 0.3
"""Grey levels that every mean may be off by."""
_MARGIN_PX = 2
"""What is outlined grows by so much: objects have soft edges, and are turned."""
_CELLS_PX = (2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Sides of the cells in which an outline is written, the finest first that needs few enough boxes."""


def outline(
    there: Sequence[GreyImage], places: Sequence[tuple[int, int]], elsewhere: Sequence[GreyImage], own: Box
) -> tuple[Box, ...]:
    """Return the boxes that an object fills, relative to its template's place.

    Parameters
    ----------
    there : sequence of ndarray of uint8, (h, w)
        Images that show the object.
    places : sequence of (left, top)
        Of its template on each of them.
    elsewhere : sequence of ndarray of uint8, (h, w)
        Images that do not; they are looked at in the same places in turn.
    own : Box
        The template's part of the object, relative to its place.

    Returns
    -------
    tuple of Box
        Together the object's shape; `own` alone where nothing stands out there.
    """
    seen = _span(there, places)
    n, mean, variance = _moments(there, places, seen)
    m, other, spread = _moments(elsewhere, [places[k % len(places)] for k in range(len(elsewhere))], seen)
    gap = mean - other
    # Welch's t; a level of noise keeps flat places, which hardly vary, from standing out.
    error = np.sqrt(variance / np.maximum(n, 1) + spread / np.maximum(m, 1))
    t = np.where((n >= len(there) / 2) & (m >= len(elsewhere) / 2), np.abs(gap) / (error + _NOISE_LEVELS), 0.0)
    sure = t > float(norm.isf(_CHANCE / 2 / t.size))
    gap *= np.sign((gap[sure] ** 3).sum()) or 1.0
    clear = float(np.quantile(np.abs(gap[sure]), 0.9)) if sure.any() else 0.0
    # Beside what is bright the surroundings look dark, once shading is taken away: that is no object.
    stands_out = (gap > _CONTRAST * clear) | (-gap > _ECHO * clear)
    near = (t > float(norm.isf(_EDGE_CHANCE / 2))) & stands_out
    middle = np.zeros_like(sure)
    x0, y0, x1, y1 = (own[k] - seen[k % 2] for k in range(4))
    middle[max(0, y0) : y1, max(0, x0) : x1] = True
    grown = cv2.dilate(near.astype(np.uint8), np.ones((_GAP_PX, _GAP_PX), np.uint8))
    _, parts = cv2.connectedComponents(grown, connectivity=8)
    touched = np.unique(parts[middle & sure & near])
    shape = near & np.isin(parts, touched[touched > 0])
    if not shape.any():
        return (own,)
    # Filled: the inside of a disc is as flat as what surrounds it.
    filled = _filled(cv2.dilate(shape.astype(np.uint8), np.ones((2 * _MARGIN_PX + 1,) * 2, np.uint8)))
    return tuple((a + seen[0], b + seen[1], c + seen[0], d + seen[1]) for a, b, c, d in as_boxes(filled))


def as_boxes(shape: Flags) -> tuple[Box, ...]:
    """Cover a shape (h, w) by at most `MOST_PARTS` boxes, on the finest grid on which so few are enough."""
    for cell in _CELLS_PX:
        found = _runs(shape, cell)
        if len(found) <= MOST_PARTS:
            return found
    rows, columns = np.flatnonzero(shape.any(1)), np.flatnonzero(shape.any(0))
    return ((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1),)


def _runs(shape: Flags, cell: int) -> tuple[Box, ...]:
    """Cover a shape by runs of cells; equal runs of rows that follow each other are one box."""
    h, w = shape.shape
    padded = np.zeros((-(-h // cell) * cell, -(-w // cell) * cell), dtype=np.bool_)
    padded[:h, :w] = shape
    cells = np.asarray(padded.reshape(padded.shape[0] // cell, cell, -1, cell).any(axis=(1, 3)))
    done: list[Box] = []
    open_runs: dict[tuple[int, int], int] = {}
    for row in range(len(cells) + 1):
        line = cells[row] if row < len(cells) else np.zeros(cells.shape[1], np.bool_)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(np.int8), [0]])))
        runs = {(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)}
        ended = [run for run in open_runs if run not in runs]
        done += [(a * cell, open_runs.pop((a, b)) * cell, min(w, b * cell), min(h, row * cell)) for a, b in ended]
        for run in runs:
            open_runs.setdefault(run, row)
    return tuple(sorted(done, key=lambda b: (b[1], b[0])))


def _span(images: Sequence[GreyImage], places: Sequence[tuple[int, int]]) -> Box:
    """Return the box around a place that most images fill."""
    edges = np.array([(-x, -y, i.shape[1] - x, i.shape[0] - y) for i, (x, y) in zip(images, places, strict=True)])
    left, top, right, bottom = (int(v) for v in np.rint(np.median(edges, axis=0)))
    return left, top, right, bottom


def _fine(image: GreyImage) -> Field:
    levels = image.astype(np.float32)
    return np.asarray(levels - cv2.GaussianBlur(levels, (0, 0), _FINE_PX), dtype=np.float64)


def _moments(images: Sequence[GreyImage], places: Sequence[tuple[int, int]], seen: Box) -> tuple[Field, Field, Field]:
    """Return, of the fine structure around a place, how many images know each pixel, its mean and its variance."""
    x0, y0, x1, y1 = seen
    n, total, squares = np.zeros((3, y1 - y0, x1 - x0))
    for image, place in zip(images, places, strict=True):
        fine = _fine(image)
        left, top = place[0] + x0, place[1] + y0
        height, width = fine.shape
        a, b, c, d = max(0, left), max(0, top), min(width, left + x1 - x0), min(height, top + y1 - y0)
        if c > a and d > b:
            here, part = np.s_[b - top : d - top, a - left : c - left], fine[b:d, a:c]
            n[here] += 1
            total[here] += part
            squares[here] += part**2
    mean = total / np.maximum(n, 1)
    return n, mean, np.maximum(squares / np.maximum(n, 1) - mean**2, 0)


def _filled(shape: NDArray[Any]) -> Flags:
    contours, _ = cv2.findContours(shape, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.zeros_like(shape), contours, -1, 1, cv2.FILLED) > 0)
