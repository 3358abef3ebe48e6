"""Strip charts over runs: one small figure a line, a mark and an interval a run, one axis for all lines of a measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from audit.reports.figures.axis import tick_text, tick_values
from audit.reports.findings.history import Line, Measured, Point

WIDTH_PX, HEIGHT_PX = 330, 170
MOST_DRAWN = 24
"""Runs that a figure draws, the last ones; tables hold all."""
_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 48, 14, 12, 34
_MOST_TICKS = 5
_MOST_NUMBERS = 12


@dataclass(frozen=True, kw_only=True)
class Spot:
    """One run, in pixels of the drawing."""

    x: float
    """Of the run."""
    y: float
    """The estimate."""
    interval: tuple[float, float] | None
    """Lower and upper end of the thick line."""
    outer: tuple[float, float] | None
    """Ends of the thin line."""
    kind: str
    """Look of the mark."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """One line over the runs."""

    title: str
    """What it is of."""
    spoken: str
    """All its values, for readers who cannot see it."""
    spots: tuple[Spot, ...]
    """Runs that have the figure."""
    joins: tuple[tuple[float, float, float, float], ...]
    """Lines from one run to the next, where both have it."""
    limits: tuple[float, ...]
    """Where limits stand."""


@dataclass(frozen=True, kw_only=True)
class Timelines:
    """All lines of one measure, and the axis that they share."""

    lines: tuple[Timeline, ...]
    """A figure each."""
    ticks: tuple[tuple[float, str], ...]
    """Position and text of the vertical axis."""
    numbers: tuple[tuple[float, int], ...]
    """Position and number of the runs."""
    zero: float | None
    """Position of no effect; None where the axis does not include it."""
    left: float
    """Left end of the plot."""
    right: float
    """Right end."""
    bottom: float
    """Lower end."""
    n_before: int
    """Earlier runs that are not drawn."""


def timelines(measured: Measured, *, most: int = MOST_DRAWN) -> Timelines:
    """Lay out one measure."""
    n_all = len(measured.lines[0].points)
    first = max(0, n_all - most)
    drawn = [line.points[first:] for line in measured.lines]
    values = [*measured.holds, *(v for line in measured.lines for v in _limits(line, measured))]
    values += [
        v for points in drawn for p in points for v in (p.value, p.low, p.high, *(p.outer or ())) if v is not None
    ]
    values = values or [0.0, 1.0]
    room = 0.06 * (max(values) - min(values)) or 0.05
    low, high = min(values) - room, max(values) + room
    n, right, bottom = n_all - first, WIDTH_PX - _RIGHT_PX, HEIGHT_PX - _BOTTOM_PX

    def x(i: int) -> float:
        return round(_LEFT_PX + (i + 0.5) / n * (right - _LEFT_PX), 1)

    def y(value: float) -> float:
        return round(bottom - (value - low) / (high - low) * (bottom - _TOP_PX), 1)

    def spot(i: int, p: Point) -> Spot | None:
        if p.value is None:
            return None
        return Spot(
            x=x(i),
            y=y(p.value),
            interval=None if p.low is None or p.high is None else (y(p.low), y(p.high)),
            outer=None if p.outer is None else (y(p.outer[0]), y(p.outer[1])),
            kind=p.kind,
        )

    def line(told: Line, points: Sequence[Point]) -> Timeline:
        spots = [spot(i, p) for i, p in enumerate(points)]
        pairs = pairwise(spots)
        return Timeline(
            title=told.title,
            spoken=f"{told.title}: " + "; ".join(f"run {first + i + 1} {p.text}" for i, p in enumerate(points)),
            spots=tuple(s for s in spots if s is not None),
            joins=tuple((a.x, a.y, b.x, b.y) for a, b in pairs if a is not None and b is not None),
            limits=tuple(map(y, _limits(told, measured))),
        )

    every = -(-n // _MOST_NUMBERS)
    return Timelines(
        lines=tuple(line(told, points) for told, points in zip(measured.lines, drawn, strict=True)),
        ticks=tuple((y(v), tick_text(v)) for v in tick_values(low, high, _MOST_TICKS)),
        # The last run always has its number.
        numbers=tuple((x(i), first + i + 1) for i in range(n) if (n - 1 - i) % every == 0),
        zero=y(0.0) if low <= 0 <= high else None,
        left=_LEFT_PX,
        right=right,
        bottom=bottom,
        n_before=first,
    )


def _limits(line: Line, measured: Measured) -> tuple[float, ...]:
    if line.limit is None:
        return ()
    return (-line.limit, line.limit) if measured.two_sided else (line.limit,)
