"""The page of a kept run, to the letter: what a change of templates does to it is read in the diff of the golden file."""

from __future__ import annotations

import difflib

from audit.reports.reading.folder import read_run
from audit.store.folder import verify_run

from .golden.make_report import PAGE, RUN, rendered
from .report_runs import Page


def test_page_is_the_golden_one() -> None:
    expected, found = PAGE.read_text(encoding="utf-8"), rendered()
    diff = difflib.unified_diff(expected.splitlines(), found.splitlines(), "golden", "found", lineterm="", n=0)
    assert expected == found, "\n".join(["python -m tests.golden.make_report rewrites it", *list(diff)[:40]])


def test_golden_is_a_whole_page_of_a_whole_run() -> None:
    assert verify_run(RUN) == []
    view = read_run(RUN)
    assert view.headline()
    assert view.planted
    assert view.relevance
    page = Page(PAGE.read_text(encoding="utf-8"))
    assert page.open == []
    sections = [a["id"] for a in page.all("section")]
    assert {"verdict", "gates", "effects", "examples", "relevance", "atlas", "controls", "training"} <= set(sections)
