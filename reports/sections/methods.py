"""Methods: how the run was made, each sentence derived from its files."""

from __future__ import annotations

from collections.abc import Mapping

from audit.reports.findings.methods_facts import read_facts
from audit.reports.findings.methods_sentences import methods
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section
from audit.store.numbers import counted


def view(run: RunView) -> Mapping[str, object]:
    """Return the paragraphs, and every condition with what became of it."""
    conditions = [(c, run.uses[c.name]) for c in run.plan.suite.conditions]
    result = f"how each number was computed, with all {counted(len(conditions) - 1, 'condition')}"
    return {"result": result, "paragraphs": methods(read_facts(run)), "conditions": conditions, "titles": run.titles}


SECTION = Section(
    name="methods",
    title="Methods",
    template="sections/methods.html.j2",
    view=view,
    comes_from="plan.json, effects.json (kinds of intervals), relevance.json, conditions.json, verdict.json (rules). "
    "Each sentence is written only if these files support it",
)
