"""Deviations from the plan, and what cannot be concluded."""

from __future__ import annotations

from collections.abc import Mapping

from audit.reports.findings.limitations import deviations, limitations
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section


def view(run: RunView) -> Mapping[str, object]:
    """Return both lists."""
    return {"deviations": deviations(run), "limitations": limitations(run)}


SECTION = Section(
    name="limits",
    title="Limits",
    template="sections/limits.html.j2",
    view=view,
    comes_from="run.json, conditions.json: what was left out; general limitations and those of this run",
)
