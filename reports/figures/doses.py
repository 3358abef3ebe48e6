"""Small figures of ladders: what grows to the right, what it does upwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.data.conditions import Role
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import ACCURACY, MEASURES, MOVEMENT
from audit.statistics.selections import figure_in_words, headlines
from audit.store.numbers import compact, number
from audit.store.results import Effect

WIDTH_PX, HEIGHT_PX = 240, 170
_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 44, 12, 12, 34


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One dose, in pixels of the drawing."""

    x: float
    """The dose."""
    y: float
    """The estimate."""
    low: float
    """Lower end of the interval (the larger y)."""
    high: float
    """Upper end."""
    text: str
    """The dose in figures."""


@dataclass(frozen=True, kw_only=True)
class DoseCurve:
    """One ladder."""

    title: str
    """Name of the ladder for people."""
    axis: str
    """What grows."""
    measure: str
    """What is drawn upwards, in words."""
    rungs: tuple[Rung, ...]
    """From the smallest dose."""
    ticks: tuple[tuple[float, str], ...]
    """Heights and figures."""
    zero: float
    """Height of no effect."""


def dose_curves(run: RunView) -> list[DoseCurve]:
    """Draw every ladder of a run: edits beyond their placebo, stresses by the accuracy that they cost."""
    ladders: dict[str, list[tuple[float, Effect]]] = {}
    parameters: dict[str, str] = {}
    titles: dict[str, str] = {}
    for condition in run.measured():
        dose = condition.dose
        if dose is None:
            continue
        controlled = condition.placebo is not None
        measure = _measure(condition.role, controlled=controlled)
        effect = run.find(condition.name, measure, controlled=controlled)
        if effect is not None and effect.estimate is not None and effect.low is not None and effect.high is not None:
            ladders.setdefault(dose.ladder, []).append((dose.value, effect))
            parameters[dose.ladder] = dose.parameter
            titles[dose.ladder] = run.title(condition.name).rpartition(", ")[0]
    return [_curve(titles[name], parameters[name], rungs) for name, rungs in ladders.items() if len(rungs) > 1]


def _measure(role: Role, *, controlled: bool) -> str:
    """Return what sums up a rung: of an edit how far it moves the probabilities, of a stress what it costs."""
    summing = headlines()
    if controlled and role in summing:
        return summing[role]
    return MOVEMENT if role in summing else ACCURACY


def _in_words(effect: Effect) -> str:
    """Name what is drawn upwards, and whether it is a difference from the placebo."""
    if effect.measure in headlines().values():
        return f"{MEASURES[effect.measure].title}, compared with the placebo of the same dose"
    what = figure_in_words(effect.measure, effect.condition)
    return f"{what}, compared with the {'placebo of the same dose' if effect.placebo else 'unedited image'}"


def _curve(title: str, parameter: str, rungs: Sequence[tuple[float, Effect]]) -> DoseCurve:
    ends = [v for _, e in rungs for v in (e.low, e.high) if v is not None] + [0.0]
    low, high = min(ends), max(ends)
    room = 0.06 * (high - low) or 0.05
    low, high = low - room, high + room

    def y(value: float | None) -> float:
        share = ((value or 0.0) - low) / (high - low)
        return round(HEIGHT_PX - _BOTTOM_PX - share * (HEIGHT_PX - _TOP_PX - _BOTTOM_PX), 1)

    # Evenly spaced: doses are steps of a ladder, and some ladders double at each step.
    step_px = (WIDTH_PX - _LEFT_PX - _RIGHT_PX) / len(rungs)
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 1e9) if (high - low) / s <= 5)
    first, last = int(low / step) - 1, int(high / step) + 1
    return DoseCurve(
        title=title,
        axis=parameter,
        measure=_in_words(rungs[0][1]),
        rungs=tuple(
            Rung(
                x=round(_LEFT_PX + (i + 0.5) * step_px, 1),
                y=y(effect.estimate),
                low=y(effect.low),
                high=y(effect.high),
                text=compact(dose),
            )
            for i, (dose, effect) in enumerate(rungs)
        ),
        ticks=tuple((y(k * step), number(k * step, 2)) for k in range(first, last + 1) if low <= k * step <= high),
        zero=y(0.0),
    )
