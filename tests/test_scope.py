"""What a verdict speaks of: by what conditions declare, never by their names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audit.data.plan import PlannedCondition, PlannedData
from audit.gates.scope import find_caveats, find_scope
from audit.store.controls import Blindness
from audit.store.group import parse_group

from .documents import plan_with, planned
from .test_power import EFFECT


def condition(name: str, *, lacks: str = "", **declared: list[str]) -> PlannedCondition:
    return planned(name, cohort_lacks=lacks, declared=declared)


def data(n_seen: int) -> PlannedData:
    return plan_with(data={"n_seen_in_training": n_seen, "n_images": 9}).data


@pytest.mark.parametrize("how", ["removes", "adds", "keeps"])
def test_a_content_is_tested_where_a_judged_effect_concerns_it(how: str) -> None:
    found = find_scope([condition("mask", **{how: ["text"]})], [EFFECT])
    assert [words.split()[1] for words in found.tested] == ["text"]
    assert not any(words.startswith("printed text") for words in found.not_tested)


@pytest.mark.parametrize(
    "effect",
    [
        replace(EFFECT, estimate=None),
        replace(EFFECT, tolerance=None),
        replace(EFFECT, verdict="void"),
        replace(EFFECT, group=parse_group("class=covid")),
    ],
)
def test_without_a_judged_estimate_nothing_is_tested(effect: object) -> None:
    found = find_scope([condition("mask", removes=["text"])], [effect])  # type: ignore[list-item]
    assert found.tested == ()
    assert any(words.startswith("printed text") for words in found.not_tested)


def test_the_reason_stands_beside_what_the_cohort_lacks() -> None:
    found = find_scope([condition("look", lacks="class with several sources", adds=["look"])], [])
    assert any("the cohort has no class with several sources" in words for words in found.not_tested)
    assert any("objects without text" in words for words in found.not_tested), "whatever the suite"


def test_images_that_trained_the_network_are_a_caveat() -> None:
    assert find_caveats(data(0), []) == ()
    assert find_caveats(data(9), [])[0].startswith("All audited images")
    assert find_caveats(data(2), [])[0].startswith("2 of the 9 audited images")
    assert find_caveats(data(0), [Blindness(kind="narrow", classes=(), total=True, sentence="It is blind.")]) == (
        "It is blind.",
    )
