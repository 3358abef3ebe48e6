"""The first screen: its numbers are the run's, each question has an answer, each finding a next step, each term its meaning."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import get_args

import pytest

from audit.prediction.rows import prediction_rows
from audit.reports.findings.effect_words import points, points_interval
from audit.reports.findings.headline import headline
from audit.reports.findings.next_steps import next_steps
from audit.reports.findings.questions import questions
from audit.reports.findings.statements import statements
from audit.reports.findings.terms import ANSWERS, STATUSES, TERMS
from audit.reports.page.html import MAX_BYTES, within_budget
from audit.reports.page.templates import terms_explained
from audit.reports.reading.folder import read_run
from audit.reports.reading.view import RunView
from audit.reports.sections import OWN
from audit.reports.sections.verdict import question_rows
from audit.store.documents import read_json
from audit.store.folder import RunFolder
from audit.store.group import ALL, Group
from audit.store.results import Effect, EffectVerdict
from audit.store.serialise import plain as as_plain
from audit.store.verdict import Status

from .documents import plan_with
from .golden.make_report import RUN
from .report_runs import Page

VERDICTS: tuple[EffectVerdict, ...] = ("sensitive", "robust", "reversed", "inconclusive")


@pytest.fixture
def kept() -> RunView:
    return read_run(RUN)


def judged(view: RunView, verdict: EffectVerdict, estimate: float = 0.2) -> RunView:
    """Return the run with the judged effect over all images as given, and its groups undecided."""

    def changed(e: Effect) -> Effect:
        if e.tolerance is None or e.measure != "shortcut_sensitivity":
            return e
        mine = verdict if e.group == ALL else "inconclusive"
        return replace(
            e, verdict=mine, estimate=estimate, low=estimate - 0.1, high=estimate + 0.1, blind=False, classes_absent=()
        )

    return replace(view, effects=tuple(map(changed, view.effects)))


def screen(view: RunView) -> str:
    text = within_budget(view, MAX_BYTES).html.decode()
    return text[text.index('<section id="verdict"') : text.index("</section>", text.index('<section id="verdict"'))]


def plain(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def naive_numbers(folder: Path) -> list[str]:
    """Return what the first screen must contain, from the files themselves."""
    effects = read_json(folder / "effects.json")["effects"]
    verdict = read_json(folder / "verdict.json")
    plan = read_json(folder / "plan.json")
    found = [verdict["status"], f"{plan['data']['n_images']:,}"]
    for e in effects:
        whole = e["group"] == "all" or e["group"] == {"kind": "all", "value": None}
        if e["condition"] == "clean" and e["measure"] == "accuracy" and whole:
            found += [f"{100 * e[key]:.1f}".replace("-", "−") for key in ("estimate", "low", "high")]
    return [*found, *verdict["not_tested"]]


def test_first_screen_has_the_numbers_of_the_files(kept: RunView, small_run: Path) -> None:
    for folder in (RUN, small_run):
        view = read_run(folder)
        shown = plain(screen(view))
        for text in naive_numbers(folder):
            assert " ".join(text.split()) in shown, text
        for q in questions(view, statements(view)):
            if q.effect.estimate is not None:
                assert points(q.effect.estimate) in shown
                assert points_interval(q.effect).strip("()") in shown


@pytest.mark.parametrize("verdict", VERDICTS)
def test_each_verdict_gives_a_sentence_an_answer_and_a_step(kept: RunView, verdict: EffectVerdict) -> None:
    view = judged(kept, verdict)
    said = statements(view)
    shown = plain(screen(view))
    lead = said[0].text
    assert plain(terms_explained(lead)) in shown
    assert headline(view).startswith(lead)
    assert "20.0 percentage points" in " ".join(s.text for s in said)
    assert ANSWERS[verdict] in shown
    steps = next_steps(view, said)
    assert steps
    topics = {s.about for s in steps}
    if verdict != "robust":
        assert "The text" in topics, "every finding has its next step"
    for step in steps:
        assert step.text in shown
        assert all(record in shown for _, record in step.images)
        assert not step.command or f"{step.command} {step.does}" in shown
        assert bool(step.command) == bool(step.does), "a command is never shown without what it does"
    assert "no problem" not in shown.lower()


@pytest.mark.parametrize("n_groups", [1, 3, 5])
def test_undecided_groups_have_a_next_step(kept: RunView, n_groups: int) -> None:
    view = judged(kept, "robust", 0.0)
    headline_effect = view.headline("edit")[0]

    def group(i: int) -> Effect:
        return replace(
            headline_effect, group=Group(kind="class", value=f"k{i}"), verdict="inconclusive", estimate=0.01 * i, low=-0.1, high=0.2,
            n_patients=7 + i, patients_to_decide=50 + i, blind=False, classes_absent=(),
        )  # fmt: skip

    rest = [e for e in view.effects if e.tolerance is None or e.group == ALL]
    view = replace(view, effects=(*rest, *(group(i) for i in range(1, n_groups + 1))))
    (step,) = [s for s in next_steps(view, statements(view)) if s.about == "Undecided groups"]
    assert step.command.startswith("audit run")
    named = [int(g.images.removeprefix("Images of class k")) for g in step.groups]
    assert named == list(range(n_groups, max(0, n_groups - 3), -1)), "the three nearest to a finding"
    shown = screen(view)
    table = plain(shown[shown.index('<table class="undecided') :].split("</table>")[0])
    for i, row in zip(named, step.groups, strict=True):
        assert (row.shift, row.interval) == (f"{float(i):.1f}", "95 % CI −10.0 to 20.0; limit ±5")
        assert (row.n_patients, row.needed) == (7 + i, f"about {50 + i}")
        assert f"{row.images} {row.edit} {row.shift} ({row.interval}) {row.n_patients} {row.needed}" in " ".join(
            table.replace("( ", "(").replace(" )", ")").split()
        )
    assert ("2 more groups" in step.text) == (n_groups == 5)
    found = judged(view, "sensitive")
    assert all(s.about != "Undecided groups" for s in next_steps(found, statements(found))), (
        "the suspect is found already"
    )


@pytest.mark.parametrize(
    ("times", "says"), [(20, "Add images of further patients"), (21, "Treat the question as open")]
)
def test_nobody_is_asked_for_patients_that_do_not_exist(kept: RunView, times: int, says: str) -> None:
    view = judged(kept, "inconclusive", 0.04)
    decided = [
        replace(e, patients_to_decide=times * e.n_patients) if e.verdict == "inconclusive" and e.group == ALL else e
        for e in view.effects
    ]
    view = replace(view, effects=tuple(decided))
    steps = [
        s.text for s in next_steps(view, statements(view)) if "patients would" in s.text and "Collect" not in s.text
    ]
    assert steps and all(says in text for text in steps)


def test_an_incomplete_run_shows_nothing_but_that(kept: RunView) -> None:
    view = replace(kept, verdict=replace(kept.verdict, status="incomplete", summary="The control moved by 0.3."))
    shown = screen(view)
    assert "The control moved by 0.3." in shown
    assert "What was tested" not in shown
    assert 'class="numbers"' not in shown
    assert "Detection rate" not in shown


def test_every_status_and_verdict_is_explained() -> None:
    assert set(STATUSES) == set(get_args(Status))
    assert set(ANSWERS) == set(get_args(EffectVerdict))


def test_no_word_needs_a_definition_that_is_not_there(kept: RunView) -> None:
    """Words of statistics that a reader may not know: each one that stands on the screen is one of its terms."""
    html = screen(judged(kept, "sensitive"))
    shown = plain(html)
    page = Page(html)
    ids = {a["id"] for _, a in page.found if a.get("id")}
    for name in TERMS:
        assert f"term-{name.replace(' ', '-').lower()}" in ids
    for word in (
        "shortcut_sensitivity",
        "shortcut sensitivity",
        "total variation",
        "bootstrap",
        "sufficiency",
        "text-mask-black",
    ):
        assert word not in shown.split("Terms on this screen")[0], word
    used = [a for tag, a in page.found if tag == "a" and a.get("class") == "term"]
    assert used
    assert all(
        (a["href"] or "")[1:] in ids and a["aria-describedby"] in ids and a["data-tip"] in TERMS.values() for a in used
    )


def test_terms_are_marked_once_and_everything_is_escaped() -> None:
    marked = terms_explained('<b>limit</b> & limit, the placebo of "placebos"')
    assert marked.count('class="term"') == 2
    assert "<b>" not in marked
    assert unescape(re.sub(r"</?a[^>]*>", "", marked)) == '<b>limit</b> & limit, the placebo of "placebos"'


def test_names_for_people_stand_in_for_names_of_conditions(kept: RunView) -> None:
    """A hostile title is text; without one the condition's own name stands there, which `bind` gives it."""
    evil = "</script><b>Text\u202e gone"
    conditions = [{**as_plain(c), "title": evil} for c in kept.plan.suite.conditions]
    view = replace(kept, plan=plan_with(kept.plan, suite={"conditions": conditions}))
    text = within_budget(view, MAX_BYTES).html.decode()
    assert "<b>Text" not in text
    assert "\u202e" not in text
    assert Page(text).open == []
    assert "\u202e" not in headline(view)


def test_each_section_is_folded_to_one_line(kept: RunView) -> None:
    text = within_budget(kept, MAX_BYTES).html.decode()
    for section in OWN:
        if section.name in ("verdict", "edited") or section.view(kept) is None:
            continue
        part = text[text.index(f'<section id="{section.name}"') :]
        opening = (
            r'<section id="[^"]+" aria-labelledby="([^"]+)">\s*<details class="fold">\s*<summary><h2 id="\1">.+?</h2> '
        )
        head = re.match(opening + r'<span class="result">(.+?)</span></summary>', part)
        assert head, section.name
        assert len(unescape(head[2])) < 400, section.name


def test_the_navigation_marks_findings(kept: RunView) -> None:
    def mark(view: RunView, name: str) -> str:
        text = within_budget(view, MAX_BYTES).html.decode()
        nav = text[text.index("<nav") : text.index("</nav>")]
        entry = nav[nav.index(f'href="#{name}"') :]
        found = re.match(r"[^\n]*?</a>(?:<span class=\"state (\w+)\")?", entry)
        assert found
        return found[1] or ""

    assert mark(judged(kept, "sensitive"), "effects") == "found"
    assert mark(judged(kept, "inconclusive"), "effects") == "undecided"
    assert mark(judged(kept, "robust"), "effects") == ""
    assert mark(kept, "methods") == ""


def test_table_of_images_is_the_runs(small_run: Path) -> None:
    """A naive replica from the predictions: the largest half sum of changes under any draw of any edit."""
    view = read_run(small_run)
    assert view.moved is not None
    rows = list(
        prediction_rows(
            RunFolder(small_run), view.plan.model.classes, ["record_id", "condition", "applied", "probabilities"]
        )
    )
    clean = {r["record_id"]: r["probabilities"] for r in rows if r["condition"] == "clean"}
    edits = {c.name for c in view.judged() if c.role == "edit"}
    largest: dict[str, float] = {}
    for r in rows:
        if r["condition"] in edits and r["applied"]:
            moved = sum(abs(a - b) for a, b in zip(r["probabilities"], clean[r["record_id"]], strict=True)) / 2
            largest[r["record_id"]] = max(moved, largest.get(r["record_id"], 0.0))
    assert view.moved.n_images == len(largest)
    shown = {m.record: m.moves[0].change for m in view.moved.images}
    assert shown == {k: pytest.approx(largest[k], abs=1e-4) for k in shown}
    assert len(shown) == min(100, len(largest))
    changes = [m.moves[0].change for m in view.moved.images]
    assert changes == sorted(changes, reverse=True)
    text = within_budget(view, MAX_BYTES).html.decode()
    assert text.count('data-image="') == len(shown)


def test_cases_show_the_placebo_and_say_why(small_run: Path) -> None:
    view = read_run(small_run)
    text = within_budget(view, MAX_BYTES).html.decode()
    with_placebo = [e for e in view.examples if e["placebo"]]
    assert with_placebo, "placebos were drawn"
    for e in view.examples:
        part = text[text.index(f'id="case-{e["case"]}"') :]
        part = part[: part.index("</details>")]
        assert e["why"] in unescape(part)
        assert ("Placebo, " in part) == bool(e["placebo"])
        assert str(e["label"]) in unescape(part)


def test_every_condition_that_was_applied_has_its_pictures(small_run: Path) -> None:
    view = read_run(small_run)
    used = {name for name, use in view.uses.items() if use.n_images and name != "clean"}
    assert set(view.thumbnails) >= used
    assert all(t["clean"] and t["edit"] for t in view.thumbnails.values())
    for row in question_rows(view, statements(view)):
        assert row.thumbnail is not None or row.size == "–"
    text = within_budget(view, MAX_BYTES).html.decode()
    for condition in (*view.judged(), *view.measured()):
        place = text.index(f'id="condition-{condition.name}"')
        row_html = text[place : text.index("</tr>", place)]
        assert view.title(condition.name) in unescape(row_html)
        assert condition.question in unescape(row_html)
        assert ('alt="' in row_html) == (condition.name in view.thumbnails), condition.name


def test_an_effect_that_only_the_correction_leaves_open_shows_the_corrected_interval(kept: RunView) -> None:
    """Undecided beside an interval that exceeds the limit would contradict itself."""

    def changed(e: Effect) -> Effect:
        if e.tolerance is None or e.group != ALL or e.measure != "shortcut_sensitivity":
            return e
        return replace(e, low=0.06, high=0.3, simultaneous_low=0.01, simultaneous_high=0.35)

    view = replace(judged(kept, "inconclusive"), effects=tuple(map(changed, judged(kept, "inconclusive").effects)))
    row = question_rows(view, statements(view))[0]
    assert row.interval == "95 % CI 1.0 to 35.0, corrected for multiple comparisons; limit ±5"
    assert row.strip is not None
    assert row.strip.outer is not None
    assert row.strip.outer[0] < row.strip.low < row.strip.high < row.strip.outer[1]
    found = replace(
        view, effects=tuple(replace(e, verdict="sensitive") if e.verdict == "inconclusive" else e for e in view.effects)
    )
    assert "6.0 to 30.0; limit 5" in question_rows(found, statements(found))[0].interval


def test_a_state_that_is_none_and_a_state_that_is_wrong(kept: RunView) -> None:
    states = {section.name: None if section.state is None else section.state(kept) for section in OWN}
    assert set(states.values()) <= {None, "found", "undecided", "quiet"}
    assert {name for name, state in states.items() if state is not None} >= {
        "verdict",
        "gates",
        "effects",
        "groups",
        "controls",
    }
