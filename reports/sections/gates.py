"""The gates: each rule, what was measured, and the outcome."""

from __future__ import annotations

from collections.abc import Mapping

from audit.reports.findings.gate_results import ORDER, figures, gate_counts
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section, state_of


def view(run: RunView) -> Mapping[str, object]:
    """Return the judged gates with their figures: what matters most first, and what matters as much in the order of the rules."""
    gates = sorted(run.verdict.gates, key=lambda gate: ORDER.index(gate.status))
    return {
        "result": gate_counts(run.verdict) or "no rule was requested",
        "summary": run.verdict.summary,
        "gates": [(gate, figures(gate)) for gate in gates],
    }


SECTION = Section(
    name="gates",
    title="Gates",
    template="sections/gates.html.j2",
    view=view,
    state=lambda run: state_of(g.status for g in run.verdict.gates),
    comes_from="verdict.json",
)
