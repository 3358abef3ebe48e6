"""`audit diff`: a run and an earlier one of the same images, compared image by image."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from audit.baseline.comparison import Baseline
from audit.commands.comments import CommentOutput, write_comment
from audit.errors import UsageError, shown_lines
from audit.gates.judging import EXIT_CODES
from audit.prediction.table import read_finished
from audit.reports.comparison.diff import render_diff
from audit.reports.findings.changes import Change, changes_since
from audit.reports.findings.markdown_words import inert
from audit.reports.reading.folder import read_figures, understood
from audit.store.output import check_outputs
from audit.store.run_record import RunRecord
from audit.store.serialise import printed_json


def diff(
    path: Path, other: Path, *, as_json: bool, as_markdown: bool, html: Path | None, comment: CommentOutput | None
) -> int:
    """Print how much larger every judged effect is in one run than in another of the same images.

    The exit code is 5 where any of them cannot be compared.
    """
    check_outputs(html, None if comment is None else comment.file)
    finished = read_finished(path)
    if path.resolve() == other.resolve():
        raise UsageError(
            f"{path} was given both as run and as baseline. Name an earlier run of the same images as the baseline."
        )
    run = read_figures(path)
    before = read_figures(other) if (other / RunRecord.FILE).is_file() else None
    with understood(path):
        changes = changes_since(run, Baseline(finished, other), before)
        if html is not None:
            render_diff(run, before, other.name or str(other), changes, html)
    if comment is not None:
        write_comment(path, run.verdict, other, comment)
    code = EXIT_CODES["not comparable"] if any(c.effect is None for c in changes) else 0
    if as_json:
        sys.stdout.write(
            printed_json({"run": path, "baseline": other, "exit_code": code, "changes": [*map(_row, changes)]})
        )
    elif as_markdown:
        sys.stdout.write("| edit and images | figure | run minus baseline |\n|---|---|---|\n")
        sys.stdout.writelines(f"| {inert(c.where)} | {c.figure} | {inert(c.words)} |\n" for c in changes)
    else:
        lines = [(shown_lines(c.where), c.figure, shown_lines(c.words)) for c in changes]
        sys.stdout.writelines(f"{line}\n" for line in _in_columns(lines))
    return code


def _row(change: Change) -> dict[str, object]:
    return {
        "condition": change.condition,
        "measure": change.measure,
        "group": change.group,
        "change": change.effect,
        "why_not": change.why_not,
        "outcome": change.outcome,
    }


def _in_columns(lines: Sequence[tuple[str, ...]]) -> list[str]:
    """Lay rows out with each column as wide as its widest cell, and a gap after it, whatever the names are."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in lines]
