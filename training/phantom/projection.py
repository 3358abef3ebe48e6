"""Path lengths of parallel X-rays through 3-D ellipsoids, in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
# Half-axis below which ellipsoids are computed together, and how many at a time.
_SMALL, _AT_ONCE = 0.12, 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Ellipsoid:
    """A solid ellipsoid with one axis along the beam, turned in the image plane."""

    x: float
    """Centre, to the right."""
    y: float
    """Centre, down."""
    a: float
    """Semi-axis along its own x."""
    b: float
    """Semi-axis along its own y."""
    c: float
    """Semi-axis along the beam."""
    turn: float = 0.0
    """Rotation about the beam, in radians, clockwise on the image."""


def shadow(solid: Ellipsoid) -> tuple[float, float, float]:
    """Reduce an ellipsoid to its shadow.

    With d the offset of a ray from the centre, the ray's path inside is 2 c sqrt(1 - d' M d).

    Returns
    -------
    tuple of (m_xx, m_xy, m_yy)
        The entries of M.
    """
    cos, sin = math.cos(solid.turn), math.sin(solid.turn)
    along, across = 1 / solid.a**2, 1 / solid.b**2
    return cos * cos * along + sin * sin * across, cos * sin * (along - across), sin * sin * along + cos * cos * across


def add_shadow(canvas: Field, solid: Ellipsoid, *, union: bool, wall: float | None = None) -> None:
    """Add the path lengths through one ellipsoid to a square canvas (h, h), in place.

    Parameters
    ----------
    canvas : ndarray of float32 (h, h)
        Path lengths so far.
    union : bool
        Keep the larger path instead of the sum: for bodies that lie about the same plane of depth, whose union's path
        is the longer of the two.
    wall : float, optional
        The solid is a shell: a core scaled by this factor counts only half, as marrow does in a bone.
    """
    side = canvas.shape[0]
    m_xx, m_xy, m_yy = shadow(solid)
    determinant = m_xx * m_yy - m_xy * m_xy
    rows = _span(solid.y, math.sqrt(m_xx / determinant), side)
    columns = _span(solid.x, math.sqrt(m_yy / determinant), side)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    t = axis(side)
    dy = (t[rows] - np.float32(solid.y))[:, None]
    dx = t[columns] - np.float32(solid.x)
    # 1 - d' M d, by completing the square in x: two operations on the full window instead of six.
    skew = dx + np.float32(m_xy / m_xx) * dy
    skew *= skew
    skew *= np.float32(-m_xx)
    skew += np.float32(1) - np.float32(determinant / m_xx) * dy * dy
    if wall is None:
        path = np.sqrt(np.maximum(skew, np.float32(0), out=skew), out=skew)
        path *= np.float32(2 * solid.c)
    else:
        core = np.sqrt(np.maximum(skew - np.float32(1 - wall * wall), np.float32(0)))
        path = np.sqrt(np.maximum(skew, np.float32(0), out=skew), out=skew)
        path *= np.float32(2 * solid.c)
        path -= np.float32(solid.c) * core
    part = canvas[rows, columns]
    if union:
        np.maximum(part, path, out=part)
    else:
        part += path


def project(solids: Sequence[Ellipsoid], side: int, *, union: bool, wall: float | None = None) -> Field:
    """Return the path lengths (side, side) through several ellipsoids.

    Small ones, such as the pieces of a rib, are computed many at a time: for windows of a few hundred pixels the calls
    cost more than the arithmetic.
    """
    canvas = np.zeros((side, side), dtype=np.float32)
    small = sorted((s for s in solids if max(s.a, s.b) < _SMALL), key=lambda s: max(s.a, s.b))
    for solid in solids:
        if max(solid.a, solid.b) >= _SMALL:
            add_shadow(canvas, solid, union=union, wall=wall)
    for start in range(0, len(small), _AT_ONCE):
        _add_small(canvas, small[start : start + _AT_ONCE], union=union, wall=wall)
    return canvas


def _add_small(canvas: Field, solids: Sequence[Ellipsoid], *, union: bool, wall: float | None) -> None:
    """Add several ellipsoids of similar size, each in a window that holds the largest."""
    side = canvas.shape[0]
    size = math.ceil(max(max(s.a, s.b) for s in solids) * side) + 2
    # Place of each window's first pixel; windows that miss the canvas are left out.
    places = [tuple(math.floor((u + 1) * side / 2 - size / 2) for u in (s.y, s.x)) for s in solids]
    seen = [i for i, place in enumerate(places) if all(-size < p < side for p in place)]
    if not seen:
        return
    corners = np.array([places[i] for i in seen])
    shape = np.array([(*shadow(solids[i]), solids[i].c, solids[i].y, solids[i].x) for i in seen], dtype=np.float32)
    m_xx, m_xy, m_yy, c, y, x = (column[:, None, None] for column in shape.T)
    centres = (corners[:, :, None] + np.arange(size) + 0.5) * (2 / side) - 1
    dy = centres[:, 0, :, None].astype(np.float32) - y
    dx = centres[:, 1, None, :].astype(np.float32) - x
    determinant = m_xx * m_yy - m_xy * m_xy
    skew = dx + (m_xy / m_xx) * dy
    skew *= skew
    skew *= -m_xx
    skew += np.float32(1) - (determinant / m_xx) * dy * dy
    path = 2 * c * np.sqrt(np.maximum(skew, 0))
    if wall is not None:
        path -= c * np.sqrt(np.maximum(skew - np.float32(1 - wall * wall), 0))
    for (top, left), piece in zip(corners.tolist(), path, strict=True):
        rows, columns = slice(max(top, 0), min(top + size, side)), slice(max(left, 0), min(left + size, side))
        part = canvas[rows, columns]
        inside = piece[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        if union:
            np.maximum(part, inside, out=part)
        else:
            part += inside


@lru_cache(maxsize=8)
def axis(side: int) -> Field:
    """Return the coordinates of pixel centres, from -1 to 1 (read-only)."""
    t = ((np.arange(side, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / side)) - np.float32(1)
    t.setflags(write=False)
    return t


def _span(centre: float, reach: float, side: int) -> slice:
    half = side / 2
    return slice(max(0, math.floor((centre - reach + 1) * half)), min(side, math.ceil((centre + reach + 1) * half) + 1))
