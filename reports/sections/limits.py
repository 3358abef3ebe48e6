"""Deviations from the plan, and what cannot be concluded."""

from __future__ import annotations

from collections.abc import Mapping

from audit.reports.findings.limitations import deviations, limitations
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section
from audit.store.numbers import counted


def view(run: RunView) -> Mapping[str, object]:
    """Return both lists."""
    changed, limits = deviations(run), limitations(run)
    result = f"{counted(len(changed), 'deviation')} from the plan, {counted(len(limits), 'limitation')}"
    return {"result": result, "deviations": changed, "limitations": limits}


SECTION = Section(
    name="limits",
    title="Limits",
    template="sections/limits.html.j2",
    view=view,
    comes_from="run.json, conditions.json: what was left out; general limitations and those of this run",
)
