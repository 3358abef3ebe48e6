"""Where a person reads, conditions have their names for people; their names in the suite stand in code, anchors and files."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from audit.commands import auditing
from audit.data.plan import Plan
from audit.reports.comparison.runs import render_comparison
from audit.reports.page.html import render_html
from audit.run.judgement import rejudge
from audit.store.folder import RunFolder

_HIDDEN = ("code", "script", "style", "pre")


class Words(HTMLParser):
    """Collects the text that a reader sees as sentences: not code, scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self._inside: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN:
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.words.append(data)


def slugs(run: Path) -> list[str]:
    return [c.name for c in RunFolder(run).read(Plan).suite.conditions if "-" in c.name]


def found(text: str, names: list[str]) -> list[str]:
    """Return where names stand in a text, each with the words around it."""
    places = (re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) for name in names)
    return sorted({text[max(0, p.start() - 60) : p.end() + 40] for p in places if p})


def test_no_page_speaks_of_a_condition_by_its_slug(small_run: Path, tmp_path: Path) -> None:
    names = slugs(small_run)
    assert len(names) > 5
    page = render_html(small_run).read_text()
    assert found(" ".join(Words(page).words), names) == []
    assert found(page, names), "anchors keep them"
    compared = render_comparison(
        [small_run, shutil.copytree(small_run, tmp_path / "again")], tmp_path / "c.html"
    ).read_text()
    assert found(" ".join(Words(compared).words), names) == []


def test_gates_speak_of_conditions_by_their_titles_and_keep_slugs_as_data(
    small_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names, verdict = slugs(small_run), rejudge(small_run, None)
    titles = {c.name: c.title for c in RunFolder(small_run).read(Plan).suite.conditions}
    assert found(" ".join([verdict.summary, *(f"{g.reason} {g.where} {g.name}" for g in verdict.gates)]), names) == []
    for gate in verdict.gates:
        assert gate.condition in titles
        assert gate.title == titles[gate.condition]
        assert titles[gate.condition] in gate.where
        assert gate.id.startswith(gate.rule)
    outputs = auditing.GateOutputs()
    auditing.gate(small_run, None, outputs, baseline=None, as_json=False)
    printed = capsys.readouterr().out
    assert found(printed.replace("\n", " "), names) == []
