"""The report in a real browser: no request, no violation of its policy, nothing that axe finds, and its controls work."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audit.baseline.comparison import Baseline
from audit.errors import UsageError
from audit.prediction.table import read_finished
from audit.reports.comparison.curves import render_curves
from audit.reports.comparison.diff import render_diff
from audit.reports.comparison.history import render_history
from audit.reports.comparison.runs import render_comparison
from audit.reports.findings.changes import changes_since
from audit.reports.findings.history import history_of
from audit.reports.findings.review import read_signoff
from audit.reports.page.html import MAX_BYTES, render_html, within_budget
from audit.reports.reading.folder import read_figures, read_run
from audit.reports.reading.view import MOST_CASES

from .chromium import AXE_TAGS, MARKS, axe_source
from .conftest import cohort_in, know_tiny, tiny_bundle_in
from .golden.make_report import RUN
from .report_runs import finished_run, kept_run, with_cases
from .test_curves import bundle

LOAD_S, MAX_PDF_BYTES = 2.0, 10_000_000
MAX_PAGES = {"report": 20, "comparison": 40}
MAX_FOLDED_PX = {1280: 5_000, 390: 10_000}
"""Height of the page as it opens, by its width: before sections were folded it was 35,000 and 56,000."""
MIN_LETTER_PX = 9

pytestmark = MARKS


@pytest.fixture(scope="module")
def run_made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run whose texts would break a page that trusted them; nobody may change it."""
    folder = tmp_path_factory.mktemp("hostile")
    manifest = cohort_in(folder / "data", 4)
    boxes_file = manifest.parent / "boxes.json"
    boxes = json.loads(boxes_file.read_text())
    hostile = ["</script><script>document.title='owned'</script>", "\u202egnp.exe", "W" * 300]
    for index, regions in enumerate(boxes["images"].values()):
        for region in regions:
            region["text"] = hostile[index // 4]
    boxes_file.write_text(json.dumps(boxes))
    with pytest.MonkeyPatch.context() as patch:
        know_tiny(patch)
        return finished_run(manifest, tiny_bundle_in(folder / "models"), folder)


@pytest.fixture
def run(run_made_once: Path, tmp_path: Path) -> Path:
    """Return a copy of that run, to be edited."""
    return shutil.copytree(run_made_once, tmp_path / "runs" / run_made_once.name)


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """Return that browser without a page: each test's pages, and what they store, end with it."""
    yield chromium
    for context in chromium.contexts:
        context.close()


def alike_once(page: Any) -> int:
    """Open all details, and leave three rows of each shape in a table: axe takes minutes for thousands, and finds the same in each.

    A shape is a row's elements, classes and other attributes, and which of its cells are empty; return how many rows were left out.
    """
    return page.evaluate("""() => {
        document.querySelectorAll('details').forEach(d => { d.open = true; });
        let left = 0;
        for (const part of document.querySelectorAll('thead, tbody, tfoot')) {
            const section = part.closest('section') || document.body;
            section.shapes = section.shapes || {};
            for (const row of [...part.rows]) {
                const names = row.outerHTML.replace(/>[^<]+(?=<)/g, '>text').replace(/ (id|href|for|title)="[^"]+"/g, ' $1');
                section.shapes[names] = (section.shapes[names] || 0) + 1;
                if (section.shapes[names] > 3) { row.remove(); left += 1; }
            }
            if (!part.rows.length) part.remove();
        }
        return left;
    }""")


def test_nothing_is_fetched_and_nothing_breaks_the_policy(run: Path, browser: Any) -> None:
    report = render_html(run)
    page = browser.new_page()
    requests: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(report.as_uri())
    page.wait_for_load_state("load")
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert said == []
    assert page.title().startswith("Audit of"), "no text became a script"
    assert page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") < 1000 * LOAD_S
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, "no name widens the page"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(run: Path, browser: Any, theme: str) -> None:
    source = axe_source()
    page = browser.new_context(color_scheme=theme, bypass_csp=True).new_page()
    page.goto(render_html(run).as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.evaluate(source)

    def look(*, contrast: bool) -> set[str]:
        # Of what passes one element is told, not thousands with their paths.
        asked = """([tags, enabled]) => axe.run(document, {
            runOnly: {type: 'tag', values: tags}, rules: {'color-contrast': {enabled}}, resultTypes: ['violations']})"""
        found = page.evaluate(asked, [AXE_TAGS, contrast])
        assert [(v["id"], [n["html"][:120] for n in v["nodes"]]) for v in found["violations"]] == []
        assert len(found["passes"]) > 20, "axe did look"
        return {v["id"] for v in found["passes"]}

    if theme == "light":  # only colours differ between the themes
        look(contrast=False)
    # Contrast takes minutes for thousands of rows; colours follow a row's shape alone.
    assert alike_once(page) > 300, "few rows are of a shape of their own"
    assert "color-contrast" in look(contrast=True)


def test_filter_and_slider(run: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto(render_html(run).as_uri() + "#examples")
    cases = page.locator(".case")
    total = cases.count()
    condition = cases.first.get_attribute("data-condition")
    page.select_option(".filter[data-field=condition]", condition)
    seen = page.evaluate("[...document.querySelectorAll('.case')].filter(c => !c.hidden).map(c => c.dataset.condition)")
    assert set(seen) == {condition}
    assert 0 < len(seen) < total
    assert page.locator("#shown").inner_text() == f"{len(seen)} of {total} cases"
    page.locator("#opacity").focus()
    page.keyboard.press("Home")
    assert page.evaluate("getComputedStyle(document.querySelector('.overlay')).opacity") == "0"
    page.keyboard.press("End")
    assert page.evaluate("getComputedStyle(document.querySelector('.overlay')).opacity") == "1"


def test_review_goes_out_and_comes_back(run: Path, browser: Any, tmp_path: Path) -> None:
    page = browser.new_page()
    page.goto(render_html(run).as_uri() + "#signoff")
    page.click("#save")
    assert page.locator("#saved").inner_text() == "Give your name."
    page.fill("#reviewer", "R. </script><b>Reader")
    finding = page.locator(".finding").first
    finding.locator("input[value=disagree]").check()
    finding.locator("input[type=text]").fill("too few <images>")
    with page.expect_download() as waiting:
        page.click("#save")
    saved = tmp_path / "saved.json"
    waiting.value.save_as(saved)
    read_signoff(run, saved)
    text = render_html(run).read_text()
    assert "R. &lt;/script&gt;&lt;b&gt;Reader" in text
    assert "too few &lt;images&gt;" in text
    assert "changed after the run" not in text, "a review does not touch the evidence"
    document = json.loads(saved.read_text())
    for wrong in (
        {"evidence": "0" * 64},
        {"reviewer": " "},
        {"findings": []},
        {"findings": [{"id": "x", "answer": "agree"}]},
    ):
        saved.write_text(json.dumps({**document, **wrong}))
        with pytest.raises(UsageError):
            read_signoff(run, saved)


def test_complete_without_scripts(run: Path, browser: Any) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(render_html(run).as_uri())
    for name in ("examples", "signoff"):
        page.locator(f"#{name} .fold > summary").click()  # a browser folds and unfolds by itself
    assert not page.locator("#controls-bar").is_visible()
    assert not page.locator("#moved-bar").is_visible()
    assert not page.locator("#save").is_visible()
    assert page.locator(".moved tbody tr").count() > 0
    for name in ("verdict", "gates", "effects", "examples", "atlas", "standards", "signoff"):
        assert page.locator(f"#{name} h2").is_visible(), name
    assert page.locator(".case").first.locator("img").first.is_visible()


@pytest.mark.parametrize("n_cases", [0, 150, 20_000])
def test_any_number_of_cases_opens_in_time_within_the_budget(
    run: Path, browser: Any, tmp_path: Path, n_cases: int
) -> None:
    view = with_cases(read_run(run), n_cases)
    written = within_budget(view, MAX_BYTES).html
    assert len(written) <= MAX_BYTES
    page_file = tmp_path / "cases.html"
    page_file.write_bytes(written)
    page = browser.new_page()
    page.goto(page_file.as_uri())
    page.wait_for_load_state("load")
    assert page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") < 1000 * LOAD_S
    assert page.locator(".case").count() == min(n_cases, MOST_CASES)
    if n_cases > MOST_CASES:
        assert "The run folder contains 20000 cases" in page.locator("#examples").text_content()


@pytest.mark.parametrize("which", ["comparison", "curves", "history", "diff"])
def test_other_pages_are_as_clean_as_the_report(browser: Any, tmp_path: Path, which: str) -> None:
    source = axe_source()
    if which == "comparison":
        written = render_comparison([kept_run(tmp_path), RUN], tmp_path / "page.html")
    elif which == "history":
        runs = [read_figures(kept_run(tmp_path)), read_figures(RUN)]
        written = render_history(history_of(runs), tmp_path / "page.html")
    elif which == "diff":
        view, before = read_figures(RUN), kept_run(tmp_path)
        changes = changes_since(view, Baseline(read_finished(RUN), before), read_figures(before))
        written = render_diff(view, read_figures(before), "before", changes, tmp_path / "page.html")
    else:
        folders = [bundle(tmp_path / name, name, [0.6, 0.8, 0.9, 0.99]) for name in "CDE"]
        for folder in folders:
            document = json.loads((folder / "model.json").read_text())
            document["provenance"]["network"] = document["name"]
            (folder / "model.json").write_text(json.dumps(document))
        written = render_curves(folders, tmp_path / "page.html")
    for theme in ("light", "dark"):
        page = browser.new_context(color_scheme=theme, bypass_csp=True).new_page()
        page.goto(written.as_uri())
        alike_once(page)
        page.evaluate(source)
        asked = "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})"
        found = page.evaluate(asked, AXE_TAGS)
        assert [(v["id"], [n["html"][:120] for n in v["nodes"]]) for v in found["violations"]] == []
    said: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.goto(written.as_uri())
    assert said == [], "nothing breaks the policy"
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


@pytest.mark.parametrize("which", ["report", "comparison"])
def test_prints(run: Path, browser: Any, tmp_path: Path, which: str) -> None:
    written = render_html(run) if which == "report" else render_comparison([run, RUN], tmp_path / "page.html")
    page = browser.new_page()
    page.goto(written.as_uri())
    printed = page.pdf(format="A4", tagged=True)
    pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    assert 2 < pages <= MAX_PAGES[which]
    assert len(printed) <= MAX_PDF_BYTES
    # What is folded on the screen is on paper, but for what would take too many pages, which says so.
    folded = "[...document.querySelectorAll('details:not([open]):not(.case):not(.menu)')].filter(d => !d.parentElement.closest('.screen'))"
    shown = f"{folded}.filter(d => [...d.children].slice(1).some(c => c.checkVisibility())).map(d => d.textContent.slice(0, 40))"
    assert page.evaluate(shown) == []
    page.emulate_media(media="print")
    hidden = f"{folded}.filter(d => ![...d.children].slice(1).some(c => c.checkVisibility()))"
    assert page.evaluate(f"{hidden}.filter(d => !d.classList.contains('screen')).length") == 0
    assert page.evaluate(f"{hidden}.length") == page.locator("details.screen").count()
    assert page.locator("details.screen").count() == (9 if which == "report" else 0)
    # Each is named where it is left out: a note in the same section.
    unnamed = (
        "[...document.querySelectorAll('details.screen')].filter(d => !d.closest('section').querySelector('.paper'))"
    )
    assert page.evaluate(f"{unnamed}.length") == 0
    assert all(page.locator(".paper").nth(i).is_visible() for i in range(page.locator(".paper").count()))
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


@pytest.mark.parametrize("which", ["report", "comparison"])
def test_can_be_read_on_a_telephone(run: Path, browser: Any, tmp_path: Path, which: str) -> None:
    written = render_html(run) if which == "report" else render_comparison([run, RUN], tmp_path / "page.html")
    page = browser.new_context(viewport={"width": 390, "height": 800}).new_page()
    page.goto(written.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    # Nothing is cut: what reaches beyond the screen lies in a table that scrolls in its own box.
    beyond = """() => [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll') && e.checkVisibility()
        && !e.classList.contains('spoken') && !e.closest('.stacked thead')
        && e.getBoundingClientRect().right > window.innerWidth + 1).map(e => e.outerHTML.slice(0, 100))"""
    assert page.evaluate(beyond) == []
    letters = """() => [...document.querySelectorAll('svg.figure text')].filter(t => t.checkVisibility()).map(
        t => parseFloat(getComputedStyle(t).fontSize) * t.ownerSVGElement.getScreenCTM().a)"""
    assert min(page.evaluate(letters)) > MIN_LETTER_PX


@pytest.mark.parametrize("width", MAX_FOLDED_PX)
def test_opens_folded_to_a_few_screens(run: Path, browser: Any, width: int) -> None:
    page = browser.new_context(viewport={"width": width, "height": 800}).new_page()
    page.goto(render_html(run).as_uri())
    assert page.locator("details.fold[open]").count() == 0
    assert page.evaluate("document.documentElement.scrollHeight") <= MAX_FOLDED_PX[width]
    for text in ("What was tested", "What to do next", "What was not tested", "What the accuracy is worth"):
        assert page.get_by_role("heading", name=text).is_visible()


def test_the_relevance_table_is_whole_on_a_laptop(run: Path, browser: Any) -> None:
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(render_html(run).as_uri() + "#relevance")
    box = page.locator(".scroll:has(> table.relevance)")
    assert box.is_visible()
    assert box.evaluate("e => e.scrollWidth - e.clientWidth") <= 0


def test_a_link_opens_what_it_leads_to(run: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto(render_html(run).as_uri())
    links = page.evaluate(
        "[...document.querySelectorAll('#verdict a[href^=\"#\"], nav a')].map(a => a.getAttribute('href'))"
    )
    assert any(link.startswith("#case-") for link in links)
    assert any(link.startswith("#condition-") for link in links)
    for link in dict.fromkeys(links):
        page.evaluate("document.querySelectorAll('main details').forEach(d => { d.open = false; })")
        page.evaluate("link => document.querySelector(`a[href='${link}']`).click()", link)
        page.wait_for_function("link => document.querySelector(link).checkVisibility()", arg=link, timeout=2000)
        folded = f"document.querySelector('{link}').querySelector(':scope > details.fold:not([open])')"
        page.wait_for_function(f"!{folded}", timeout=2000)


def test_the_keyboard_alone_is_enough(run: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto(render_html(run).as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"

    def tab_to(selector: str, most: int = 400) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(f"Tab never reaches {selector}")

    tab_to(".lead .term")
    tip = page.evaluate("getComputedStyle(document.activeElement, '::after').content")
    assert page.evaluate("document.activeElement.dataset.tip") in tip.replace("\\", ""), (
        "a term explains itself on focus"
    )
    tab_to("#effects .fold > summary")
    page.keyboard.press("Enter")
    assert page.locator("#effects-table").is_visible()
    tab_to("#effects .zoom")
    page.keyboard.press("Enter")
    assert page.locator("dialog").is_visible()
    assert page.evaluate("document.querySelector('dialog').contains(document.activeElement)")
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    assert page.evaluate("document.activeElement.matches('#effects .zoom')"), "focus returns to where it was"
    tab_to("#examples .fold > summary")
    page.keyboard.press("Space")
    tab_to("#opacity")
    tab_to("#moved ~ details > summary")
    page.keyboard.press("Enter")
    tab_to("#moved-search")
    everything = page.locator(".moved tbody tr")
    total = everything.count()
    name = everything.last.get_attribute("data-image")
    page.keyboard.type(name)
    assert page.locator(".moved tbody tr:visible").count() == 1
    assert page.locator("#moved-shown").inner_text() == f"1 of {total} images"
    tab_to("#signoff .fold > summary")
    page.keyboard.press("Enter")
    tab_to("#signoff input[type=radio]")
    page.keyboard.press("Space")
    tab_to("#reviewer")
    page.keyboard.type("R")
    tab_to("#save")
    with page.expect_download():
        page.keyboard.press("Enter")


def test_the_table_of_images_is_sorted_and_filtered(run: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto(render_html(run).as_uri() + "#moved")
    page.locator("#moved ~ details > summary").click()
    rows = "[...document.querySelectorAll('.moved tbody tr')].filter(r => !r.hidden)"

    def of(field: str) -> list[str]:
        return page.evaluate(f"{rows}.map(r => r.dataset.{field})")

    changes = [float(c) for c in of("change")]
    assert changes == sorted(changes, reverse=True)
    for order, field in (("image", "image"), ("label", "label"), ("source", "source")):
        page.select_option("#moved-order", order)
        assert of(field) == sorted(of(field), key=str.lower)
    page.select_option("#moved-order", "change")
    assert [float(c) for c in of("change")] == changes
    label = of("label")[0]
    page.select_option(".moved-filter[data-field=label]", label)
    assert set(of("label")) == {label}
    page.locator("#moved-changed").check()
    assert set(of("changed")) <= {"yes"}
