"""Relevance inside text by class, image by image, against the distribution that relocated boxes give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from audit.reports.figures.axis import tick_text, tick_values
from audit.reports.reading.view import RunView
from audit.store.numbers import number

WIDTH_PX, HEIGHT_PX = 330, 190
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 40, 8, 8, 26
MOST_IMAGES = 60
"""Largest number of columns in a panel; of more images, those at evenly spaced ranks are drawn."""
_MOST_TICKS = 4
_ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class PlaceboImage:
    """One image, in pixels of the drawing."""

    x: float
    """Its rank."""
    y: float
    """The share of relevance inside its text."""
    low: float | None
    """Lower end of the central 95 % range of relocations; None where the boxes could not be moved."""
    high: float | None
    """Upper end of the same."""
    middle: float | None
    """Their median."""
    beyond: bool
    """Do neither the relocations nor the same place without text explain its share (p at most 0.05)?"""


@dataclass(frozen=True, kw_only=True)
class PlaceboPanel:
    """One class."""

    title: str
    """Its name."""
    note: str
    """How many images lie beyond, in words."""
    spoken: str
    """The same with the medians, for readers who cannot see it."""
    images: tuple[PlaceboImage, ...]
    """From the smallest share to the largest."""
    numbers: tuple[tuple[float, float | None, float | None, float | None], ...]
    """Of each image the share, then the lower end, the median and the upper end after relocation: the figure as a table."""
    width_px: float
    """Of the bar that shows an image's relocations."""


@dataclass(frozen=True, kw_only=True)
class PlaceboFigure:
    """All classes on one axis."""

    panels: tuple[PlaceboPanel, ...]
    """In the model's order of classes."""
    ticks: tuple[tuple[float, str], ...]
    """Height and text."""
    drawn_of: tuple[int, int] | None
    """Images drawn and images in all, where not all are drawn."""


def placebo_figure(run: RunView) -> PlaceboFigure | None:
    """Draw every class that has images with text; None where relevance was not measured."""
    rows = [r for r in run.relevance if r["mass_in_text"] is not None]
    by_class = {
        str(name): sorted((r for r in rows if r["label"] == name), key=lambda r: (r["mass_in_text"], r["record_id"]))
        for name in run.plan.model.classes
    }
    by_class = {name: found for name, found in by_class.items() if found}
    if not by_class:
        return None
    drawn = {name: _spread(found) for name, found in by_class.items()}
    top = max(
        [r["mass_in_text"] for s in drawn.values() for r in s]
        + [r["placebo_high"] or 0.0 for s in drawn.values() for r in s]
    )
    top = top * 1.04 or 1.0
    n_drawn, n_all = sum(map(len, drawn.values())), sum(map(len, by_class.values()))
    return PlaceboFigure(
        panels=tuple(_panel(name, by_class[name], drawn[name], top) for name in by_class),
        ticks=tuple((_y(v, top), tick_text(v)) for v in tick_values(0.0, top, _MOST_TICKS)),
        drawn_of=(n_drawn, n_all) if n_drawn < n_all else None,
    )


def _panel(
    name: str, rows: Sequence[Mapping[str, Any]], drawn: Sequence[Mapping[str, Any]], top: float
) -> PlaceboPanel:
    tested = [r for r in rows if r["placebo_p"] is not None]
    beyond = sum(r["placebo_p"] <= _ALPHA for r in tested)
    note = f"{beyond} of {len(tested)} images exceed both controls" if tested else "boxes could not be moved"
    middles = [r["placebo_median"] for r in rows if r["placebo_median"] is not None]
    spoken = f"{name}: {note}; median share of relevance inside text {number(median(r['mass_in_text'] for r in rows))}"
    if middles:
        spoken += f", in relocated boxes {number(median(middles))}"
    column = (WIDTH_PX - LEFT_PX - RIGHT_PX) / len(drawn)
    return PlaceboPanel(
        title=name,
        note=note,
        spoken=spoken,
        images=tuple(
            PlaceboImage(
                x=round(LEFT_PX + (i + 0.5) * column, 1),
                y=_y(r["mass_in_text"], top),
                low=None if r["placebo_low"] is None else _y(r["placebo_low"], top),
                high=None if r["placebo_high"] is None else _y(r["placebo_high"], top),
                middle=None if r["placebo_median"] is None else _y(r["placebo_median"], top),
                beyond=r["placebo_p"] is not None and r["placebo_p"] <= _ALPHA,
            )
            for i, r in enumerate(drawn)
        ),
        numbers=tuple((r["mass_in_text"], r["placebo_low"], r["placebo_median"], r["placebo_high"]) for r in drawn),
        width_px=round(min(8.0, 0.7 * column), 1),
    )


def _spread(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return images at evenly spaced ranks, the smallest and the largest among them."""
    if len(rows) <= MOST_IMAGES:
        return list(rows)
    return [rows[round(i * (len(rows) - 1) / (MOST_IMAGES - 1))] for i in range(MOST_IMAGES)]


def _y(value: float, top: float) -> float:
    return round(HEIGHT_PX - BOTTOM_PX - value / top * (HEIGHT_PX - TOP_PX - BOTTOM_PX), 1)
