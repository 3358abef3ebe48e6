"""The forest plot as text, for places that show neither SVG nor pictures, such as GitHub's job summary."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from audit.reports.findings.effect_words import MARKS, points
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import MEASURES
from audit.store.results import Effect

_WIDTH = 41
_MOST_NAME = 44
_LINE, _LEFT, _RIGHT, _ZERO, _LIMIT = "─", "├", "┤", "│", "┊"


def text_forest(run: RunView) -> list[str]:
    """Draw the headline effects in percentage points, the largest first, on one axis; nothing where none was judged."""
    lines: list[str] = []
    for role in ("edit", "sufficiency"):
        effects = [e for e in run.headline(role) if e.estimate is not None]
        if effects:
            lines += [*([""] if lines else []), *_drawn(run, effects)]
    return lines


def _drawn(run: RunView, effects: Sequence[Effect]) -> list[str]:
    one_sided = MEASURES[effects[0].measure].one_sided
    tolerances = {e.tolerance for e in effects if e.tolerance is not None}
    limit = tolerances.pop() if len(tolerances) == 1 else None
    limits = () if limit is None else (limit,) if one_sided else (-limit, limit)
    ends = [v for e in effects for v in (e.estimate, e.low, e.high) if v is not None]
    low, high = min([0.0, *limits, *ends]), max([0.0, *limits, *ends])
    span = (high - low) or 1.0

    def at(value: float) -> int:
        position: int = round((value - low) / span * (_WIDTH - 1))
        return position

    names = [_cut(run.title(e.condition)) for e in effects]
    width = max(map(_columns, names))
    pad = " " * width
    lines = [f"{MEASURES[effects[0].measure].title}, edit minus placebo, in percentage points"]
    for name, e in zip(names, effects, strict=True):
        cells = [" "] * _WIDTH
        for x in limits:
            cells[at(x)] = _LIMIT
        cells[at(0.0)] = _ZERO
        if e.low is not None and e.high is not None:
            left, right = at(e.low), at(e.high)
            cells[left : right + 1] = _LINE * (right - left + 1)
            if right > left:
                cells[left], cells[right] = _LEFT, _RIGHT
        assert e.estimate is not None
        cells[at(e.estimate)] = MARKS.get(e.verdict, "●")
        interval = "" if e.low is None or e.high is None else f" ({points(e.low)} to {points(e.high)})"
        lines.append(f"{_padded(name, width)} {''.join(cells)} {points(e.estimate):>6}{interval} {e.verdict}")
    axis = [" "] * _WIDTH
    axis[at(0.0)] = "0"
    lines.append(
        f"{pad} {''.join(axis)} {_ZERO} no effect{'' if limit is None else f', {_LIMIT} limit {points(limit)}'}"
    )
    return lines


def _cut(name: str) -> str:
    return name if len(name) <= _MOST_NAME else f"{name[: _MOST_NAME - 1]}…"


def _columns(text: str) -> int:
    """Return how many columns a text takes where every letter has one width: those of Chinese, Japanese and Korean take two."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))
