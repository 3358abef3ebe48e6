"""Earlier runs of the same images that lie beside this one: what moved since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from audit.reports.figures.timelines import HEIGHT_PX, WIDTH_PX, timelines
from audit.reports.findings.history import history_of
from audit.reports.reading.siblings import runs_beside
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section
from audit.store.numbers import counted

_MOST_RUNS = 12
"""Runs that the report draws, the last ones; `audit history` draws more."""
_MOST_LINES = 6
"""Figures of one measure, those of the largest newest effects; `audit history` draws all."""


def view(run: RunView) -> Mapping[str, object] | None:
    """Return the last runs of the same cohort up to this one; None where there is no other, or this one was edited."""
    if run.problems:
        return None
    beside = [r for r in runs_beside(run) if (r.run.started, r.path.name) < (run.run.started, run.path.absolute().name)]
    history = history_of([*beside, run])
    if len(history.runs) < 2:
        return None
    kept = {listed.name for listed in history.runs[-_MOST_RUNS:]}
    last = [r for r in [*beside, run] if r.path.absolute().name in kept]
    shown = history_of(last)
    before = shown.runs[-2]
    now = "unchanged" if before.status == shown.runs[-1].status else f"{before.status} before"
    return {
        "result": f"{counted(len(history.runs) - 1, 'earlier run')} of the same images; verdict {shown.runs[-1].status}, {now}",
        "history": shown,
        "current": run.path.absolute().name,
        "figures": [(m, timelines(m)) for m in (replace(m, lines=m.lines[:_MOST_LINES]) for m in shown.measured)],
        "more": sum(max(0, len(m.lines) - _MOST_LINES) for m in shown.measured),
        "width": WIDTH_PX,
        "height": HEIGHT_PX,
    }


SECTION = Section(
    name="history",
    title="Earlier runs",
    template="sections/history.html.j2",
    view=view,
    comes_from="plan.json, run.json, effects.json, controls.json and verdict.json of the runs in the same folder; shown only if an earlier "
    "one audited the same images",
)
