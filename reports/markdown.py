"""summary.md: the run in ten lines and its gates, for a pull request."""

from __future__ import annotations

from pathlib import Path

from audit.files import write_atomically
from audit.numbers import NOTHING, bracketed
from reports.runfolder import read_run
from reports.summary import summary_lines

SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_[]|#~"} | {"<": "&lt;", ">": "&gt;", "\n": " ", "\r": " "})
"""Makes what Markdown would read as markup plain."""


def render_markdown(path: Path) -> Path:
    """Write `summary.md` of a finished run; names of files and classes are escaped."""
    run = read_run(path)
    lines = ["# Audit", ""]
    lines += [f"- {line.translate(SPECIAL)}" for line in summary_lines(run)]
    if run.verdict.gates:
        lines += ["", "| gate | required | estimate | images | outcome |", "|---|---|---|---|---|"]
        for gate in run.verdict.gates:
            found = NOTHING if gate.actual is None else bracketed(gate.actual, gate.low, gate.high)
            cells = (gate.id, gate.requirement, found, str(gate.n_images), gate.outcome)
            lines.append("| " + " | ".join(cell.translate(SPECIAL) for cell in cells) + " |")
    target = path / "summary.md"
    write_atomically(target, ("\n".join(lines) + "\n").encode())
    return target
