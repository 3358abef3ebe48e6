"""summary.md: the run in ten lines and its gates, for a pull request."""

from __future__ import annotations

from pathlib import Path

from audit.files import write_atomically
from audit.reports.findings.gate_results import figures, worst_first
from audit.reports.findings.summary import summary_lines
from audit.reports.reading.folder import read_run

# Whoever prints the file to a terminal must not be steered by a name in it, nor read it backwards.
_STEERING = (*range(32), *range(127, 160), 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
SPECIAL = str.maketrans(
    dict.fromkeys(_STEERING, "\N{REPLACEMENT CHARACTER}")
    | {ord(c): f"\\{c}" for c in "\\`*_[]|#~"}
    | {ord("<"): "&lt;", ord(">"): "&gt;", ord("\n"): " ", ord("\r"): " "}
)
"""Makes what Markdown would read as markup plain."""


def render_markdown(path: Path) -> Path:
    """Write `summary.md` of a finished run; names of files and classes are escaped."""
    run = read_run(path)
    lines = ["# Audit", "", run.verdict.summary.translate(SPECIAL)]
    if run.verdict.status != "incomplete":  # of such a run nothing else counts
        lines += ["", *(f"- {line.translate(SPECIAL)}" for line in summary_lines(run))]
    if run.verdict.gates:
        lines += ["", "| gate | required | estimate | images | outcome |", "|---|---|---|---|---|"]
        for gate in worst_first(run.verdict):
            cells = (gate.name, gate.requirement, figures(gate), str(gate.n_images), gate.outcome)
            lines.append("| " + " | ".join(cell.translate(SPECIAL) for cell in cells) + " |")
    target = path / "summary.md"
    write_atomically(target, ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
    return target
