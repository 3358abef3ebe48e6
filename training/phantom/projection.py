"""Path lengths of parallel X-rays through 3-D ellipsoids, in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ellipsoid:
    """A solid ellipsoid, turned in the image plane and tilted towards the beam."""

    x: float
    """Centre, to the right."""
    y: float
    """Centre, down."""
    a: float
    """Semi-axis along its own x."""
    b: float
    """Semi-axis along its own y."""
    c: float
    """Semi-axis along its own z, the beam if it is not tilted."""
    turn: float = 0.0
    """Rotation about the beam, in radians, clockwise on the image."""
    tilt: float = 0.0
    """Rotation of its own x-axis out of the image plane, in radians."""


def shadow(solid: Ellipsoid) -> tuple[float, float, float, float]:
    """Reduce an ellipsoid to its shadow.

    With A the ellipsoid's matrix and d the offset of a ray from the centre, the ray's path inside is
    2 h sqrt(1 - d' M d), where h = 1 / sqrt(A_zz) and M = A_xy - A_xz A_xz' / A_zz.

    Returns
    -------
    tuple of (m_xx, m_xy, m_yy, h)
        The entries of M, and the half path through the centre.
    """
    cos_t, sin_t, cos_p, sin_p = math.cos(solid.tilt), math.sin(solid.tilt), math.cos(solid.turn), math.sin(solid.turn)
    # Columns are the ellipsoid's own axes in the image's coordinates.
    axes = np.array(
        [[cos_p * cos_t, -sin_p, -cos_p * sin_t], [sin_p * cos_t, cos_p, -sin_p * sin_t], [sin_t, 0.0, cos_t]]
    )
    matrix = axes @ np.diag([1 / solid.a**2, 1 / solid.b**2, 1 / solid.c**2]) @ axes.T
    reduced = matrix[:2, :2] - np.outer(matrix[:2, 2], matrix[:2, 2]) / matrix[2, 2]
    return float(reduced[0, 0]), float(reduced[0, 1]), float(reduced[1, 1]), 1.0 / math.sqrt(float(matrix[2, 2]))


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
    m_xx, m_xy, m_yy, half = shadow(solid)
    determinant = m_xx * m_yy - m_xy * m_xy
    reach_x, reach_y = math.sqrt(m_yy / determinant), math.sqrt(m_xx / determinant)
    rows = _span(solid.y - reach_y, solid.y + reach_y, side)
    columns = _span(solid.x - reach_x, solid.x + reach_x, side)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    dy = (axis(side)[rows] - np.float32(solid.y))[:, None]
    dx = (axis(side)[columns] - np.float32(solid.x))[None, :]
    inside = np.float32(1) - (np.float32(m_xx) * dx + np.float32(2 * m_xy) * dy) * dx - np.float32(m_yy) * dy * dy
    path = np.float32(2 * half) * np.sqrt(np.maximum(inside, np.float32(0)))
    if wall is not None:
        core = np.maximum(inside - np.float32(1 - wall * wall), np.float32(0))
        path -= np.float32(half) * np.sqrt(core)
    part = canvas[rows, columns]
    if union:
        np.maximum(part, path, out=part)
    else:
        part += path


def project(solids: Sequence[Ellipsoid], side: int, *, union: bool, wall: float | None = None) -> Field:
    """Return the path lengths (side, side) through several ellipsoids."""
    canvas = np.zeros((side, side), dtype=np.float32)
    for solid in solids:
        add_shadow(canvas, solid, union=union, wall=wall)
    return canvas


def axis(side: int) -> Field:
    """Return the coordinates of pixel centres, from -1 to 1."""
    return ((np.arange(side, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / side)) - np.float32(1)


def _span(low: float, high: float, side: int) -> slice:
    first = max(0, math.floor((low + 1) * side / 2))
    last = min(side, math.ceil((high + 1) * side / 2) + 1)
    return slice(first, last)
