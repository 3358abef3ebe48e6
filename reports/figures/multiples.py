"""Small multiples: one small panel a condition or class, one row a model, one axis for all panels of a measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.reports.figures.axis import shortened, text_px, tick_text, tick_values
from audit.store.numbers import number

WIDTH_PX = 330
_RIGHT_PX, _TOP_PX, _ROW_PX, _BOTTOM_PX = 58, 8, 22, 24
_MOST_LABEL_PX, _GAP_PX = 105, 16
_MOST_TICKS = 5


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one model shows in one panel."""

    run: str
    """Name of the run."""
    value: float | None
    """The estimate; None where nothing was measured."""
    low: float | None
    """Lower end of its interval."""
    high: float | None
    """Upper end."""
    kind: str
    """`sensitive`, `robust`, `inconclusive`, or `plain` where nothing is judged."""
    text: str
    """Estimate and interval in words."""
    n_images: int | None
    """Images that it rests on."""
    outer: tuple[float, float] | None = None
    """The simultaneous interval; None where nothing is judged."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model, in pixels of the drawing."""

    label: str
    """Its name, cut where it is long."""
    y: float
    """Middle of the row."""
    x: float | None
    """The mark; None where nothing was measured."""
    interval: tuple[float, float] | None
    """Ends of the thick line."""
    outer: tuple[float, float] | None
    """Ends of the thin line."""
    kind: str
    """Look of the mark."""
    text: str
    """Right of the plot."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One of a measure's small figures."""

    title: str
    """The condition or class."""
    spoken: str
    """All its values, for readers who cannot see it."""
    rows: tuple[Row, ...]
    """A row a model, from the top."""
    cells: tuple[Cell, ...]
    """The same as numbers."""


@dataclass(frozen=True, kw_only=True)
class Multiples:
    """One measure of several models: panels, and what all of them share."""

    title: str
    """The measure."""
    unit: str
    """What a panel shows: a condition or a class."""
    note: str
    """How to read it, in a sentence."""
    axis: str
    """What the axis measures."""
    panels: tuple[Panel, ...]
    """In the order of the conditions."""
    left: float
    """Left end of the plots; the names are left of it."""
    right: float
    """Right end of the plots."""
    height: float
    """Of each panel."""
    bottom: float
    """Lower end of the plots."""
    ticks: tuple[tuple[float, str], ...]
    """Position and text."""
    reference: float | None
    """Position of the line of no effect, or of chance."""
    limit: float | None
    """Where the tolerance ends; None where models were held against different ones, or none."""
    limit_text: str
    """The tolerance as text."""
    band: tuple[float, float] | None
    """From the tolerance's lower end to its upper one."""


def multiples(
    title: str,
    unit: str,
    note: str,
    axis: str,
    panels: Sequence[tuple[str, Sequence[Cell]]],
    *,
    holds: Sequence[float],
    reference: float | None,
    tolerance: float | None = None,
) -> Multiples:
    """Lay out panels on one axis.

    Parameters
    ----------
    holds : sequence of float
        Values that the axis must include in addition to those of the cells.
    reference : float or None
        Position of a solid line.
    tolerance : float or None
        Where the dashed line stands; the band reaches as far below zero as above.
    """
    cells = [cell for _, row in panels for cell in row]
    values = [
        *holds,
        *([] if reference is None else [reference]),
        *([] if tolerance is None else [tolerance, -tolerance]),
    ]
    values += [v for c in cells for v in (c.value, c.low, c.high, *(c.outer or ())) if v is not None]
    room = 0.04 * (max(values) - min(values)) or 0.5
    low, high = min(values) - room, max(values) + room
    names = labels([cell.run for cell in panels[0][1]])
    left = round(_GAP_PX + max(map(text_px, names)), 1)
    right = WIDTH_PX - _RIGHT_PX

    def place(value: float) -> float:
        return round(left + (value - low) / (high - low) * (right - left), 1)

    def placed(ends: tuple[float | None, float | None] | None) -> tuple[float, float] | None:
        return None if ends is None or ends[0] is None or ends[1] is None else (place(ends[0]), place(ends[1]))

    def drawn(name: str, row: Sequence[Cell]) -> Panel:
        return Panel(
            title=name,
            spoken=f"{name}: " + "; ".join(f"{c.run} {c.text}" for c in row),
            cells=tuple(row),
            rows=tuple(
                Row(
                    label=label,
                    y=_TOP_PX + _ROW_PX * (i + 0.5),
                    x=None if c.value is None else place(c.value),
                    interval=placed((c.low, c.high)),
                    outer=placed(c.outer),
                    kind=c.kind,
                    text=number(c.value, 2 if abs(c.value or 0.0) < 10 else 1),
                )
                for i, (label, c) in enumerate(zip(names, row, strict=True))
            ),
        )

    bottom = _TOP_PX + _ROW_PX * len(names)
    return Multiples(
        title=title,
        unit=unit,
        note=note,
        axis=axis,
        panels=tuple(drawn(name, row) for name, row in panels),
        left=left,
        right=right,
        height=bottom + _BOTTOM_PX,
        bottom=bottom,
        ticks=tuple((place(v), tick_text(v)) for v in tick_values(low, high, _MOST_TICKS)),
        reference=None if reference is None else place(reference),
        limit=None if tolerance is None else place(tolerance),
        limit_text=number(tolerance, 2),
        band=None if tolerance is None else (place(-tolerance), place(tolerance)),
    )


def labels(names: Sequence[str]) -> list[str]:
    """Shorten names that would leave no room for the plot; the tables show them in full."""
    return [shortened(name, _MOST_LABEL_PX) for name in names]
