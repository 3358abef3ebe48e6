"""Reviewers' standards: every sentence that is quoted stands where it is said to stand, and nothing else is called filled."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import pytest
from msgspec import structs

from audit.data.bundle_record import RECORDED_KIND
from audit.reports.findings.review import evidence_digest
from audit.reports.page.html import MAX_BYTES, within_budget
from audit.reports.reading.folder import read_run
from audit.reports.reading.view import RunView
from audit.reports.standards.filling import ANSWERS, fill_standards
from audit.reports.standards.lists import read_standards
from audit.store.group import ALL
from audit.store.review import Review

from .conftest import Audit
from .report_runs import Page, edit, item_of, unfound_references

LETTERED = {3: 3, 5: 2, 6: 3, 8: 3, 9: 3, 12: 7, 18: 6, 20: 3, 23: 2, 27: 3}
"""Item of TRIPOD+AI -> number of its lettered parts: 52 entries in all."""
NUMBERS = {
    "CLAIM 2024": [str(n) for n in range(1, 45)],
    "TRIPOD+AI": [
        f"{n}{letter}" for n in range(1, 28) for letter in ("abcdefg"[: LETTERED[n]] if n in LETTERED else [""])
    ],
    "AI Act, Annex IV": [
        *(f"1({letter})" for letter in "abcdefgh"),
        *(f"2({letter})" for letter in "abcdefgh"),
        *"3456789",
    ],
}
"""As the standards number their items."""
FDA_SECTIONS = ["V", "VI.A", "VI.B", "VII", "VIII", "IX", "X", "X.A", "XI", "XII", "XIII"]
"""Those of the draft that say what a submission should contain."""
DEVELOPMENT_ONLY = {"9a", "12a", "12b", "12c", "15", "22", "27a", "27b"}
"""Items that TRIPOD+AI asks of studies that develop a model, and of no other."""


def test_items_are_numbered_as_in_the_standards() -> None:
    by_name = {standard.name: [item.number for item in standard.item] for standard in read_standards()}
    for name, numbers in NUMBERS.items():
        assert by_name.pop(name) == numbers, name
    assert len(NUMBERS["TRIPOD+AI"]) == 52
    ((name, numbers),) = by_name.items()
    assert "draft" in name, "a draft is called one"
    assert list(dict.fromkeys(number.split(",")[0] for number in numbers)) == FDA_SECTIONS
    assert len(set(numbers)) == len(numbers)


def test_items_have_one_fate_each_and_every_answer_is_used() -> None:
    items = [item for standard in read_standards() for item in standard.item]
    for item in items:
        assert sum(map(bool, (item.answer, item.person, item.not_applicable))) == 1, item
        assert not item.left or item.answer, item
        assert not item.answer or item.answer in ANSWERS, item
    assert {item.answer for item in items} - {""} == set(ANSWERS)
    tripod = next(standard for standard in read_standards() if standard.name == "TRIPOD+AI")
    assert {i.number for i in tripod.item if "develop" in i.not_applicable} == DEVELOPMENT_ONLY


def variants(kept: Path) -> dict[str, RunView]:
    run = read_run(kept)
    review = Review(kind="audit-signoff", reviewer="R", saved="2026-01-01", evidence=evidence_digest(run), findings=())
    foreign = structs.replace(run.plan.model.training, provenance={"opened_as": RECORDED_KIND, "n_answers": 3})
    model = structs.replace(run.plan.model, training=structs.replace(foreign, metrics={}))
    return {
        "as it is": run,
        "signed": dataclasses.replace(run, reviews=(review,)),
        "without maps and groups": dataclasses.replace(
            run, relevance=(), relevance_summary=None, effects=tuple(e for e in run.effects if e.group == ALL)
        ),
        "nothing measured": dataclasses.replace(run, effects=(), examples=(), moved=None),
        "a control failed": dataclasses.replace(
            run, verdict=dataclasses.replace(run.verdict, status="incomplete", summary="A control failed.")
        ),
        "a product": dataclasses.replace(run, plan=structs.replace(run.plan, model=model)),
    }


@pytest.mark.parametrize("told_by", ["manifest", "bundle", "nobody"])
def test_every_sentence_that_is_quoted_stands_where_it_is_said_to(kept: Path, told_by: str) -> None:
    name = "all" if told_by == "nobody" else "test"
    edit(kept / "plan.json", lambda d: d["data"].update(split_name=name, split_told_by=told_by))
    runs = variants(kept)
    for which, run in runs.items() if told_by == "manifest" else [("as it is", runs["as it is"])]:
        assert unfound_references(run) == [], which
        for one in fill_standards(run):
            for item in one.items:
                assert bool(item.references) == (item.state in ("filled", "partly filled")), item
                assert bool(item.left) == (item.state in ("partly filled", "to be filled")), item
                assert bool(item.why_not) == (item.state == "not applicable"), item
    disjoint = item_of(runs["as it is"], "CLAIM", "20")
    assert disjoint.state == ("filled" if told_by == "manifest" else "partly filled")


def test_a_sentence_that_is_elsewhere_is_noticed(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = read_run(kept)
    (sentence,) = [r.sentence for r in item_of(run, "CLAIM", "21").references]
    moved = re.sub(r"\d+\.\d", "0.0", sentence)
    from audit.reports.standards import result_answers

    monkeypatch.setattr(result_answers, "reach", lambda _: moved)
    assert [line for line in unfound_references(run) if moved in line and "verdict" in line]


def test_nothing_that_a_run_lacks_is_called_filled(kept: Path) -> None:
    runs = variants(kept)
    for which, standard, number in (
        ("without maps and groups", "CLAIM", "31"),
        ("without maps and groups", "CLAIM", "33"),
        ("without maps and groups", "CLAIM", "36"),
        ("without maps and groups", "TRIPOD", "14"),
        ("nothing measured", "CLAIM", "29"),
        ("nothing measured", "CLAIM", "30"),
        ("nothing measured", "CLAIM", "21"),
        ("nothing measured", "CLAIM", "32"),
        ("a control failed", "CLAIM", "30"),
        ("a product", "CLAIM", "24"),
        ("a product", "CLAIM", "25"),
        ("a product", "CLAIM", "26"),
        ("as it is", "FDA", "X.A, repeatability"),
    ):
        assert item_of(runs[which], standard, number).state == "to be filled", (which, number)
        assert item_of(runs[which], standard, number).references == ()
    assert item_of(runs["as it is"], "CLAIM", "30").state == "filled"
    unsigned, signed = (item_of(runs[which], "AI Act", "2(g)") for which in ("as it is", "signed"))
    assert "a signed review" in unsigned.left
    assert "a signed review" not in signed.left
    seen = runs["as it is"].plan
    leaked = structs.replace(seen, data=structs.replace(seen.data, n_seen_in_training=2))
    assert item_of(dataclasses.replace(runs["as it is"], plan=leaked), "CLAIM", "20").state != "filled"


def test_the_section_links_to_what_exists_and_prints_short(kept: Path) -> None:
    page = Page(within_budget(read_run(kept), MAX_BYTES).html.decode())
    ids = {a["id"] for _, a in page.found if a.get("id")}
    places = {r.place for one in fill_standards(read_run(kept)) for item in one.items for r in item.references}
    assert places <= ids
    assert {f"standard-{n}" for n in range(1, 5)} <= ids


def test_the_export_holds_every_item(audit: Audit, kept: Path, tmp_path: Path) -> None:
    code, out, err = audit("export", "standards", kept)
    assert (code, err) == (0, "")
    document = json.loads(out)
    filled = fill_standards(read_run(kept))
    assert [s["name"] for s in document["standards"]] == [one.standard.name for one in filled]
    states = [i["state"] for s in document["standards"] for i in s["items"]]
    assert states == [item.state for one in filled for item in one.items]
    table = tmp_path / "standards.csv"
    code, out, err = audit("export", "standards", kept, "--out", table)
    assert (code, out.strip(), err) == (0, str(table), "")
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [row["state"] for row in rows] == states
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())


def test_a_foreign_name_is_no_formula(audit: Audit, kept: Path, tmp_path: Path) -> None:
    edit(kept / "plan.json", lambda d: d["model"].update(name="=1+1"))
    code, _, err = audit("export", "standards", kept, "--out", tmp_path / "s.csv")
    assert code == 0, err
    rows = list(csv.DictReader(io.StringIO((tmp_path / "s.csv").read_text())))
    cells = [row["sentences"] for row in rows if "1+1" in row["sentences"]]
    assert cells and all(cell.startswith("'=1+1") for cell in cells if cell.lstrip("'").startswith("=1+1"))
