"""Runs of the same images over time: their order, what is comparable, what the figures show, and what the report shows of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from audit.reports.comparison.history import render_history
from audit.reports.figures.timelines import HEIGHT_PX, WIDTH_PX, timelines
from audit.reports.findings.history import Line, Measured, Point, history_of
from audit.reports.findings.news import news
from audit.reports.page.html import render_html
from audit.reports.reading.folder import read_figures, read_run
from audit.store.folder import RunFolder
from audit.store.group import ALL
from audit.store.results import EffectsDocument
from audit.store.run_record import RunRecord

from .conftest import Audit
from .golden.make_report import RUN
from .report_runs import Page, edit

Make = Callable[..., Path]
EDIT = "text-mask-black"


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that puts a copy of the kept run into `runs/`, changed and sealed."""

    def made(
        name: str, started: str, change: Mapping[str, Callable[[Any], object]] | None = None, *, sealed: bool = True
    ) -> Path:
        path = shutil.copytree(RUN, tmp_path / "runs" / name)
        for file, what in (change or {}).items():
            edit(path / file, what)
        folder = RunFolder(path)
        record = folder.read(RunRecord)
        files = folder.hashes() if sealed else record.files
        folder.write(replace(record, started=f"{started}T08:00:00+00:00", git_commit="c0ffee" + name, files=files))
        return path

    return made


def moved(by: float) -> Callable[[Any], object]:
    """Return a change of effects.json: the headline effect of one edit is larger."""

    def change(document: Any) -> None:
        for e in document["effects"]:
            if (e["condition"], e["measure"], e["group"]) == (EDIT, "shortcut_sensitivity", "all") and e["placebo"]:
                for key in ("estimate", "low", "high"):
                    e[key] += by

    return change


def line_of(measured: tuple[Measured, ...], measure: str, key: str) -> Line:
    return next(line for m in measured if m.key == measure for line in m.lines if line.key == key)


def test_runs_stand_in_the_order_of_their_start_with_their_own_figures(make: Make) -> None:
    paths = (
        make("a", "2026-04-01", {"effects.json": moved(0.3)}),
        make("b", "2026-03-01", {"effects.json": moved(0.2)}),
        make("c", "2026-02-01"),
    )
    runs = [read_figures(path) for path in paths]
    found = history_of(runs)
    assert [run.name for run in found.runs] == ["c", "b", "a"]
    line = line_of(found.measured, "shortcut_sensitivity", EDIT)
    for point, run in zip(line.points, (runs[2], runs[1], runs[0]), strict=True):
        effect = run.find(EDIT, "shortcut_sensitivity", ALL, controlled=True)
        assert effect is not None
        assert (point.value, point.low, point.high, point.kind) == (
            effect.estimate,
            effect.low,
            effect.high,
            effect.verdict,
        )
    values = [p.value for p in line.points]
    assert values[1] - values[0] == pytest.approx(0.2)  # type: ignore[operator]
    assert values[2] - values[0] == pytest.approx(0.3)  # type: ignore[operator]
    assert line.title == runs[0].title(EDIT) != EDIT
    assert found.runs[0].commit == "c0ffeec"


@pytest.mark.parametrize(
    ("file", "change", "why"),
    [
        ("plan.json", lambda d: d["data"].update(content_hash="0" * 64), "it used other data than the newest run"),
        ("plan.json", lambda d: d["data"].update(records_hash="0" * 64), "it used other images than the newest run"),
        (
            "plan.json",
            lambda d: d["model"].update(classes=[*d["model"]["classes"][:-1], "other"]),
            "it has other classes",
        ),
        ("plan.json", lambda d: d["detector"].update(version="0"), "it used another text finder"),
    ],
)
def test_a_run_that_is_not_comparable_is_named_with_the_reason(
    make: Make, file: str, change: Callable[[Any], object], why: str
) -> None:
    runs = [read_figures(make("old", "2026-01-01", {file: change})), read_figures(make("new", "2026-02-01"))]
    found = history_of(runs)
    assert [run.name for run in found.runs] == ["new"]
    assert [left.name for left in found.left_out] == ["old"]
    assert why in found.left_out[0].why


def test_an_edited_run_is_left_out_and_another_edit_leaves_a_gap(make: Make) -> None:
    def other_version(document: Any) -> None:
        next(c for c in document["suite"]["conditions"] if c["name"] == EDIT)["perturbation_version"] += 1

    runs = [
        read_figures(make("edited", "2026-01-01", {"effects.json": moved(0.5)}, sealed=False)),
        read_figures(make("other", "2026-02-01", {"plan.json": other_version})),
        read_figures(make("new", "2026-03-01")),
    ]
    found = history_of(runs)
    assert [(left.name, left.why) for left in found.left_out] == [("edited", "effects.json was changed after the run")]
    first, second = line_of(found.measured, "shortcut_sensitivity", EDIT).points
    assert first.value is None
    assert "another version" in first.text
    assert second.value is not None
    accuracy = line_of(found.measured, "accuracy", "accuracy")
    assert None not in [p.value for p in accuracy.points]


def test_a_limit_is_drawn_only_where_all_runs_share_it(make: Make) -> None:
    def limit(document: Any) -> None:
        for e in document["effects"]:
            if e["tolerance"] is not None:
                e["tolerance"] = 0.11

    same = history_of([read_figures(make("a", "2026-01-01")), read_figures(make("b", "2026-02-01"))])
    assert line_of(same.measured, "shortcut_sensitivity", EDIT).limit == 0.05
    other = history_of(
        [read_figures(make("c", "2026-01-01", {"effects.json": limit})), read_figures(make("d", "2026-02-01"))]
    )
    assert line_of(other.measured, "shortcut_sensitivity", EDIT).limit is None


_NUMBER = st.floats(-50, 50, allow_nan=False)
_POINT = st.one_of(
    st.just(Point(value=None, text="not measured")),
    st.tuples(_NUMBER, st.floats(0, 5), st.floats(0, 5)).map(
        lambda t: Point(
            value=t[0], low=t[0] - t[1], high=t[0] + t[2], outer=(t[0] - 2 * t[1], t[0] + 2 * t[2]), text="x"
        )
    ),
)


@given(st.integers(1, 40).flatmap(lambda n: st.lists(st.lists(_POINT, min_size=n, max_size=n), min_size=1, max_size=3)))
def test_everything_is_drawn_inside_the_figure_and_in_order(rows: list[list[Point]]) -> None:
    lines = tuple(Line(key=str(i), title=str(i), points=tuple(row), limit=0.05) for i, row in enumerate(rows))
    measured = Measured(key="m", title="M", note="", lines=lines, holds=(0.0,), two_sided=True)
    figure = timelines(measured)
    assert figure.n_before == max(0, len(rows[0]) - 24)
    for drawn, row in zip(figure.lines, rows, strict=True):
        shown = row[figure.n_before :]
        assert len(drawn.spots) == sum(p.value is not None for p in shown)
        xs = [s.x for s in drawn.spots]
        assert xs == sorted(xs)
        for s in drawn.spots:
            assert figure.left <= s.x <= figure.right <= WIDTH_PX
            ys = [s.y, *(s.interval or ()), *(s.outer or ())]
            assert all(0 <= y <= figure.bottom <= HEIGHT_PX for y in ys)
        values = [p.value for p in shown if p.value is not None]
        for (a, spot), (b, other) in zip(
            zip(values, drawn.spots, strict=True), list(zip(values, drawn.spots, strict=True))[1:], strict=False
        ):
            if a < b - 1:
                assert spot.y > other.y, "larger is higher"
    assert figure.numbers[-1][1] == len(rows[0])


def test_the_command_lists_writes_and_names(audit: Audit, make: Make, tmp_path: Path) -> None:
    make("old", "2026-01-01", {"effects.json": moved(0.1)})
    new = make("new", "2026-02-01")
    broken = make("broken", "2026-03-01")
    (broken / "plan.json").write_text("{")
    page = tmp_path / "history.html"
    code, out, err = audit("history", new.parent, "--html", page)
    assert code == 0, err
    assert "2 runs of the same images" in out
    assert "broken" in out and "not valid JSON" in " ".join(out.split())
    html = page.read_text()
    assert "<title>History of 2 audits</title>" in html
    found = Page(html)
    assert not found.open, "every element is closed"
    ids = [a["id"] for _, a in found.found if a.get("id")]
    assert len(ids) == len(set(ids))
    assert html.count('<svg class="figure"') == html.count("<title id=")
    code, out, _ = audit("history", new, new, "--json")
    told = json.loads(out)
    assert (code, len(told["runs"])) == (0, 1), "a run that is given twice counts once"
    assert audit("history", tmp_path / "nothing")[0] == 4
    (new.parent / "empty").mkdir()
    assert audit("history", new.parent / "empty")[0] == 4
    assert audit("history", broken)[0] == 4


def test_names_are_escaped(make: Make, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"

    def named(document: Any) -> None:
        document["data"]["name"] = hostile
        document["model"]["name"] = hostile
        for c in document["suite"]["conditions"]:
            c["title"] = hostile

    page = render_history(
        history_of([read_figures(make("a", "2026-01-01", {"plan.json": named}))]), tmp_path / "h.html"
    )
    assert "<script>" not in page.read_text()
    assert "&lt;script&gt;" in page.read_text()


def test_the_report_shows_earlier_runs_of_the_same_images_and_no_others(make: Make) -> None:
    first = make("first", "2026-01-01")
    assert 'id="history"' not in render_html(first).read_text()
    make("foreign", "2026-01-05", {"plan.json": lambda d: d["data"].update(content_hash="0" * 64)})
    second = make("second", "2026-02-01", {"effects.json": moved(0.1)})
    make("later", "2026-03-01")
    assert 'id="history"' not in render_html(first).read_text(), "what came later is no part of it"
    page = render_html(second).read_text()
    section = page[page.index('<section id="history"') : page.index('<section id="controls"')]
    assert "1 earlier run of the same images" in section
    assert "1. first" in section and "2. second" in section
    assert "later" not in section.replace("later versions", "")
    assert "foreign" not in section, "runs of other images are listed by `audit history` alone"
    (RunFolder(second).path / EffectsDocument.FILE).write_text((second / EffectsDocument.FILE).read_text() + "\n")
    assert 'id="history"' not in render_html(second).read_text(), "a run that was edited is not set beside others"


def judged(verdict: str) -> Callable[[Any], object]:
    """Return a change of effects.json: the headline effect of one edit has this verdict."""

    def change(document: Any) -> None:
        for e in document["effects"]:
            if (e["condition"], e["measure"], e["group"]) == (EDIT, "shortcut_sensitivity", "all") and e["placebo"]:
                e["verdict"] = verdict

    return change


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        ("robust", "sensitive", "newly sensitive: "),
        ("sensitive", "robust", "no longer sensitive: "),
        ("sensitive", "sensitive", "sensitive in both: "),
        ("robust", "robust", ""),
    ],
)
def test_the_first_screen_says_what_is_new(make: Make, then: str, now: str, said: str) -> None:
    make("a", "2026-01-01", {"effects.json": judged("void")})
    make("b", "2026-01-02", {"effects.json": judged(then)})
    run = make("c", "2026-01-03", {"effects.json": judged(now)})
    make("d", "2026-01-04", {"effects.json": judged("void")})
    told = news(read_run(run))
    assert told.startswith("Compared with b (verdict "), "the last one before it, not the last of all"
    title = read_run(run).title(EDIT)
    assert (title in told) == bool(said)
    if said:
        assert title in told[told.index(said) :].split(";")[0]
    page = render_html(run).read_text()
    assert "New since the last run?" in page and "Compared with b" in page


def test_the_first_screen_says_that_nothing_can_be_new(make: Make) -> None:
    first = make("a", "2026-01-01")
    assert news(read_run(first)).startswith("Not known: no earlier run")
    other = make("b", "2026-01-02", {"plan.json": lambda d: d["data"].update(content_hash="0" * 64)})
    assert news(read_run(other)).startswith("Not known: no earlier run"), "other images are no earlier run"
    edited = make("c", "2026-01-03", {"effects.json": judged("robust")}, sealed=False)
    assert news(read_run(edited)).startswith("Not known: files of this run were changed")
