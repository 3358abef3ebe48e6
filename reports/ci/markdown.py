"""summary.md: the run in short, one finding a line, and its gates, for a pull request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from audit.files import write_atomically
from audit.reports.ci.gate_table import gate_table
from audit.reports.findings.gate_results import worst_first
from audit.reports.findings.markdown_words import inert
from audit.reports.findings.statements import statements
from audit.reports.findings.summary import summary_lines, verdict_words
from audit.reports.reading.folder import read_run
from audit.reports.reading.view import RunView


def render_markdown(path: Path) -> Path:
    """Write `summary.md` of a finished run; names of files and classes are escaped."""
    run = read_run(path)
    lines = ["# Audit", "", inert(run.verdict.summary)]
    if run.verdict.status != "incomplete":  # of such a run nothing else counts
        lines += [""]
        for line in summary_lines(run):
            verdict = line.startswith(verdict_words(run))  # its findings are easier to read one by one
            lines += [f"- {inert(verdict_words(run))}", *_findings(run)] if verdict else [f"- {inert(line)}"]
    if run.verdict.gates:
        lines += ["", *gate_table(worst_first(run.verdict))]
    target = path / "summary.md"
    write_atomically(target, ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
    return target


def _findings(run: RunView) -> Iterator[str]:
    """Yield each finding as an entry below the verdict, and what it lists below it."""
    for found in statements(run):
        if len(found.items) < 2:
            yield f"  - {inert(found.text)}"
            continue
        yield f"  - {inert(found.opening)}:"
        yield from (f"    - {inert(item)}" for item in found.items)
