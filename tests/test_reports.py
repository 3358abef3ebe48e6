"""Every rendering of a finished run: nothing hostile gets through, nothing is fetched, and the numbers are the run's."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import itertools
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from audit.errors import StoreError
from audit.reports.ci.junit import render_junit
from audit.reports.ci.markdown import render_markdown
from audit.reports.findings.effect_words import estimate
from audit.reports.findings.markdown_words import inert
from audit.reports.page.html import render_html
from audit.reports.reading.folder import read_run
from audit.reports.terminal import render_terminal
from audit.store.numbers import number

from .conftest import cohort_in, know_tiny, tiny_bundle_in
from .documents import plan_with
from .golden.make_report import RUN as GOLDEN_RUN
from .report_runs import Page, finished_run

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}[bold]\"'&"


@pytest.fixture(scope="module")
def run_made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished, gated run whose words and sources are hostile; nobody may change it."""
    folder = tmp_path_factory.mktemp("hostile")
    manifest = cohort_in(folder / "data", 7)
    boxes = json.loads((manifest.parent / "boxes.json").read_text())
    for regions in boxes["images"].values():
        for region in regions:
            region["text"] = HOSTILE
    (manifest.parent / "boxes.json").write_text(json.dumps(boxes))
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for i, row in enumerate(rows):
        # Ten patients each, or their names would be withheld.
        row["source"] = HOSTILE if i % 2 else "=cmd|' /C calc'!A0"
        row["patient_id"] = f"{row['label']}-{i}"
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.MonkeyPatch.context() as patch:
        know_tiny(patch)
        return finished_run(manifest, tiny_bundle_in(folder / "models"), folder)


@pytest.fixture
def run(run_made_once: Path, tmp_path: Path) -> Path:
    """Return a copy of that run, to be edited."""
    return shutil.copytree(run_made_once, tmp_path / "runs" / run_made_once.name)


def test_page_is_whole_hostile_strings_are_text(run: Path) -> None:
    text = render_html(run).read_text()
    page = Page(text)
    assert page.open == []
    assert len(page.all("script")) == 1, "only our own"
    assert "alert(1)</script>" not in text
    assert "&lt;img src=x onerror=alert(2)&gt;" in text, "shown as what it is"
    assert "49" not in re.findall(r"onerror=alert\(2\)&gt;(.{10})", text)[0], "no template runs twice"
    for tag, attributes in page.found:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href", "action", "srcset"):
            value = attributes.get(name) or ""
            assert value.startswith(("data:image/", "#")) or not value, (tag, name, value[:60])
    assert not re.search(r"url\(\s*['\"]?(?!data:)", text), "nothing is fetched by a style"


def test_page_for_readers_without_eyes_or_scripts(run: Path) -> None:
    text = render_html(run).read_text()
    page = Page(text)
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert all(image.get("alt") for image in page.all("img"))
    ids = [a["id"] for _, a in page.found if a.get("id")]
    assert len(ids) == len(set(ids)), "ids are unique"
    for link in page.all("a"):
        assert (link.get("href") or "")[1:] in ids, link
    for _, attributes in page.found:
        for reference in (attributes.get("aria-labelledby") or "").split():
            assert reference in ids
    levels = [int(t[1]) for t, _ in page.found if re.fullmatch("h[1-6]", t)]
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels)), "no heading level is jumped"
    assert all(cell.get("scope") for cell in page.all("th"))


def test_policy_admits_just_our_blocks(run: Path) -> None:
    text = render_html(run).read_text()
    policy = next(m["content"] for m in Page(text).all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in (policy or "")
    for tag in ("style", "script"):
        body = re.search(f"<{tag}[^>]*>(.*?)</{tag}>", text, re.S)
        assert body is not None
        assert base64.b64encode(hashlib.sha256(body.group(1).encode()).digest()).decode() in (policy or "")
    assert not any("style" in attributes for _, attributes in Page(text).found), "the policy blocks inline styles"


def test_no_patient_and_no_path_of_this_machine(run: Path, run_made_once: Path) -> None:
    render_markdown(run)
    render_junit(run)
    for name in ("report.html", "summary.md", "junit.xml"):
        if name == "report.html":
            render_html(run)
        text = (run / name).read_text()
        assert str(run.parents[1]) not in text, name
        assert str(run_made_once.parents[1]) not in text, name
        assert not re.search(r"(normal|pneumonia|covid)-\d", text), "file names here hold the patient"


def test_same_run_same_bytes(run: Path) -> None:
    assert render_html(run).read_bytes() == render_html(run).read_bytes()


def test_numbers_are_the_runs(run: Path) -> None:
    text = render_html(run).read_text()
    view = read_run(run)
    for effect in view.headline():
        assert estimate(effect) in text
        assert effect.verdict in text
    for gate in view.verdict.gates:
        assert gate.id in text
    total = sum(sum(cells.values()) for cells in view.confusion.values())
    assert total == view.plan.data.n_images
    right = sum(cells.get(name, 0) for name, cells in view.confusion.items())
    accuracy = view.find("clean", "accuracy")
    assert accuracy is not None
    assert right / total == pytest.approx(accuracy.estimate)


def test_codes_in_names_do_not_reach_a_terminal(run: Path) -> None:
    """A foreign bundle names itself: it must not clear the screen and print a verdict of its own."""
    view = read_run(run)
    name = "\x1b[2J\x1b[1;1HPASS\u202e\x9b31m"
    view = replace(view, plan=plan_with(view.plan, model={"name": name}))
    out = io.StringIO()
    render_terminal(view, Console(file=out, width=200, force_terminal=False))
    for text in (out.getvalue(), inert(name)):
        assert "PASS" in text
        assert not set("\x1b\u202e\x9b") & set(text)


def test_terminal_fits_and_prints_names_as_they_are(run: Path) -> None:
    for width in (60, 80, 200):
        out = io.StringIO()
        render_terminal(read_run(run), Console(file=out, width=width, force_terminal=False))
        lines = out.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        assert "\x1b" not in out.getvalue()
        assert "[bold" in out.getvalue().replace("\n", "").replace(" ", ""), "a name is no markup"
        assert lines[-1].strip() in ("PASS", "FAIL", "INCONCLUSIVE")


def test_a_narrow_terminal_breaks_no_name_of_a_condition() -> None:
    """It drops columns of secondary measures first, then wraps between words; a wide one has all of them."""
    view = read_run(GOLDEN_RUN)
    for width, columns in ((60, ()), (200, ("accuracy", "flips"))):
        out = io.StringIO()
        render_terminal(view, Console(file=out, width=width, force_terminal=False))
        words = set(out.getvalue().split())
        assert {word for e in view.headline("edit") for word in view.title(e.condition).split()} <= words
        (header,) = (line for line in out.getvalue().splitlines() if line.startswith("edit − placebo "))
        assert tuple(c for c in ("accuracy", "flips") if c in header) == columns


def test_markdown_is_ten_lines_and_inert(run: Path) -> None:
    text = render_markdown(run).read_text()
    assert 5 <= sum(line.startswith("- ") for line in text.splitlines()) <= 10
    assert "<script" not in text
    assert "<img" not in text
    gates = [line for line in text.splitlines() if line.startswith(("| shortcut", "| sufficiency", "| accuracy"))]
    assert len(gates) == len(read_run(run).verdict.gates)
    assert all(line.count(" | ") == 4 for line in gates), "no cell is broken by a name"


def test_junit_has_a_case_for_each_gate(run: Path) -> None:
    suite = ET.fromstring(render_junit(run).read_bytes())
    verdict = read_run(run).verdict
    assert [case.get("name") for case in suite.findall("testcase")] == [gate.id for gate in verdict.gates]
    kinds = {
        "pass": "system-out",
        "fail": "failure",
        "inconclusive": "error",
        "inconclusive (allowed by the policy)": "skipped",
    }
    assert [case[0].tag for case in suite.findall("testcase")] == [kinds[gate.outcome] for gate in verdict.gates]
    assert int(suite.get("errors", "-1")) == sum(g.outcome == "inconclusive" for g in verdict.gates)
    assert int(suite.get("skipped", "-1")) == 4, (
        "border, groups and accuracy, which twelve images cannot decide, and a compression that they do not show"
    )


def test_no_text_is_said_not_praised(
    write_cohort: Callable[..., Path], write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    manifest = write_cohort(3, text=False)
    path = finished_run(manifest, write_bundle(), tmp_path, judge_gates=False, relevance_images=0)
    text = render_html(path).read_text()
    assert re.search(r"Nothing can be concluded about the text[^.:]*: no image could be edited this way\.", text)
    assert "no text: 9" in text, "counted where the conditions are listed"
    assert "No gate was requested" in text
    assert "no problems found" not in text.lower()


def test_unfinished_and_foreign_folders(run: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="run folder"):
        render_html(tmp_path)
    document = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**document, "status": "running"}))
    with pytest.raises(StoreError, match="not complete"):
        render_html(run)


def test_numbers_in_words() -> None:
    assert [number(v) for v in (None, 0.0, -0.25, 1.23456)] == ["–", "0", "−0.250", "1.235"]
    assert number(-0.0001) == "0.000", "a sign of nothing"
