"""summary.md: the run in ten lines and its gates, for a pull request."""

from __future__ import annotations

from pathlib import Path

from audit.files import write_atomically
from audit.reports.ci.gate_table import gate_table
from audit.reports.findings.gate_results import worst_first
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
        lines += ["", *gate_table(worst_first(run.verdict))]
    target = path / "summary.md"
    write_atomically(target, ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
    return target
