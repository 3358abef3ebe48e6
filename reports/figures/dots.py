"""Dots with intervals over one axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from audit.reports.figures.axis import shortened, text_px, tick_digits, tick_values
from audit.reports.findings.effect_words import estimate
from audit.statistics.catalogue import MEASURES
from audit.store.numbers import number
from audit.store.results import Effect

WIDTH_PX = 760
_TOP_PX = 26
_BOTTOM_PX = 44
_GAP_PX = 10
_LINE_PX = 16


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """How a figure of dots is laid out, in pixels."""

    width: float
    """Of the drawing."""
    row: float
    """Height of a row."""
    beside: float
    """Width right of the plot for the numbers; 0 if names and numbers are above each line."""
    names: tuple[float, float]
    """Least and most room for names."""
    most_ticks: int
    """That the axis has room for."""


_WIDE = _Shape(width=WIDTH_PX, row=30, beside=190, names=(190, 300), most_ticks=7)
# For telephones, where the wide drawing would be shrunk until nobody can read it.
_NARROW = _Shape(width=350, row=46, beside=0, names=(0, 350), most_ticks=4)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One row of a dot-and-interval figure, in pixels of the drawing."""

    y: float
    """Of the line."""
    text_y: float
    """Of its name and numbers."""
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
    """Ends of the thin line: the simultaneous interval."""


@dataclass(frozen=True, kw_only=True)
class Dots:
    """A figure of dots with intervals over one axis."""

    title: str
    """What it shows, for readers who cannot see it."""
    axis: tuple[str, ...]
    """What the axis measures, line by line."""
    width: float
    """Of the drawing, in pixels."""
    height: float
    """The same."""
    bottom: float
    """Lower end of the plot."""
    middle: float
    """Of the plot, from the left."""
    label: tuple[float, str]
    """Position of the rows' names, and their alignment."""
    numbers: tuple[float, str]
    """The same for their numbers."""
    marks: tuple[Mark, ...]
    """Rows from the top."""
    ticks: tuple[tuple[float, str], ...]
    """Position and text."""
    lines: tuple[tuple[float, str, str], ...]
    """Reference lines: position, class, text."""
    band: tuple[float, float] | None
    """The tolerance, from left to right."""
    narrow: Dots | None = None
    """The same for a narrow screen."""


def effect_forest(
    effects: Sequence[Effect], where: str = "each condition", labels: Sequence[str] | None = None
) -> Dots | None:
    """Draw headline effects of one measure with zero and the tolerance; None where there is none.

    Parameters
    ----------
    effects : sequence of Effect
        Of one measure.
    where : str
        What they refer to, for the title.
    labels : sequence of str, optional
        Names of the rows; the conditions' if left out.
    """
    if not effects:
        return None
    measure = MEASURES[effects[0].measure]
    named = zip(labels or [e.condition for e in effects], effects, strict=True)
    rows = [(name, estimate(e), e.estimate, e.low, e.high, e.verdict) for name, e in named]
    tolerance = next((e.tolerance for e in effects if e.tolerance is not None), None)
    one_sided = measure.one_sided
    limits = [] if tolerance is None else [tolerance] if one_sided else [-tolerance, tolerance]
    outer = [
        (e.simultaneous_low, e.simultaneous_high)
        if e.simultaneous_low is not None and e.simultaneous_high is not None
        else None
        for e in effects
    ]
    return dots(
        f"{measure.title.capitalize()} of {where}, with its interval",
        measure.axis or measure.title,
        rows,
        [0.0, *limits],
        [(0.0, "zero", ""), *((limit, "limit", "limit" if limit > 0 else "") for limit in limits)],
        # What is shaded is what is tested: between both limits, or everything below the one of a one-sided measure.
        None if tolerance is None else (-math.inf if one_sided else -tolerance, tolerance),
        outer,
    )


def accuracy_dots(effects: Sequence[Effect], min_patients: int) -> Dots:
    """Draw the clean accuracy of every group; those of fewer patients than `min_patients` grey."""
    rows = [
        (
            e.group.label, estimate(e), e.estimate, e.low, e.high,
            "few" if e.n_patients < min_patients else "plain",
        )
        for e in effects
    ]  # fmt: skip
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
    """Place rows of (label, numbers, value, low, high, kind) on one axis that also includes the values `extra`."""
    outer = outer or [None] * len(rows)
    values = [v for row in rows for v in row[2:5] if v is not None] + list(extra)
    values += [v for ends in outer if ends is not None for v in ends]
    room = 0.04 * (max(values) - min(values)) or 0.5
    span = (min(values) - room, max(values) + room)

    def drawn(shape: _Shape, narrow: Dots | None) -> Dots:
        above = not shape.beside
        least, most = shape.names
        if above:
            most = shape.width - 3 * _GAP_PX - max((text_px(row[1]) for row in rows), default=0)
        names = [shortened(row[0], most) for row in rows]
        left = _GAP_PX + (0 if above else max([least, *map(text_px, names)]))
        right = shape.width - (_GAP_PX if above else shape.beside)

        def place(value: float) -> float:
            return round(left + (value - span[0]) / (span[1] - span[0]) * (right - left), 1)

        def placed(value: float | None) -> float | None:
            return None if value is None else place(value)

        def y(i: int, share: float) -> float:
            return round(_TOP_PX + shape.row * (i + share), 1)

        axis_lines = [""]
        for word in axis.split():
            longer = f"{axis_lines[-1]} {word}".strip()
            axis_lines[-1:] = [longer] if text_px(longer) <= shape.width else [axis_lines[-1], word]
        bottom = _TOP_PX + shape.row * len(rows)
        ticks = tick_values(*span, shape.most_ticks)
        return Dots(
            title=title,
            axis=tuple(axis_lines),
            width=shape.width,
            height=bottom + _BOTTOM_PX + _LINE_PX * (len(axis_lines) - 1),
            bottom=bottom,
            middle=round((left + right) / 2, 1),
            label=(_GAP_PX, "start") if above else (left - _GAP_PX, "end"),
            numbers=(shape.width - _GAP_PX, "end") if above else (right + _GAP_PX, "start"),
            marks=tuple(
                Mark(
                    y=y(i, 0.72 if above else 0.5),
                    text_y=y(i, 0.38 if above else 0.5) + (0 if above else 4),
                    label=name,
                    numbers=numbers,
                    x=placed(value),
                    low=placed(low),
                    high=placed(high),
                    kind=kind,
                    outer=None if ends is None else (place(ends[0]), place(ends[1])),
                )
                for i, (name, (_, numbers, value, low, high, kind), ends) in enumerate(
                    zip(names, rows, outer, strict=True)
                )
            ),
            ticks=tuple((place(v), number(v, tick_digits(ticks))) for v in ticks),
            lines=tuple((place(value), kind, text) for value, kind, text in lines),
            band=None if band is None else (place(max(band[0], span[0])), place(band[1])),
            narrow=narrow,
        )

    return drawn(_WIDE, drawn(_NARROW, None))
