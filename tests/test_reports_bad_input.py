"""Folders and reviews that were damaged, edited or made up: a page with a note, or one sentence and its exit code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.reports.figures.axis import nice_step
from audit.reports.findings.review import evidence_digest
from audit.reports.reading.folder import read_run

from .conftest import Audit, one_paragraph
from .golden.make_report import RUN
from .report_runs import edit

OTHER_FORMS = (["report", "--compare", RUN], ["export", "cyclonedx"], ["export", "model-card"])


def half(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def of_text(document: Any) -> list[Any]:
    return [e for e in document["effects"] if e["placebo"] and e["measure"] == "shortcut_sensitivity"]


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "half of effects.json": (lambda run: half(run / "effects.json"), "effects.json is not valid JSON"),
    "half of a table": (lambda run: half(run / "regions.parquet"), "regions.parquet cannot be read as a Parquet table"),
    "half of the predictions": (
        lambda run: half(next((run / "predictions").glob("*.parquet"))),
        "cannot be read as a Parquet table",
    ),
    "no plan": (lambda run: (run / "plan.json").unlink(), "plan.json cannot be read"),
    "not finished": (lambda run: edit(run / "run.json", lambda d: d.update(status="running")), "is not complete"),
    "older": (
        lambda run: edit(run / "verdict.json", lambda d: d.update(schema_version=0)),
        "not have schema version 1",
    ),
    "no number": (
        lambda run: edit(run / "run.json", lambda d: d["timings"].update(predicting=float("nan"))),
        "run.json is not valid JSON: NaN is not a number",
    ),
    "infinite": (
        lambda run: (run / "effects.json").write_text(
            re.sub(r'"estimate": [\d.]+', '"estimate": 1e400', (run / "effects.json").read_text(), count=1)
        ),
        "effects.json is not valid JSON: 1e400 is not a number",
    ),
    "endless": (lambda run: (run / "verdict.json").write_text("[" * 100_000), "nested too deeply"),
    "words for numbers": (
        lambda run: edit(run / "effects.json", lambda d: [e.update(estimate="much") for e in of_text(d)]),
        "not have the format of this version of audit",
    ),
    "unknown role": (
        lambda run: edit(run / "plan.json", lambda d: d["suite"]["conditions"][1].update(role="king")),
        "suite.conditions[1].role must be clean or control or edit or placebo or stress or sufficiency, found 'king'",
    ),
    "a field too many": (
        lambda run: edit(run / "run.json", lambda d: d.update(hostname="H")),
        "the document has a field hostname, which is not known",
    ),
    "a review that is none": (
        lambda run: (run / "signoff.json").write_text('{"schema_version": 1}'),
        "signoff.json does not hold reviews as `audit report --signoff` writes them. Delete it",
    ),
    "a review of no shape": (
        lambda run: (run / "signoff.json").write_text(
            '{"schema_version": 1, "reviewer": "R", "evidence": "", "saved": "", "findings": 5}'
        ),
        "signoff.json does not hold reviews",
    ),
    "a picture of another kind": (
        lambda run: edit(
            run / "examples" / "examples.json", lambda d: d["examples"][0]["clean"].update(file="../../etc/passwd")
        ),
        "neither .jpg nor .png",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_folder_is_one_sentence(audit: Audit, kept: Path, damage: str) -> None:
    harm, says = DAMAGES[damage]
    harm(kept)
    for form in (["report"], *OTHER_FORMS):
        code, out, err = audit(*form, kept)
        assert (code, out) == (4, ""), (form, out)
        assert says in one_paragraph(err), form


def test_gate_of_words_is_one_sentence(audit: Audit, kept: Path) -> None:
    edit(kept / "verdict.json", lambda d: d["gates"][0].update(actual="high"))
    code, _, err = audit("report", kept)
    assert (code, "not have the format of this version of audit" in one_paragraph(err)) == (4, True)


@pytest.mark.parametrize("change", ["huge numbers", "no effects", "no cases", "hostile name"])
def test_edited_folder_is_rendered_under_a_warning(audit: Audit, kept: Path, change: str) -> None:
    name = "</script><script>alert(1)</script>\u202egnp" + "W" * 300
    if change == "huge numbers":
        edit(kept / "effects.json", lambda d: [e.update(high=1e300) for e in of_text(d)])
    elif change == "no effects":
        edit(kept / "effects.json", lambda d: d.update(effects=[], trends=[]))
    elif change == "no cases":
        edit(kept / "examples" / "examples.json", lambda d: d.update(examples=[]))
    else:
        edit(kept / "plan.json", lambda d: d["model"].update(name=name))
    for form in (["report"], *OTHER_FORMS):
        code, _, err = audit(*form, kept)
        assert code == 0, err
    page = (kept / "report.html").read_text()
    assert page.index("changed after the run") < page.index('id="verdict"')
    assert "<script>alert" not in page


def test_step_is_found_for_any_span() -> None:
    for span in (1e-300, 0.35, 7.0, 1e300):
        step = nice_step(span)
        assert 2 < span / step <= 7 * (1 + 1e-9)


def review(run: Path) -> dict[str, Any]:
    return {
        "kind": "audit-signoff",
        "evidence": evidence_digest(read_run(run)),
        "reviewer": "R",
        "saved": "2026-01-01",
        "findings": [{"id": "accuracy", "answer": "agree", "comment": "c"}],
    }


def answering(**more: object) -> dict[str, object]:
    return {"findings": [{"id": "accuracy", "answer": "agree", **more}]}


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "another run's": ({"evidence": "0" * 64}, "is a review of other files"),
    "codes of a terminal": ({"evidence": "\x1b[2J"}, r"its evidence is '\x1b[2J'"),
    "nobody's": ({"reviewer": " \n"}, "names no reviewer"),
    "a number's": ({"reviewer": 5}, "reviewer must be a string, found 5"),
    "without answers": ({"findings": {"a": 1}}, "findings must be a list"),
    "of a string": ({"findings": ["\x1b[2J"]}, r"findings[0] must be an object, found '\x1b[2J'"),
    "of a list": (answering(id=["accuracy"]), "findings[0].id must be a string"),
    "of an unknown finding": (answering(id="</td>"), "not a finding of this run"),
    "with another answer": (answering(answer="splendid"), "findings[0].answer must be"),
    "of another day": ({"saved": 5}, "saved must be a string, found 5"),
    "with more": ({"more": 1}, "has a field more, which is not known"),
    "without answers at all": ({"findings": []}, "answers no finding"),
    "twice": ({"findings": 2 * [{"id": "accuracy", "answer": "agree"}]}, "answers accuracy twice"),
    "with no number": ({"saved": float("nan")}, "NaN is not a number"),
    "too long": ({"reviewer": "W" * 1_100_000}, "is larger than 1000000 bytes"),
}


@pytest.mark.parametrize("which", REFUSED)
def test_review_that_is_refused(audit: Audit, kept: Path, tmp_path: Path, which: str) -> None:
    change, says = REFUSED[which]
    (tmp_path / "saved.json").write_text(json.dumps({**review(kept), **change}))
    code, _, err = audit("report", kept, "--signoff", tmp_path / "saved.json")
    assert code == 2
    assert says in one_paragraph(err)
    assert not (kept / "signoff.json").exists()


def test_text_that_is_no_review(audit: Audit, kept: Path, tmp_path: Path) -> None:
    for text in ("", "{", "[]", "null", '"x"', "[" * 100_000, "{}"):
        (tmp_path / "saved.json").write_text(text)
        code, _, err = audit("report", kept, "--signoff", tmp_path / "saved.json")
        assert (code, "saved.json" in one_paragraph(err)) == (2, True), text[:9]
    assert audit("report", kept, "--signoff", tmp_path)[0] == 4
    assert audit("report", kept, "--signoff", tmp_path / "none.json")[0] == 4


def test_review_is_kept_as_text(audit: Audit, kept: Path, tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script>\u202egnp \ud800\x00\x1b[2J"
    change = {
        "reviewer": hostile + "W" * 5000,
        "saved": "s" * 50,
        **answering(comment=hostile + "\n\n" + "x" * 9999),
    }
    (tmp_path / "saved.json").write_text(json.dumps({**review(kept), **change}))
    code, _, err = audit("report", kept, "--signoff", tmp_path / "saved.json")
    assert code == 0, err
    (saved,) = json.loads((kept / "signoff.json").read_text())["reviews"]
    assert [len(saved["reviewer"]), len(saved["findings"][0]["comment"]), saved["saved"]] == [300, 4000, "s" * 40]
    assert not re.search(r"[\x00-\x1f\ud800]", saved["reviewer"] + saved["findings"][0]["comment"])
    page = (kept / "report.html").read_text()
    assert "<script>alert" not in page
    assert "Reviewed by <bdi>&lt;/script&gt;" in page, "what turns text round ends with the name"
    assert "changed after the run" not in page
