"""The comment for a pull request, written by `audit run`, `gate` and `diff`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from audit.baseline.comparison import Baseline
from audit.prediction.table import read_finished
from audit.reports.ci.comment import CommentLinks, pr_comment
from audit.reports.findings.changes import changes_since
from audit.reports.reading.folder import read_figures, read_run, understood
from audit.store.output import write_output
from audit.store.run_record import RunRecord
from audit.store.verdict import Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class CommentOutput:
    """Where a comment is written, and what it links to."""

    file: Path
    """The Markdown file."""
    links: CommentLinks
    """Where readers find the run and its pictures."""


def write_comment(path: Path, verdict: Verdict, baseline: Path | None, out: CommentOutput) -> None:
    """Write the comment on a run.

    Parameters
    ----------
    path : Path
        The run folder.
    verdict : Verdict
        The judgement that is reported.
    baseline : Path or None
        What the run is compared with; None, and a file that does not exist yet, for nothing.
    out : CommentOutput
        Where it goes.

    Raises
    ------
    StoreError
        If the run or the baseline cannot be read.
    """
    run = replace(read_run(path), verdict=verdict)
    changes = None
    if baseline is not None and baseline.exists() and verdict.status != "incomplete":
        before = read_figures(baseline) if (baseline / RunRecord.FILE).is_file() else None
        changes = changes_since(run, Baseline(read_finished(path), baseline), before)
    with understood(path):
        text = pr_comment(run, changes, "" if baseline is None else baseline.name, out.links)
    write_output(out.file, text.encode("utf-8", "backslashreplace"))
