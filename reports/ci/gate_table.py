"""Gates as a table in Markdown: of summaries, of comments, and of a job's page."""

from __future__ import annotations

from collections.abc import Sequence

from audit.reports.findings.gate_results import figures
from audit.reports.findings.markdown_words import inert
from audit.store.verdict import GateResult


def gate_table(gates: Sequence[GateResult], *, with_places: bool = False) -> list[str]:
    """Return the lines of a table; none without gates.

    Parameters
    ----------
    gates : sequence of GateResult
        In this order.
    with_places : bool
        Whether a column says where each is judged, for readers that do not have its rule before them.
    """
    if not gates:
        return []
    heads = ["gate", *(["where"] if with_places else []), "required", "estimate", "images", "outcome"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for gate in gates:
        places = [gate.where] if with_places else []
        cells = [gate.name, *places, gate.requirement, figures(gate), f"{gate.n_images:,}", gate.outcome]
        lines.append(f"| {' | '.join(map(inert, cells))} |")
    return lines
