"""The comparison of several runs: one axis a measure, the limit drawn where it is the same for all, every number in a table."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path

import pytest

from audit.errors import StoreError, UsageError
from audit.reports.comparison.runs import render_comparison
from audit.reports.figures.multiples import Cell, multiples
from audit.reports.findings.effect_words import estimate
from audit.reports.reading.folder import read_run

from .golden.make_report import RUN
from .report_runs import Page, edit

LONG = "</svg><script>alert(1)</script>" + "W" * 270


def renamed(run: Path, folder: Path, name: str) -> Path:
    """Return a copy of a run whose model is called otherwise."""
    shutil.copytree(run, folder)
    edit(folder / "plan.json", lambda d: d["model"].update(name=name))
    return folder


@pytest.fixture
def runs(small_run: Path, tmp_path: Path) -> list[Path]:
    """Return five run folders that differ in their models' names."""
    return [renamed(small_run, tmp_path / f"copy-{i}", name) for i, name in enumerate(("A", "B", "C", "C", LONG))]


def test_five_runs_stand_side_by_side(runs: list[Path], tmp_path: Path) -> None:
    text = render_comparison(runs, tmp_path / "c.html").read_text()
    page = Page(text)
    assert page.open == []
    assert "<script>alert" not in text
    assert "C (1)" in text
    assert "C (2)" in text
    view = read_run(runs[0])
    panels = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    assert {view.title(c.name) for c in view.judged()} <= set(map(html.unescape, panels))
    assert {"all images", *(f"recall of {c}" for c in view.plan.model.classes)} <= set(panels)
    assert text.count('<svg class="figure"') == len(panels)
    for effect in (e for e in view.headline() if e.estimate is not None):
        value, bounds = estimate(effect).split(" ", 1)
        cell = f'<td>{value} <span class="range">{bounds}</span>'
        assert text.count(cell) >= len(runs), "the table holds each run's number"


def test_panels_of_a_measure_share_axis_and_limit(runs: list[Path], tmp_path: Path) -> None:
    text = render_comparison(runs, tmp_path / "c.html").read_text()
    section = re.search(r'<section id="measure-2".*?</section>', text, re.S)
    assert section is not None
    assert "Shortcut sensitivity" in section.group()
    panels = re.findall(r"<svg class=.figure.*?</svg>", section.group(), re.S)
    assert len(panels) > 2
    assert len({tuple(re.findall(r'class="tick" x="([\d.]+)"', p)) for p in panels}) == 1
    assert len({re.findall(r'class="limit" x1="([\d.]+)"', p)[0] for p in panels}) == 1
    assert all(p.count('class="label"') == 5 for p in panels)

    edit(
        runs[1] / "effects.json",
        lambda d: [e.update(tolerance=0.3) for e in d["effects"] if e["tolerance"] is not None],
    )
    text = render_comparison(runs, tmp_path / "c.html").read_text()
    assert "used different limits of shortcut sensitivity" in text
    assert 'class="limit"' not in text


def test_what_may_not_be_compared_is_said(kept: Path, tmp_path: Path) -> None:
    page = render_comparison([kept, RUN], tmp_path / "c.html").read_text()
    assert "The same run is listed more than once: A (1), A (2)." in page
    assert "different classes" not in page
    assert "because the images are the same" in page
    edit(kept / "plan.json", lambda d: d["model"].update(name="B", classes=[*d["model"]["classes"], "other"]))
    edit(kept / "plan.json", lambda d: d["data"].update(content_hash="0" * 64))
    page = render_comparison([kept, RUN], tmp_path / "c.html").read_text()
    assert "The models have different classes" in page
    assert "The runs used different images" in page
    assert "because the images are the same" not in page
    assert "changed after their run: B; see their" in page


def test_names_that_figures_cut_alike_are_numbered(tmp_path: Path) -> None:
    name = "the network of the hospital, trained in 200{} by somebody"
    folders = [renamed(RUN, tmp_path / str(i), name.format(i)) for i in range(3)]
    page = render_comparison(folders, tmp_path / "c.html").read_text()
    labels = re.findall(r'class="label"[^>]*>([^<]*)<', page)
    assert len(set(labels)) == len(folders)
    assert [label[:2] for label in labels[:3]] == ["1.", "2.", "3."]
    assert '<th scope="row">2. the network of the hospital, trained in 2001 by somebody</th>' in page


def test_error_names_the_run_that_is_not_understood(kept: Path, tmp_path: Path) -> None:
    wrong = {"value": "much", "low": 0, "high": 1}
    edit(kept / "relevance.json", lambda d: [g.update(enrichment=wrong) for g in d["relevance"]["groups"]])
    with pytest.raises(
        StoreError,
        match=rf"{kept}/relevance\.json does not have the format .*relevance.groups\[0\].enrichment.value must be a number",
    ):
        render_comparison([RUN, kept], tmp_path / "c.html")


def test_fewer_than_two_runs_are_no_comparison(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least two"):
        render_comparison([tmp_path], tmp_path / "d.html")


def test_what_was_not_measured_is_a_gap() -> None:
    def cell(run: str, value: float | None) -> Cell:
        return Cell(run=run, value=value, low=None, high=None, kind="plain", text="t", n_images=None)

    figure = multiples(
        "m", "u", "n", "a", [("p", [cell("A", 0.5), cell("B" * 40, None)])], holds=[0, 1], reference=0.0, tolerance=0.1
    )
    first, second = figure.panels[0].rows
    assert first.x is not None
    assert (second.x, second.interval, second.text) == (None, None, "–")
    assert len(second.label) < 20, "a long name leaves room for the plot"
    assert figure.panels[0].cells[1].run == "B" * 40
    assert figure.limit is not None
    assert figure.reference is not None
    assert figure.left < figure.reference < figure.limit < first.x < figure.right
