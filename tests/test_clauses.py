"""Titles inside sentences: every condition that a suite of this package has becomes a clause; titles of others are quoted."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.data.conditions import Condition
from audit.data.strings import shown_string
from audit.perturbations import PERTURBATIONS
from audit.reports.reading.clauses import clause
from audit.suites.objects import with_objects
from audit.suites.reader import load_suite, suite_names

CONDITIONS = {
    condition.title: condition
    for name in suite_names()
    for condition in with_objects(load_suite(name), ["0" * 64, "1" * 64]).conditions
    if condition.role != "clean"
}


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS)
def test_every_condition_reads_as_a_clause(condition: Condition) -> None:
    said = clause(condition.title)
    assert re.match("when [a-z]", said), (
        f"{condition.title!r} is quoted: say what is done to what, or whose property is given"
    )
    verbs = re.findall(r"\b(?:is|are)\b", said)
    assert len(verbs) == 1
    # Nothing of the title is lost: its words stand in the clause, in their order.
    words = iter(re.findall(r"[\w.]+", said.casefold()))
    assert all(word in words for word in re.findall(r"[\w.]+", condition.title.casefold()))


def test_every_perturbation_is_checked_so() -> None:
    used = {condition.perturbation for condition in CONDITIONS.values()}
    assert used >= {name for name in PERTURBATIONS if name != "clean"}


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("Text inpainted", "when the text is inpainted"),
        ("Same shapes elsewhere covered in grey", "when the same shapes elsewhere are covered in grey"),
        ("Text of another class swapped in", "when text of another class is swapped in"),
        ("Own text pasted back", "when the image's own text is pasted back"),
        ("Only the text kept", "when only the text is kept"),
        ("Only the lungs and a margin kept", "when only the lungs and a margin are kept"),
        ("The bounding box of the lungs removed", "when the bounding box of the lungs is removed"),
        ("Look of another source", "when the image is given the look of another source"),
        ("JPEG compression of the same source", "when the image is given the JPEG compression of the same source"),
        ("Text of another class added, opacity 0.25", "when text of another class is added (opacity 0.25)"),
        ("Noise added, severity 3", "when noise is added (severity 3)"),
        ("Object 1 inpainted", "when object 1 is inpainted"),
        ("Patch without object 1 added", "when a patch without object 1 is added"),
        ("Image brightened", "when the image is brightened"),
        ("Windowed", "under “Windowed”"),
        ("Removal of the pacemaker", "under “Removal of the pacemaker”"),
    ],
)
def test_clauses_by_hand(title: str, said: str) -> None:
    assert clause(title) == said


@given(st.text(max_size=80))
def test_any_title_gives_a_clause_and_keeps_its_letters(text: str) -> None:
    title = shown_string(text)
    said = clause(title)
    assert said.startswith(("when ", "under “"))
    assert set(title.casefold()) - set(" ,") <= set(said.casefold())
