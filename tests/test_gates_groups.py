"""Rules for every group of a kind: a shortcut of few images must not hide in the mean over all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import UnknownNameError, UsageError
from audit.gates.defaults import config_for
from audit.gates.judging import judge
from audit.gates.rules import GateConfig, rules_from_config
from audit.store.group import parse_group
from audit.store.results import Effect
from audit.store.verdict import GateResult, Verdict
from audit.suites.reader import load_suite

from .conftest import CLASSES, Audit, quick_audit
from .test_gates import EFFECT, RAW, rule


def told(group: str, low: float, high: float, **changes: object) -> Effect:
    effect = replace(EFFECT, group=parse_group(group), estimate=(low + high) / 2, low=low, high=high, family="declared")
    effect = replace(effect, simultaneous_low=low, simultaneous_high=high)
    return replace(effect, **changes)  # type: ignore[arg-type]


ALL = told("all", 0.0, 0.03)
WITHIN = told("class=a", 0.0, 0.04)
UNDECIDED = told("class=b", 0.0, 0.09)
BEYOND = told("word=SEDUTO", 0.06, 0.2)
EVERY = rule(group=parse_group("*"), inconclusive="pass")


def judged(*effects: Effect, **changes: object) -> tuple[Verdict, GateResult]:
    verdict = judge(effects, GateConfig(rules=(replace(EVERY, **changes),)))  # type: ignore[arg-type]
    (gate,) = verdict.gates
    return verdict, gate


def test_one_group_that_is_shown_to_lie_beyond_fails_the_run() -> None:
    verdict, gate = judged(ALL, WITHIN, UNDECIDED, BEYOND)
    assert (verdict.status, gate.status) == ("fail", "fail")
    assert gate.where == "mask compared with elsewhere, word=SEDUTO"
    assert (gate.actual, gate.low, gate.high) == (BEYOND.estimate, 0.06, 0.2)
    assert "The most extreme of 3 effects: 1 fail, 1 inconclusive, 1 pass." in gate.reason
    further = told("class=a", 0.1, 0.3, condition="paste")
    assert judged(ALL, BEYOND, further)[1].where == "paste compared with elsewhere, class=a"


def test_what_is_undecided_is_told_and_does_what_the_rule_says() -> None:
    for policy, status in (("pass", "pass"), ("block", "inconclusive"), ("fail", "fail"), (None, "inconclusive")):
        verdict, gate = judged(ALL, WITHIN, UNDECIDED, inconclusive=policy)
        assert (verdict.status, gate.status) == (status, "inconclusive"), policy
        assert gate.where == "mask compared with elsewhere, class=b"
    assert "could not be decided (r), which the policy allows" in judged(ALL, UNDECIDED)[0].summary
    assert judged(ALL, WITHIN)[1].status == "pass"


def test_the_gate_of_all_groups_is_the_worst_of_a_gate_for_each() -> None:
    @given(
        st.lists(st.tuples(st.floats(-0.2, 0.2), st.floats(0, 0.2)), min_size=1, max_size=6),
        st.sampled_from(["<=", ">="]),
    )
    def holds(ends: list[tuple[float, float]], operator: str) -> None:
        effects = [told(f"class={i}", low, low + width) for i, (low, width) in enumerate(ends)]
        asked = replace(EVERY, operator=operator, group=parse_group("class=*"))  # type: ignore[arg-type]
        (gate,) = judge([ALL, *effects], GateConfig(rules=(asked,))).gates
        each = tuple(replace(asked, id=f"r{i}", group=e.group, condition="mask") for i, e in enumerate(effects))
        found = [g.status for g in judge([ALL, *effects], GateConfig(rules=each)).gates]
        assert gate.status == min(found, key=["fail", "inconclusive", "pass"].index)
        assert "all" not in gate.where.split(", ")

    holds()


def test_star_is_about_what_is_judged_and_columns_about_what_is_told() -> None:
    source = told("source=north", 0.1, 0.2, family="exploratory", simultaneous_low=None, simultaneous_high=None)
    merely_told = replace(source, group=parse_group("class=c"))
    assert judged(ALL, WITHIN, source, merely_told)[1].status == "pass"
    assert judged(ALL, WITHIN, source, group=parse_group("source=*"))[1].status == "fail"
    assert judged(ALL, WITHIN, group=parse_group("class=*"))[1].status == "pass"
    # An edit that tells no word is not asked for one; that no edit tells any is said.
    paste = replace(ALL, condition="paste")
    assert judged(ALL, BEYOND, paste, group=parse_group("word=*"))[1].where.startswith("mask")
    verdict, gate = judged(ALL, paste)
    assert (verdict.status, gate.status, gate.n_images) == ("pass", "inconclusive", 0)
    assert "no class, output or word can be judged here" in gate.reason


def test_every_judged_edit_makes_one_gate() -> None:
    falls = replace(RAW, placebo="elsewhere", family="declared", estimate=-0.2, low=-0.3, high=-0.1)
    falls = replace(falls, simultaneous_low=-0.35, simultaneous_high=-0.06)
    hardly = replace(falls, condition="paste", estimate=-0.01, low=-0.04, high=0.02, simultaneous_high=0.04)
    merely_measured = replace(falls, condition="blur", family="exploratory", estimate=-0.9, low=-0.95, high=-0.8)
    asked = rule(measure="accuracy", operator=">=", limit=-0.05, condition="*")
    (gate,) = judge([falls, hardly, merely_measured], GateConfig(rules=(asked,))).gates
    assert (gate.id, gate.status, gate.where) == ("r", "fail", "mask compared with elsewhere, all images")
    assert "of 2 effects: 1 fail, 1 pass" in gate.reason
    each = judge([falls, hardly], GateConfig(rules=(replace(asked, condition=None),))).gates
    assert [(g.id, g.status) for g in each] == [("r-mask", "fail"), ("r-paste", "pass")]
    with pytest.raises(UsageError, match="any judged edit"):
        judge([falls, merely_measured], GateConfig(rules=(replace(asked, measure="brier"),)))
    row = {"id": "a", "measure": "accuracy", "min": -0.05, "where": {"condition": "*"}}
    config = config_for({"rule": [row]}, load_suite("quick"), {}, asked=False)
    assert config is not None
    assert config.rules[0].condition == "*"


def test_patterns_are_checked_before_anything_is_computed() -> None:
    row = {"id": "a", "measure": "accuracy", "min": -0.05, "where": {"group": "*"}}
    with pytest.raises(UsageError, match=r'write group = "class=\*"'):
        rules_from_config({"rule": [row]})
    with pytest.raises(UnknownNameError, match="inconclusive gate rule 'a'"):
        rules_from_config({"rule": [{**row, "where": {}, "inconclusive": "ignore"}]})
    suite, known = load_suite("quick"), {parse_group("all"), parse_group("class=covid")}
    by_sex = {"rule": [{**row, "where": {"group": "sex=*"}}]}
    with pytest.raises(UnknownNameError, match="group"):
        config_for(by_sex, suite, {}, asked=False, groups=known)
    with pytest.raises(UnknownNameError, match=r"group \(gate rule 'r'\)"):
        judged(ALL, WITHIN, group=parse_group("hospital=*"))
    by_class = {"rule": [{**row, "where": {"group": "class=*"}, "inconclusive": "pass"}]}
    config = config_for(by_class, suite, {}, asked=False, groups=known)
    assert config is not None
    assert (str(config.rules[0].group), config.rules[0].inconclusive) == ("class=*", "pass")


def test_every_class_and_word_of_a_run_is_held_against_a_baseline(
    audit: Audit, write_cohort: Callable[..., Path], known_bundle: Path
) -> None:
    manifest = write_cohort(20)
    first, second = (Path(audit(*quick_audit(manifest, "--seed", seed))[1].splitlines()[-1]).parent for seed in (0, 1))
    Path("audit.toml").write_text(
        '[[gate.rule]]\nid = "groups"\nmeasure = "shortcut_sensitivity"\nmax_increase = 0.9\nwhere = { group = "*" }\n'
    )
    assert audit("baseline", "accept", first)[0] == 0
    held = json.loads(audit("baseline", "show", "--json")[1])["entries"]
    assert {e["group"] for e in held} == {*(f"class={c}" for c in CLASSES), *(f"word={c.upper()}" for c in CLASSES)}
    code, out, _ = audit("gate", second, "--baseline", "audit-baseline.json")
    assert code == 0, out
    line, *_ = out.splitlines()
    assert line.startswith("pass           groups: ")
    assert "Change in shortcut sensitivity since the baseline: " in line
    assert "is within the limit of 0.9 on its rise" in line
