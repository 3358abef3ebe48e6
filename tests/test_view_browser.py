"""The pages of `audit view` in a real browser: nothing that axe finds, keyboard alone is enough, and 20,000 rows stay quick."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.run.settings import Settings

from .chromium import AXE_TAGS, MARKS, axe_source
from .golden.make_report import RUN
from .large_run import large_run
from .report_runs import kept_run, seal
from .test_view import HOSTILE, data_of, names_of, served

LOAD_S, SCROLL_S = 6.0, 2.0
"""Generous, as tests share their machine: on an idle one the table stands after 0.6 s, and scrolling takes 0.06 s."""
MOST_ELEMENTS = 3_000
DRAWN = "#checked.same, #checked.differs, #checked.unknown"

pytestmark = MARKS


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """Return an empty page whose complaints fail the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    made = context.new_page()
    said: list[str] = []
    made.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    made.on("pageerror", lambda error: said.append(str(error)))
    yield made
    context.close()
    # A picture that cannot be drawn is an answer with another status, which the console lists.
    assert [line for line in said if "409" not in line] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(
    small_run_made_once: Path, tiny_architecture: str, chromium: Any, theme: str, width: int
) -> None:
    source = axe_source()
    context = chromium.new_context(color_scheme=theme, bypass_csp=True, viewport={"width": width, "height": 900})
    page = context.new_page()
    with served(small_run_made_once, Settings(data=str(data_of(small_run_made_once)))) as (server, _):
        for path, ready in (("", "tbody th a"), (f"case/{names_of(small_run_made_once)[0]}", DRAWN)):
            page.goto(server.url(path))
            page.wait_for_selector(ready)
            assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, "nothing is cut"
            page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
            page.evaluate(source)
            found = page.evaluate("tags => axe.run(document, {runOnly: {type: 'tag', values: tags}})", AXE_TAGS)
            assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found["violations"]] == []
    context.close()


def test_the_keyboard_is_enough(small_run_made_once: Path, tiny_architecture: str, page: Any) -> None:
    run = small_run_made_once
    with served(run, Settings(data=str(data_of(run)))) as (server, _):
        page.goto(server.url())
        page.wait_for_selector("tbody th a")
        page.focus("#table")
        first = page.inner_text("tr.marked th")
        page.keyboard.press("ArrowDown")
        second = page.inner_text("tr.marked th")
        assert first != second
        page.keyboard.press("End")
        assert page.inner_text("tr.marked th") == page.locator("tbody tr th").last.inner_text()
        page.keyboard.press("Home")
        assert page.inner_text("tr.marked th") == first
        page.keyboard.press("Enter")
        page.wait_for_selector(DRAWN)
        assert first in page.title()
        assert page.evaluate("document.activeElement.tagName") == "svg", "keys act at once"
        assert page.locator("#over").get_attribute("href").partition("?")[0].endswith("/edit")
        for key, kind in (("2", "placebo"), ("3", "difference"), ("4", "relevance"), ("1", "edit")):
            page.keyboard.press(key)
            assert page.locator(f".layer[data-kind={kind}]").get_attribute("aria-pressed") == "true"
        page.keyboard.press("[")
        assert page.locator("#opacity").input_value() == "90"
        whole = page.locator("#stage svg").get_attribute("viewBox")
        page.keyboard.press("+")
        near = page.locator("#stage svg").get_attribute("viewBox")
        assert near != whole
        page.keyboard.press("ArrowRight")
        assert page.locator("#stage svg").get_attribute("viewBox") != near
        page.keyboard.press("0")
        assert page.locator("#stage svg").get_attribute("viewBox") == whole
        page.keyboard.press("b")
        assert not page.locator("#boxed").is_checked()
        was = page.url
        page.keyboard.press("j")
        page.wait_for_url(lambda url: url != was)
        assert "condition=" in page.url, "which can be shared"
        page.wait_for_selector(DRAWN)
        page.locator("#all").focus()
        page.keyboard.press("j")
        assert page.locator("#all").evaluate("e => e === document.activeElement"), "keys act at the picture alone"


def test_the_table_filters_sorts_and_keeps_its_choice_in_the_address(
    small_run_made_once: Path, tiny_architecture: str, page: Any
) -> None:
    with served(small_run_made_once) as (server, _):
        page.goto(server.url())
        page.wait_for_selector("tbody th a")
        assert page.inner_text("#shown") == "12 of 12 images"
        shifts = [float(text) for text in page.locator("tbody td.num").all_inner_texts()]
        assert shifts == sorted(shifts, reverse=True)
        page.select_option("#label", label="covid")
        assert page.inner_text("#shown") == "4 of 12 images"
        assert set(page.locator("tbody td:nth-child(2)").all_inner_texts()) == {"covid"}
        page.select_option("#source", index=1)
        assert page.inner_text("#shown") == "2 of 12 images"
        page.select_option("#condition", label="Text inpainted")
        kept = page.url
        assert "label=" in kept
        page.goto(server.url())
        page.wait_for_selector("tbody th a")  # A page that is left before it is complete would not take the address.
        assert page.inner_text("#shown") == "12 of 12 images"
        page.goto(kept)
        page.wait_for_function("document.getElementById('shown').textContent === '2 of 12 images'")
        page.reload()
        page.wait_for_selector("tbody th a")
        assert page.inner_text("#shown") == "2 of 12 images"
        assert page.locator("tbody th a").first.get_attribute("href").endswith("?condition=text-mask-inpaint")
        page.click("#reset")
        page.wait_for_function("document.getElementById('shown').textContent.startsWith('12 of')")
        page.get_by_role("button", name="Image").click()
        names = page.locator("tbody th").all_inner_texts()
        assert names == sorted(names)
        page.fill("#search", names[5][:6])
        assert page.locator("tbody th").all_inner_texts() == [names[5]]


def test_foreign_words_run_nothing(tmp_path: Path, page: Any) -> None:
    run = kept_run(tmp_path)
    table = pq.read_table(run / "records.parquet")
    for column in ("source", "site", "view"):
        cells = pa.array([HOSTILE[i % 3] for i in range(table.num_rows)])
        table = table.set_column(table.schema.get_field_index(column), column, cells)
    pq.write_table(table, run / "records.parquet")
    seal(run)
    with served(run) as (server, _):
        page.goto(server.url())
        page.wait_for_selector("tbody th a")
        assert page.title() == f"Images of {run.name}"
        assert page.locator("tbody img").count() == 0
        assert HOSTILE[0] in page.locator("tbody td:nth-child(3)").all_inner_texts()
        page.goto(server.url(f"case/{names_of(run)[0]}"))
        page.wait_for_selector(DRAWN)
        assert "owned" not in page.title()
        assert "The images cannot be found" in page.inner_text("#views"), "a sentence in place of a picture"


def test_twenty_thousand_rows_stay_quick(tmp_path: Path, page: Any) -> None:
    run = large_run(RUN, tmp_path / "large", 20_000, n_parts=40)
    with served(run) as (server, _):
        start = time.perf_counter()
        page.goto(server.url())
        page.wait_for_selector("tbody th a")
        assert time.perf_counter() - start < LOAD_S
        assert page.inner_text("#shown") == "20,000 of 20,000 images"
        assert page.evaluate("document.querySelectorAll('*').length") < MOST_ELEMENTS
        for share in (0.5, 1.0, 0.1):
            start = time.perf_counter()
            page.evaluate(
                "share => { const t = document.getElementById('table'); t.scrollTop = share * t.scrollHeight; }", share
            )
            page.wait_for_function(
                "share => Math.abs(document.querySelector('tbody tr:nth-child(2)').getAttribute('aria-rowindex') - share * 20000) < 100",
                arg=share,
            )
            assert time.perf_counter() - start < SCROLL_S
        page.fill("#search", "0000000000004e1f")
        page.wait_for_function("document.getElementById('shown').textContent === '1 of 20,000 images'")
        assert json.loads(
            page.evaluate("JSON.stringify([...document.querySelectorAll('tbody th')].map(e => e.textContent))")
        ) == ["0000000000004e1f"]
