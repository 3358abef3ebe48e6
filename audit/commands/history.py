"""`audit history`: runs of the same images in the order of time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit.errors import AuditError, StoreError, shown_lines
from audit.reports.comparison.history import render_history
from audit.reports.findings.history import History, LeftOut, Measured, Point, history_of
from audit.reports.reading.folder import read_figures, understood
from audit.reports.reading.siblings import run_folders
from audit.reports.reading.view import RunView
from audit.store.numbers import counted, number
from audit.store.output import check_outputs
from audit.store.serialise import printed_json

_STYLE = {
    "sensitive": "bold red",
    "robust": "green",
    "bounded": "green",
    "reversed": "yellow",
    "inconclusive": "yellow",
}


def history(paths: Sequence[Path], *, html: Path | None, as_json: bool) -> int:
    """Print the history of the newest run's images, and write its page if asked to."""
    check_outputs(html)
    runs, unread = _read(run_folders(paths))
    if not runs:
        raise StoreError(f"None of {counted(len(unread), 'run')} can be read. The first: {unread[0].why}")
    with understood(runs[-1].path):
        found = history_of(runs)
    found = replace(found, left_out=(*found.left_out, *unread))
    if html is not None:
        render_history(found, html)
    if as_json:
        sys.stdout.write(printed_json({"exit_code": 0, **_document(found)}))
        return 0
    console = Console()
    for part in _tables(found):
        console.print(part)
    if html is not None:
        sys.stdout.write(f"{html}\n")
    return 0


def _read(paths: Sequence[Path]) -> tuple[list[RunView], list[LeftOut]]:
    """Return the runs that can be read, and why the others cannot."""
    runs, unread = [], []
    for path in paths:
        try:
            runs.append(read_figures(path))
        except (AuditError, OSError) as error:
            unread.append(LeftOut(name=shown_lines(path.name), why=shown_lines(str(error))))
    return runs, unread


def _document(found: History) -> dict[str, object]:
    return {"cohort": found.cohort, "runs": found.runs, "left_out": found.left_out, "measured": found.measured}


def _tables(found: History) -> Iterator[Text | Table]:
    yield _text(f"{counted(len(found.runs), 'run')} of the same images: {found.cohort}")
    runs = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("run", "started (UTC)", "commit", "model", "verdict", "baseline"):
        runs.add_column(column, justify="right" if column == "run" else "left", overflow="fold")
    for i, run in enumerate(found.runs, start=1):
        cells = (
            str(i),
            run.started,
            run.commit or "unknown",
            f"{run.model} {run.digest}",
            run.status,
            run.baseline or "none",
        )
        runs.add_row(*map(_text, cells))
    yield runs
    for measured in found.measured:
        yield _measured(measured)
    for left in found.left_out:
        yield _text(f"not comparable: {left.name}: {left.why}")


def _measured(measured: Measured) -> Table:
    """Return the first, the previous and the newest figure of every line, and whether it rose or fell from run to run."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    several = len(measured.lines[0].points) > 1
    columns = [measured.title.lower(), *(("every run", "previous") if several else ()), "newest", "verdict"]
    for column in columns:
        table.add_column(column, overflow="fold")
    for line in measured.lines:
        newest = line.points[-1]
        over_time = (" ".join(number(p.value, 2) for p in line.points), line.points[-2].text) if several else ()
        verdict = newest.kind if newest.kind != "plain" and newest.value is not None else ""
        table.add_row(*map(_text, (line.title, *over_time, newest.text)), _text(verdict, style=_style(newest)))
    return table


def _style(point: Point) -> str:
    return _STYLE.get(point.kind, "")


def _text(string: str, style: str = "") -> Text:
    return Text(shown_lines(string), style=style)
