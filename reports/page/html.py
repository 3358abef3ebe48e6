"""report.html: one file, no request, complete with scripts off, within a budget of bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.files import write_atomically
from audit.reports.findings.summary import first_lines
from audit.reports.page.parts import write_sections
from audit.reports.page.templates import whole_page
from audit.reports.reading.folder import read_run, understood
from audit.reports.reading.view import PICTURES, RunView

# Larger files stall browsers and mail servers.
MAX_BYTES = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Page:
    """report.html."""

    html: bytes
    """The file."""
    problems: tuple[str, ...]
    """Why sections of other packages are not in it, a sentence each."""


def _say_nothing(problem: str) -> None:
    """Leave a problem to the page, which names every section that is not shown."""


def render_html(path: Path, *, max_bytes: int = MAX_BYTES, complain: Callable[[str], object] = _say_nothing) -> Path:
    """Write `report.html` of a finished run; the same run gives the same bytes.

    If the page exceeds the size limit, pictures are left out, first those of folded cases and from the last case on, and the
    page states how many.

    Parameters
    ----------
    path : Path
        The run folder.
    max_bytes : int
        Most that the page may weigh.
    complain : callable
        Called with a sentence for each section of another package that could not be shown; the page names it, too.

    Raises
    ------
    StoreError
        If the run is not complete or a file of it is damaged.
    """
    run = read_run(path)
    with understood(path):
        page = within_budget(run, max_bytes)
    target = path / "report.html"
    write_atomically(target, page.html)
    for problem in page.problems:
        complain(problem)
    return target


def within_budget(run: RunView, max_bytes: int) -> Page:
    """Return the page, without as many of the last cases' pictures as it takes to stay within the budget."""
    page = _page(run)
    shown = len(run.examples)
    while len(page.html) > max_bytes and shown:
        excess = len(page.html) - max_bytes
        while shown and excess > -4096:
            shown -= 1
            excess -= sum(len((run.examples[shown][part] or {}).get("uri") or "") for part in PICTURES)
        few = (*run.examples[:shown], *(_without_pictures(e) for e in run.examples[shown:]))
        page = _page(dataclasses.replace(run, examples=few))
    return page


def _without_pictures(example: Any) -> dict[str, Any]:
    """Leave out the pictures that are there; one that is gone stays one that is gone."""
    left_out = {"uri": None, "left_out": True}
    return {
        **example,
        **{part: {**example[part], **left_out} for part in PICTURES if example[part] and example[part]["uri"]},
    }


def _page(run: RunView) -> Page:
    written = write_sections(run)
    page = whole_page(
        "report.html.j2",
        script=True,
        plan=run.plan,
        finished=run.run.finished,
        first_lines=first_lines(run),
        parts=written.parts,
        not_shown=[problem.told for problem in written.problems],
    )
    problems = tuple(problem.reason for problem in written.problems)
    return Page(html=page, problems=problems)
