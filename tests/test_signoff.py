"""Several reviewers of one run: every review is kept, disagreements are shown, and all of it is exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import UsageError
from audit.reports.export.model_card import model_card
from audit.reports.findings.review import (
    evidence_digest,
    findings,
    read_signoff,
    review_sentence,
    reviewed_findings,
    standing_reviews,
)
from audit.reports.page.html import render_html
from audit.reports.reading.folder import read_run
from audit.store.folder import verify_run
from audit.store.review import Answer, Review

from .conftest import Audit
from .golden.make_report import RUN


def saved(folder: Path, run: Path, reviewer: str, answers: dict[str, str], **more: Any) -> Path:
    """Write a review as the report's page saves it."""
    rows = [{"id": name, "answer": answer, "comment": f"{reviewer} on {name}"} for name, answer in answers.items()]
    document = {
        "kind": "audit-signoff",
        "evidence": evidence_digest(read_run(run)),
        "reviewer": reviewer,
        "saved": "2026-01-01",
    }
    path = folder / f"{reviewer.lower()}.json"
    path.write_text(json.dumps({**document, "findings": rows, **more}))
    return path


def section(run: Path) -> str:
    page = render_html(run).read_text()
    return page[page.index('<section id="signoff"') :]


def test_two_reviewers_stand_side_by_side_and_their_disagreement_is_marked(
    audit: Audit, kept: Path, tmp_path: Path
) -> None:
    ada = saved(tmp_path, kept, "Ada", {"accuracy": "agree", "controls": "agree"})
    ben = saved(tmp_path, kept, "Ben <b>", {"accuracy": "disagree"})
    code, _, err = audit("report", kept, "--signoff", ada, "--signoff", ben)
    assert code == 0, err
    run = read_run(kept)
    assert [r.reviewer for r in run.reviews] == ["Ada", "Ben <b>"]
    assert review_sentence(run) == "reviewed by Ada and Ben <b>: 1 finding doubted, reviewers disagree about 1"
    text = section(kept)
    assert text.count("reviewers disagree</span>") == 1
    assert text.index("Ada on accuracy") < text.index("Ben &lt;b&gt; on accuracy") < text.index("Ada on controls")
    navigation = render_html(kept).read_text().split("</nav>")[0]
    assert (
        'class="state undecided"'
        in navigation[navigation.index('href="#signoff"') - 200 : navigation.index('href="#signoff"') + 200]
    )
    assert verify_run(kept) == []
    card = model_card(run)
    assert "Ada: agree" in card
    assert "Ben &lt;b&gt;: disagree" in card


def test_a_later_review_of_a_person_replaces_the_earlier_one(kept: Path, tmp_path: Path) -> None:
    read_signoff(kept, saved(tmp_path, kept, "Ada", {"accuracy": "agree"}))
    read_signoff(kept, saved(tmp_path, kept, "Ben", {"accuracy": "agree"}))
    read_signoff(kept, saved(tmp_path, kept, "ADA", {"accuracy": "cannot judge"}))
    run = read_run(kept)
    assert [(r.reviewer, r.findings[0].answer) for r in run.reviews] == [("Ben", "agree"), ("ADA", "cannot judge")]
    assert "reviewers disagree about 1" in review_sentence(run)


def test_what_one_copy_keeps_another_takes(kept: Path, tmp_path: Path) -> None:
    for name in ("Ada", "Ben"):
        read_signoff(kept, saved(tmp_path, kept, name, {"accuracy": "agree"}))
    exported = tmp_path / "all.json"
    exported.write_text((kept / "signoff.json").read_text())
    (kept / "signoff.json").unlink()
    read_signoff(kept, saved(tmp_path, kept, "Cyd", {"accuracy": "agree"}))
    read_signoff(kept, exported)
    assert [r.reviewer for r in read_run(kept).reviews] == ["Cyd", "Ada", "Ben"]
    broken = json.loads(exported.read_text())
    broken["reviews"][1]["evidence"] = "0" * 64
    exported.write_text(json.dumps(broken))
    before = (kept / "signoff.json").read_text()
    with pytest.raises(UsageError, match="review of other files"):
        read_signoff(kept, exported)
    assert (kept / "signoff.json").read_text() == before, "all of a file or nothing"


def test_a_review_of_other_files_is_named_and_does_not_count(kept: Path, tmp_path: Path) -> None:
    read_signoff(kept, saved(tmp_path, kept, "Ada", {"accuracy": "disagree"}))
    document = json.loads((kept / "signoff.json").read_text())
    document["reviews"][0]["evidence"] = "0" * 64
    (kept / "signoff.json").write_text(json.dumps(document))
    text = section(kept)
    assert "does not apply to this report" in text
    assert "Ada on accuracy" not in text
    assert "reviewed on other files than these" in text


_ANSWERS = st.sampled_from(["agree", "disagree", "cannot judge"])


@given(st.lists(st.dictionaries(st.integers(0, 2), _ANSWERS, min_size=1), min_size=1, max_size=4))
def test_a_finding_is_disputed_where_answers_differ(given_answers: list[dict[int, Any]]) -> None:
    run = read_run(RUN)
    names = [f.id for f in findings(run)]
    reviews = [
        Review(
            kind="audit-signoff",
            evidence=evidence_digest(run),
            reviewer=f"r{i}",
            findings=tuple(Answer(id=names[k], answer=a) for k, a in answers.items()),
        )
        for i, answers in enumerate(given_answers)
    ]
    found = reviewed_findings(run, reviews)
    assert {f.id for f in found} == {names[k] for answers in given_answers for k in answers}
    for f in found:
        mine = [answers[names.index(f.id)] for answers in given_answers if names.index(f.id) in answers]
        assert [a.answer for a in f.answers if a is not None] == mine
        assert f.disagreed == (len(set(mine)) > 1)
    assert [f.disagreed for f in found] == sorted((f.disagreed for f in found), reverse=True)
    assert standing_reviews(run) == []
