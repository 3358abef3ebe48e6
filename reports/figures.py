"""Geometry of the report's figures; the templates turn it into SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from audit.results import Effect
from reports.words import estimate, number

WIDTH_PX = 760
_LEFT_PX = 200
_RIGHT_PX = 190
_ROW_PX = 30
_TOP_PX = 26
_BOTTOM_PX = 44


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One row of a dot-and-interval figure, in pixels of the drawing."""

    y: float
    """Middle of the row."""
    label: str
    """Left of the plot."""
    numbers: str
    """Right of the plot."""
    x: float | None
    """The dot; None where nothing was measured."""
    low: float | None
    """Left end of the line."""
    high: float | None
    """Right end of the line."""
    kind: str
    """Class of the mark, for its look."""
    outer: tuple[float, float] | None = None
    """Ends of the thin line: the interval that holds together with all other judged effects."""


@dataclass(frozen=True, kw_only=True)
class Dots:
    """A figure of dots with intervals over one axis."""

    title: str
    """What it shows, for readers who cannot see it."""
    axis: str
    """What the axis measures."""
    height: float
    """Of the drawing, in pixels."""
    marks: tuple[Mark, ...]
    """Rows from the top."""
    ticks: tuple[tuple[float, str], ...]
    """Position and text."""
    lines: tuple[tuple[float, str, str], ...]
    """Reference lines: position, class, text."""
    band: tuple[float, float] | None
    """The tolerance, from left to right."""


def effect_forest(effects: Sequence[Effect]) -> Dots | None:
    """Draw headline effects of one measure with zero and the tolerance; None where there is none."""
    if not effects:
        return None
    measure = effects[0].measure
    rows = [(e.condition, estimate(e), e.estimate, e.low, e.high, e.verdict) for e in effects]
    tolerance = next((e.tolerance for e in effects if e.tolerance is not None), None)
    extra = [0.0] if tolerance is None else [0.0, tolerance, -tolerance]
    outer = [
        (e.simultaneous_low, e.simultaneous_high)
        if e.simultaneous_low is not None and e.simultaneous_high is not None
        else None
        for e in effects
    ]
    return dots(
        f"{measure.replace('_', ' ').capitalize()} of each condition, with its interval",
        "sufficiency: probability of the true class beyond the placebo's"
        if measure == "sufficiency"
        else "shortcut sensitivity: total variation beyond the placebo's",
        rows,
        extra,
        [(0.0, "zero", "")] if tolerance is None else [(0.0, "zero", ""), (tolerance, "limit", "limit")],
        None if tolerance is None else (-tolerance, tolerance),
        outer,
    )


def accuracy_dots(effects: Sequence[Effect]) -> Dots:
    """Draw the clean accuracy of every group."""
    rows = [(e.group.replace("=", ": "), estimate(e), e.estimate, e.low, e.high, "plain") for e in effects]
    return dots("Accuracy by group, with its interval", "accuracy or recall", rows, [0.0, 1.0], [], None)


def dots(
    title: str,
    axis: str,
    rows: Sequence[tuple[str, str, float | None, float | None, float | None, str]],
    extra: Sequence[float],
    lines: Sequence[tuple[float, str, str]],
    band: tuple[float, float] | None,
    outer: Sequence[tuple[float, float] | None] = (),
) -> Dots:
    """Place rows of (label, numbers, value, low, high, kind) on one axis that also holds the values `extra`."""
    outer = outer or [None] * len(rows)
    values = [v for row in rows for v in row[2:5] if v is not None] + list(extra)
    values += [v for ends in outer if ends is not None for v in ends]
    low, high = min(values), max(values)
    room = 0.04 * (high - low) or 0.5
    low, high = low - room, high + room

    def place(value: float) -> float:
        return round(_LEFT_PX + (value - low) / (high - low) * (WIDTH_PX - _LEFT_PX - _RIGHT_PX), 1)

    def placed(value: float | None) -> float | None:
        return None if value is None else place(value)

    marks = tuple(
        Mark(
            y=_TOP_PX + _ROW_PX * (i + 0.5),
            label=label,
            numbers=numbers,
            x=placed(value),
            low=placed(start),
            high=placed(end),
            kind=kind,
            outer=None if ends is None else (place(ends[0]), place(ends[1])),
        )
        for i, ((label, numbers, value, start, end, kind), ends) in enumerate(zip(rows, outer, strict=True))
    )
    step = nice_step(high - low)
    first, last = int(low / step) - 1, int(high / step) + 1
    ticks = tuple((place(k * step), number(k * step, 2)) for k in range(first, last + 1) if low <= k * step <= high)
    return Dots(
        title=title,
        axis=axis,
        height=_TOP_PX + _ROW_PX * len(rows) + _BOTTOM_PX,
        marks=marks,
        ticks=ticks,
        lines=tuple((place(value), kind, text) for value, kind, text in lines),
        band=None if band is None else (place(band[0]), place(band[1])),
    )


def nice_step(span: float) -> float:
    """Return a step of 1, 2 or 5 times a power of ten that cuts a span into at most seven."""
    least = math.floor(math.log10(span / 7))
    return next(m * 10.0**e for e in (least, least + 1) for m in (1, 2, 5) if span / (m * 10.0**e) <= 7)
