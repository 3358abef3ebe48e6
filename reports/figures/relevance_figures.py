"""Relevance inside text by class, and each image's relevance against what its text does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from audit.reports.figures.axis import tick_values
from audit.reports.figures.dots import Dots, dots
from audit.reports.findings.relevance_by_group import interval
from audit.reports.reading.view import RunView
from audit.store.numbers import number

WIDTH_PX, HEIGHT_PX = 460, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 12, 10, 46
MOST_POINTS = 1500
"""Largest number of points in a scatter plot."""


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """A point an image, in pixels of the drawing."""

    points: tuple[tuple[float, float], ...]
    """(x, y)"""
    x_ticks: tuple[tuple[float, str], ...]
    """Position and text."""
    y_ticks: tuple[tuple[float, str], ...]
    """Position and text."""
    zero: tuple[float, float]
    """Where both are zero."""
    numbers: tuple[tuple[float, float], ...]
    """The same points in their units, for a table."""
    drawn_of: tuple[int, int] | None
    """Images drawn and images in all, where not all are drawn."""


def group_dots(run: RunView) -> Dots | None:
    """Draw the share of relevance inside text for each class, with that of its two controls."""
    if run.relevance_summary is None:
        return None
    rows = []
    for group in run.relevance_summary.groups:
        if group.group.kind != "class":
            continue
        name, mass = group.group.value or "", group.mass
        rows.append((f"{name} (n = {group.n_images})", interval(mass), mass.value, mass.low, mass.high, "plain"))
        if group.mass_gone is not None:
            gone = group.mass_gone
            rows.append(("text inpainted", interval(gone), gone.value, gone.low, gone.high, "placebo"))
        if group.beyond_placebo is not None:
            moved = mass.value - group.beyond_placebo.value
            rows.append(("moved along the border", number(moved), moved, None, None, "placebo"))
    if not rows:
        return None
    title = "Share of positive relevance inside text by class, compared with the same place without text and with moved boxes"
    return dots(title, "share of positive relevance", rows, [0.0], [(0.0, "zero", "")], None)


def validity_scatter(run: RunView) -> Scatter | None:
    """Place every image by the logit that its map credits to text, and the logit that it lost without the text."""
    seen = [
        (r["signed_share"] * r["start"], r["fall_when_gone"])
        for r in run.relevance
        if r["signed_share"] is not None and r["fall_when_gone"] is not None
    ]
    if len(seen) < 2:
        return None
    n_all = len(seen)
    if n_all > MOST_POINTS:
        seen = [seen[round(i * (n_all - 1) / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]
    x_ticks, x_place = _axis([x for x, _ in seen], _LEFT, WIDTH_PX - _RIGHT)
    y_ticks, y_place = _axis([y for _, y in seen], HEIGHT_PX - _BOTTOM, _TOP)
    return Scatter(
        points=tuple((x_place(x), y_place(y)) for x, y in seen),
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        zero=(x_place(0.0), y_place(0.0)),
        numbers=tuple(seen),
        drawn_of=(len(seen), n_all) if len(seen) < n_all else None,
    )


def _axis(values: Sequence[float], start: float, stop: float) -> tuple[tuple[tuple[float, str], ...], Any]:
    low, high = min([*values, 0.0]), max([*values, 0.0])
    room = 0.05 * (high - low) or 0.5
    low, high = low - room, high + room

    def place(value: float) -> float:
        return round(start + (value - low) / (high - low) * (stop - start), 1)

    return tuple((place(v), number(v, 2)) for v in tick_values(low, high)), place
