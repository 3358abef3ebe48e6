"""The comment for a pull request, the figure of text and the comparison page hold the run's figures; foreign words do nothing."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import unicodedata
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from audit.baseline.comparison import Baseline
from audit.prediction.table import read_finished
from audit.reports.ci.comment import MARKER, MOST_CHARACTERS, CommentLinks, pr_comment
from audit.reports.ci.text_forest import text_forest
from audit.reports.findings.changes import Change, changes_since
from audit.reports.findings.markdown_words import inert
from audit.reports.reading.folder import read_figures, read_run
from audit.reports.reading.view import RunView
from audit.store.folder import verify_run
from audit.store.group import ALL
from audit.store.results import Effect

from .conftest import Audit, one_paragraph
from .documents import plan_with
from .golden.make_report import RUN
from .report_runs import Page, seal

PLATFORM = MarkdownIt("commonmark", {"html": True}).enable("table")
HOSTILE = "<img src=x onerror=alert(1)> [a](http://b.c) @someone #12 !7 www.evil.example | `x` $y$ ![z](//q) </details>"


@given(st.text(max_size=60))
def test_foreign_words_become_nothing_but_words(text: str) -> None:
    page = PLATFORM.render(f"Named {inert(text)}.")
    assert re.sub(r"</?p>\n?", "", page).count("<") == 0, "no element but the paragraph"
    shown = unescape(re.sub(r"</?p>\n?", "", page)).replace("\N{ZERO WIDTH SPACE}", "")
    kept = "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c)[0] == "C" else c for c in " ".join(text.split())
    )
    assert shown == f"Named {kept}.".strip()


@pytest.mark.parametrize("link", ["https://a.b", "WWW.a.b", "@who", "#1", "!1", "GH-1", "~1", "%1", "&1"])
def test_what_platforms_make_links_of_is_broken_up(link: str) -> None:
    assert link not in inert(f"see {link} there").replace("\\", "")


@pytest.fixture
def two(small_run: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Return a run and an earlier one whose network answered less surely to every edit."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    before = shutil.copytree(small_run, tmp_path / "before")
    for part in (before / "predictions").iterdir():
        table = pq.read_table(part)
        rows = table.to_pylist()
        for row in rows:
            if row["condition"] == "text-mask-inpaint":
                row["logits"] = [v + 3.0 * (i == 0) for i, v in enumerate(row["logits"])]
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), part)
    seal(before)
    return small_run, before


def compared(run: Path, before: Path) -> tuple[RunView, list[Change]]:
    view = read_run(run)
    return view, changes_since(view, Baseline(read_finished(run), before), read_figures(before))


def test_changes_are_those_of_the_baseline_and_told_the_right_way(two: tuple[Path, Path]) -> None:
    run, before = two
    view, changes = compared(run, before)
    baseline = Baseline(read_finished(run), before)
    for c in changes:
        assert c.effect == baseline.change(c.condition, c.measure, c.group)
    moved = {(c.condition, c.measure): c for c in changes if c.group == ALL}
    shift = moved["text-mask-inpaint", "shortcut_sensitivity"]
    assert shift.outcome == "better", "the earlier network moved more under the edit"
    assert moved["clean", "accuracy"].outcome == "not significant"
    _, back = compared(before, run)
    assert {(c.condition, c.measure): c for c in back if c.group == ALL}[
        "text-mask-inpaint", "shortcut_sensitivity"
    ].outcome == "worse"
    assert all(c.title == view.title(c.condition) for c in changes)


@pytest.mark.parametrize(
    ("measure", "low", "high", "outcome"),
    [
        ("accuracy", 0.1, 0.2, "better"),
        ("accuracy", -0.2, -0.1, "worse"),
        ("shortcut_sensitivity", 0.1, 0.2, "worse"),
        ("shortcut_sensitivity", -0.2, -0.1, "better"),
        ("flip_rate", -0.1, 0.2, "not significant"),
    ],
)
def test_worse_is_what_harms(measure: str, low: float, high: float, outcome: str) -> None:
    view = read_run(RUN)
    effect = dataclasses.replace(view.headline()[0], measure=measure, estimate=(low + high) / 2, low=low, high=high)
    change = Change(
        condition=effect.condition,
        title="T",
        group=ALL,
        measure=measure,
        effect=effect,
        why_not="",
        before=None,
        now=None,
    )
    assert change.outcome == outcome


def test_a_comment_holds_verdict_changes_pictures_and_link(two: tuple[Path, Path]) -> None:
    run, before = two
    view, changes = compared(run, before)
    address = "https://ci.example/a/1"
    text = pr_comment(view, changes, "before", CommentLinks(artifact=address, files=f"{address}/raw"))
    assert text.startswith(MARKER)
    assert view.verdict.status.upper() in text.splitlines()[1]
    assert f"]({address})" in text
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert len(pictures) == 3
    for picture in pictures:
        assert (run / picture.removeprefix(f"{address}/raw/")).is_file()
    better = [c for c in changes if c.outcome == "better"]
    assert better
    for c in better[:3]:
        assert f"| {inert(c.words)} | better |" in text
    page = PLATFORM.render(text)
    assert page.count("<details") == page.count("</details>") > 0
    embedded = pr_comment(view, changes, "before", CommentLinks(embed=True))
    assert embedded.count("](data:image/jpeg;base64,") + embedded.count("](data:image/png;base64,") == 3
    named = pr_comment(view, None, "", CommentLinks())
    assert "![" not in named
    assert "No baseline" in named
    assert len(re.findall(r"`examples/[\w.-]+`", named)) == 3


def test_a_comment_does_nothing_with_foreign_words(small_run: Path) -> None:
    view = read_run(small_run)
    conditions = [{"name": c.name, "title": HOSTILE[:60]} for c in view.plan.suite.conditions]
    plan = plan_with(view.plan, model={"name": HOSTILE}, data={"name": HOSTILE})
    titled = [dataclasses_of(c, t["title"]) for c, t in zip(plan.suite.conditions, conditions, strict=True)]
    plan = plan_with(plan, suite={"conditions": titled})
    examples = tuple({**e, "label": HOSTILE, "record": HOSTILE} for e in view.examples)
    gates = tuple(dataclasses.replace(g, id=HOSTILE, reason=HOSTILE, title="") for g in view.verdict.gates)
    verdict = dataclasses.replace(view.verdict, gates=gates, caveats=(HOSTILE,), not_tested=(HOSTILE,))
    view = dataclasses.replace(view, plan=plan, examples=examples, verdict=verdict)
    change = Change(
        condition="clean",
        title=HOSTILE,
        group=ALL,
        measure="accuracy",
        effect=None,
        why_not=HOSTILE,
        before=None,
        now=None,
    )
    text = pr_comment(view, [change], HOSTILE, CommentLinks(artifact="https://a.b/c(d)|e"))
    page = PLATFORM.render(text)
    assert "<img" not in page
    assert "<script" not in page
    assert re.findall(r'<a href="([^"]*)"', page) == ["https://a.b/c%28d%29%7Ce"]
    assert page.count("</details>") == page.count("<details") - page.count("&lt;details")
    outside = re.sub(r"```.*?```", "", text, flags=re.S)
    assert "@someone" not in outside


def dataclasses_of(condition: Any, title: str) -> dict[str, Any]:
    from audit.store.serialise import plain

    return {**plain(condition), "title": title}


def test_a_comment_stays_below_the_platforms_limit(small_run: Path) -> None:
    view = read_run(small_run)
    gates = tuple(dataclasses.replace(view.verdict.gates[0], id=f"gate-{i}", status="fail") for i in range(500))
    view = dataclasses.replace(view, verdict=dataclasses.replace(view.verdict, gates=gates, status="fail"))
    text = pr_comment(view, None, "", CommentLinks(embed=True))
    assert len(text) < MOST_CHARACTERS
    assert "485 more in the report" in text


@given(
    st.lists(
        st.tuples(
            st.floats(-0.9, 0.9),
            st.floats(0, 0.3),
            st.floats(0, 0.3),
            st.sampled_from(["sensitive", "robust", "inconclusive"]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_the_figure_of_text_is_in_proportion(rows: list[tuple[float, float, float, str]]) -> None:
    view = read_figures(RUN)
    (headline,) = view.headline("edit")[:1]
    effects = [
        dataclasses.replace(headline, estimate=e, low=e - a, high=e + b, verdict=v)
        for e, a, b, v in rows  # type: ignore[arg-type]
    ]

    class Several(type(view)):  # type: ignore[misc]
        def headline(self, role: str = "") -> list[Effect]:
            return sorted(effects, key=lambda e: -(e.estimate or 0.0)) if role == "edit" else []

    drawn = text_forest(Several(**{f.name: getattr(view, f.name) for f in dataclasses.fields(view)}))
    body = drawn[1:-1]
    assert len(body) == len(effects)
    start = len(view.title(headline.condition)) + 1
    marks = [next(i for i, c in enumerate(line[start:]) if c in "◆●○") for line in body]
    assert marks == sorted(marks, reverse=True), "a larger effect stands further to the right"
    for line in body:
        plot = line[start : start + 41]
        at = next(i for i, c in enumerate(plot) if c in "◆●○")
        if "├" in plot:
            assert plot.index("├") <= at
        if "┤" in plot:
            assert at <= plot.index("┤")


def test_the_commands_write_comment_and_page(
    audit: Audit, two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, before = two
    comment, page = tmp_path / "pr.md", tmp_path / "diff.html"
    code, out, err = audit("diff", run, before, "--html", page, "--pr-comment", comment)
    assert code == 0, err
    assert "Text inpainted" in out
    text = page.read_text()
    found = Page(text)
    assert not found.open
    for c in compared(run, before)[1]:
        assert c.words in unescape(text)
    assert "Since the baseline" in comment.read_text()
    code, out, _ = audit("diff", run, before, "--json")
    told = json.loads(out)["changes"]
    assert {c["condition"] for c in told} >= {"clean", "text-mask-inpaint"}
    assert {"worse", "better", "not significant", "no estimate"} >= {c["outcome"] for c in told}
    comment.unlink()
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    audit("gate", run, "--pr-comment", comment, "--artifact-url", "https://a.b/1", "--github")
    assert "[Run folder with report.html](https://a.b/1)" in comment.read_text()
    assert "edit minus placebo, in percentage points" in summary.read_text()
    assert audit("gate", run, "--artifact-url", "https://a.b/1")[0] == 2
    assert audit("gate", run, "--pr-comment", comment, "--artifact-url", "javascript:x")[0] == 2
    assert audit("gate", run, "--pr-comment", run / "effects.json")[0] == 2, "a file of the run is not written over"
    assert audit("gate", run, "--pr-comment", run / "pr-comment.md")[0] != 2
    for other in (run, before):
        for option, into in (
            ("--html", other / "plan.json"),
            ("--html", other / "new.html"),
            ("--pr-comment", other / "a.md"),
        ):
            code, _, err = audit("diff", run, before, option, into)
            assert code == 2
            assert "would change the run" in one_paragraph(err)
    for kept in ("effects.json", "run.json", "signoff.json"):
        assert audit("history", run, "--html", run / kept)[0] == 2
    assert audit("report", run, before, "--compare", "--out", run / "plan.json")[0] == 2
    assert audit("export", run, "--format", "model-card", "--out", run / "plan.json")[0] == 2
    assert verify_run(run) == verify_run(before) == []
    assert audit("verify", run)[0] == 0
