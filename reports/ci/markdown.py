"""summary.md: the run in ten lines and its gates, for a pull request."""

from __future__ import annotations

from pathlib import Path

from audit.files import write_atomically
from audit.reports.findings.gate_results import figures, worst_first
from audit.reports.findings.markdown_words import inert
from audit.reports.findings.summary import summary_lines
from audit.reports.reading.folder import read_run


def render_markdown(path: Path) -> Path:
    """Write `summary.md` of a finished run; names of files and classes are escaped."""
    run = read_run(path)
    lines = ["# Audit", "", inert(run.verdict.summary)]
    if run.verdict.status != "incomplete":  # of such a run nothing else counts
        lines += ["", *(f"- {inert(line)}" for line in summary_lines(run))]
    if run.verdict.gates:
        lines += ["", "| gate | required | estimate | images | outcome |", "|---|---|---|---|---|"]
        for gate in worst_first(run.verdict):
            cells = (gate.name, gate.requirement, figures(gate), str(gate.n_images), gate.outcome)
            lines.append("| " + " | ".join(inert(cell) for cell in cells) + " |")
    target = path / "summary.md"
    write_atomically(target, ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
    return target
