"""One thin figure for each effect of a table: its interval on an axis that all rows share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.store.results import Effect

WIDTH_PX, HEIGHT_PX = 200, 24
_ROOM_PX = 10


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One effect, in pixels of the drawing."""

    x: float
    """The estimate."""
    y: float
    """Of the line."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end."""
    outer: tuple[float, float] | None
    """Ends of the interval that is corrected for multiple comparisons; None where there is none."""
    zero: float
    """No effect."""
    limits: tuple[float, ...]
    """The limits: two, or one of a one-sided measure."""
    kind: str
    """The verdict, for its look."""


def strips(effects: Sequence[Effect], *, one_sided: Sequence[bool]) -> list[Strip | None]:
    """Place effects on one axis that includes zero and every limit; None for an effect without an estimate.

    Parameters
    ----------
    effects : sequence of Effect
        Whose units are the same.
    one_sided : sequence of bool
        Whether the limit of each holds upwards only.
    """
    values = [0.0]
    for e, upwards in zip(effects, one_sided, strict=True):
        tolerance = e.tolerance or 0.0
        ends = (e.low, e.high, e.simultaneous_low, e.simultaneous_high, tolerance, 0.0 if upwards else -tolerance)
        values += [v for v in (e.estimate, *ends) if v is not None]
    low, span = min(values), (max(values) - min(values)) or 1.0

    def x(value: float) -> float:
        return round(_ROOM_PX + (value - low) / span * (WIDTH_PX - 2 * _ROOM_PX), 1)

    def strip(e: Effect, *, upwards: bool) -> Strip | None:
        if e.estimate is None:
            return None
        limits = () if e.tolerance is None else (e.tolerance,) if upwards else (-e.tolerance, e.tolerance)
        return Strip(
            x=x(e.estimate),
            y=HEIGHT_PX / 2,
            low=x(e.estimate if e.low is None else e.low),
            high=x(e.estimate if e.high is None else e.high),
            outer=None
            if e.simultaneous_low is None or e.simultaneous_high is None
            else (x(e.simultaneous_low), x(e.simultaneous_high)),
            zero=x(0.0),
            limits=tuple(map(x, limits)),
            kind=e.verdict,
        )

    return [strip(e, upwards=upwards) for e, upwards in zip(effects, one_sided, strict=True)]
