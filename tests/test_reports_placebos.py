"""Relevance by class against its placebos: every image drawn once, at its place, marked by its own p."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from audit.reports.figures.placebos import BOTTOM_PX, HEIGHT_PX, MOST_IMAGES, placebo_figure
from audit.reports.page.html import render_html
from audit.reports.reading.folder import read_run
from audit.reports.reading.view import RunView

from .documents import plan_with


@pytest.fixture
def view(small_run: Path) -> RunView:
    return read_run(small_run)


def row(index: int, mass: float | None, p: float | None, label: str = "covid", **given: Any) -> dict[str, Any]:
    found = {"record_id": f"r{index}", "label": label, "mass_in_text": mass, "placebo_p": p}
    return found | {"placebo_low": 0.0, "placebo_median": 0.1, "placebo_high": 0.2} | given


def seen(rows: tuple[dict[str, Any], ...]) -> Any:
    """Return as much of a run as the figure reads."""
    return SimpleNamespace(relevance=rows, plan=plan_with(model={"classes": ["normal", "covid"]}))


def test_report_draws_every_image_of_the_run(view: RunView) -> None:
    figure = placebo_figure(view)
    assert figure is not None
    rows = [r for r in view.relevance if r["mass_in_text"] is not None]
    assert sum(len(p.images) for p in figure.panels) == len(rows)
    assert sum(i.beyond for p in figure.panels for i in p.images) == sum((r["placebo_p"] or 1) <= 0.05 for r in rows)
    text = render_html(view.path).read_text()
    section = re.search(r"Each image compared with its own placebos.*?axis-note", text, re.S)
    assert section is not None
    assert section.group().count('<figure class="zoomable">') == len(figure.panels)


def test_places_and_marks() -> None:
    rows = (
        row(1, 0.4, 0.01),
        row(2, 0.1, 0.5),
        row(3, None, None),
        row(4, 0.2, None, placebo_low=None, placebo_high=None),
    )
    figure = placebo_figure(seen(rows))
    assert figure is not None
    (panel,) = figure.panels
    assert [i.beyond for i in panel.images] == [False, False, True], "from the smallest share to the largest"
    assert panel.note == "1 of 2 images exceed both controls"
    heights = [i.y for i in panel.images]
    assert heights == sorted(heights, reverse=True)
    first = panel.images[0]
    assert first.low == HEIGHT_PX - BOTTOM_PX
    assert first.high is not None
    assert first.high < first.y < first.low
    assert panel.images[1].high is None
    assert figure.drawn_of is None


def test_of_many_images_evenly_spaced_ones_are_drawn_and_that_is_said() -> None:
    rows = tuple(row(i, i / 1000, 0.01) for i in range(1000))
    figure = placebo_figure(seen(rows))
    assert figure is not None
    assert figure.drawn_of == (MOST_IMAGES, 1000)
    assert figure.panels[0].note == "1000 of 1000 images exceed both controls"


def test_nothing_to_draw() -> None:
    assert placebo_figure(seen(())) is None
    assert placebo_figure(seen((row(1, None, None),))) is None
    zero = placebo_figure(seen((row(1, 0.0, None, placebo_high=None),)))
    assert zero is not None
