"""Losses and scores over the epochs of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.reports.figures.axis import nice_step, tick_text, tick_values
from audit.reports.findings.training_phases import PhaseEnd, is_number
from audit.store.numbers import number

WIDTH_PX, HEIGHT_PX = 480, 250
_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 48, 14, 26, 40
_MOST_X_TICKS = 8
# A loss that jumps in one epoch would press all others into a line at the bottom.
_CUT_QUANTILE, _CUT_FACTOR = 0.9, 1.6


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One figure by epoch, in pixels of the drawing."""

    name: str
    """What it is, in words."""
    look: str
    """Class of its line: distinguished by dashes, not by colour alone."""
    points: tuple[tuple[float, float], ...]
    """(x, y) of every epoch."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Figures over epochs, with the phases."""

    title: str
    """What it shows, for readers who cannot see it."""
    axis: str
    """What is drawn upwards."""
    traces: tuple[Trace, ...]
    """From the first drawn to the last."""
    marks: tuple[tuple[float, float, str], ...]
    """(x, y, text) of what was measured at the best network of every phase."""
    phases: tuple[tuple[float, str], ...]
    """Where each phase begins, and its name; without a name where there is no room for one."""
    x_ticks: tuple[tuple[float, str], ...]
    """Position and text."""
    y_ticks: tuple[tuple[float, str], ...]
    """Position and text."""
    cut: bool
    """Does a value lie above the figure's upper end?"""


def training_charts(epochs: Sequence[Mapping[str, Any]], phases: Sequence[PhaseEnd]) -> tuple[Chart, ...]:
    """Draw losses and scores; nothing if fewer than two epochs are recorded."""
    if len(epochs) < 2:
        return ()
    losses = _chart(
        "Loss by epoch",
        "loss",
        [("training", "train", "train_loss"), ("validation", "validation", "validation_loss")],
        epochs,
        phases,
        [(end.best_epoch, end.validation_loss, "best") for end in phases],
        top=None,
    )
    scores = _chart(
        "Score by epoch",
        "score",
        [("validation score", "validation", "validation_score")],
        epochs,
        phases,
        [(end.best_epoch, end.accuracy, "test") for end in phases],
        top=1.0,
    )
    return tuple(chart for chart in (losses, scores) if chart is not None)


def sensitivity_charts(
    effects: Mapping[str, Sequence[tuple[int, float]]], phases: Sequence[PhaseEnd]
) -> tuple[Chart, ...]:
    """Draw effects by epoch, a chart for each edit, all on one scale.

    Parameters
    ----------
    effects : mapping
        Title of the edit -> (epoch, estimate), earliest first.
    phases : sequence of PhaseEnd
        Of the training.
    """
    top = max((value for points in effects.values() for _, value in points), default=0.0)
    low = min((value for points in effects.values() for _, value in points), default=0.0)
    last = max((epoch for points in effects.values() for epoch, _ in points), default=0)
    charts = [
        _chart(
            title,
            "effect",
            [(title, "validation", "effect")],
            [{"epoch": epoch, "effect": value} for epoch, value in points],
            phases,
            [(epoch, value, number(value)) for epoch, value in points],
            top=max(top, 0.0),
            floor=low,
            last=max([last, *(end.last_epoch for end in phases)]),
        )
        for title, points in effects.items()
    ]
    return tuple(chart for chart in charts if chart is not None)


def _chart(
    title: str,
    axis: str,
    wanted: Sequence[tuple[str, str, str]],
    epochs: Sequence[Mapping[str, Any]],
    phases: Sequence[PhaseEnd],
    marks: Sequence[tuple[float | None, float | None, str]],
    *,
    top: float | None,
    floor: float | None = None,
    last: float | None = None,
) -> Chart | None:
    """Draw columns of the epochs; None if none of them contains numbers."""
    series = [
        (name, look, [(float(r["epoch"]), float(r[key])) for r in epochs if is_number(r.get(key))])
        for name, look, key in wanted
    ]
    series = [s for s in series if s[2]]
    if not series:
        return None
    values = sorted(v for _, _, points in series for _, v in points)
    high = values[-1] if top is None else top
    if top is None:
        high = min(high, _CUT_FACTOR * values[int(_CUT_QUANTILE * (len(values) - 1))])
    low = min(0.0, values[0] if floor is None else floor)
    high = high if high > low else low + 1.0
    last = max(float(r["epoch"]) for r in epochs) if last is None else last
    last = last or 1.0

    def x(epoch: float) -> float:
        return round(_LEFT_PX + epoch / last * (WIDTH_PX - _LEFT_PX - _RIGHT_PX), 1)

    def y(value: float) -> float:
        share = (min(value, high) - low) / (high - low)
        return round(HEIGHT_PX - _BOTTOM_PX - share * (HEIGHT_PX - _TOP_PX - _BOTTOM_PX), 1)

    drawn = [(float(e), float(v), text) for e, v, text in marks if e is not None and v is not None]
    ends = [0.0, *(float(p.last_epoch) for p in phases)]
    x_step = max(1, round(nice_step(last * 7 / _MOST_X_TICKS)))
    return Chart(
        title=f"{title}: " + ", ".join(f"{name} ends at {number(points[-1][1])}" for name, _, points in series),
        axis=axis,
        traces=tuple(
            Trace(name=name, look=look, points=tuple((x(e), y(v)) for e, v in points)) for name, look, points in series
        ),
        marks=tuple((x(e), y(v), text) for e, v, text in drawn),
        phases=tuple(
            # A phase's name needs about seven pixels a letter.
            (x(start), p.name if x(end) - x(start) > 7 * len(p.name) + 8 else "")
            for start, end, p in zip(ends, ends[1:], phases, strict=False)
        ),
        x_ticks=tuple((x(e), str(e)) for e in range(0, int(last) + 1, x_step)),
        y_ticks=tuple((y(v), tick_text(v)) for v in tick_values(low, high)),
        cut=values[-1] > high,
    )
