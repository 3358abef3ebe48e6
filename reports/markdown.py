"""summary.md: the run in ten lines and its gates, for a pull request."""

from __future__ import annotations

from pathlib import Path

from audit.files import write_atomically
from reports.runfolder import read_run
from reports.summary import summary_lines
from reports.words import number

SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_[]|#~"} | {"<": "&lt;", ">": "&gt;", "\n": " ", "\r": " "})
"""Makes what Markdown would read as markup plain."""


def render_markdown(path: Path) -> Path:
    """Write `summary.md` of a finished run; names of files and classes are escaped."""
    run = read_run(path)
    lines = ["# Audit", ""]
    lines += [f"- {line.translate(SPECIAL)}" for line in summary_lines(run)]
    if run.verdict.gates:
        lines += ["", "| gate | limit | estimate | n | outcome |", "|---|---|---|---|---|"]
        for gate in run.verdict.gates:
            interval = f"{number(gate.actual)} [{number(gate.low)}, {number(gate.high)}]"
            cells = (gate.id, f"{gate.operator} {gate.expected:g}", interval, str(gate.n_images), gate.outcome)
            lines.append("| " + " | ".join(cell.translate(SPECIAL) for cell in cells) + " |")
    target = path / "summary.md"
    write_atomically(target, ("\n".join(lines) + "\n").encode())
    return target
