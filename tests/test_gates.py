"""Gates: a pass or a failure needs the whole interval; everything else says so."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t

from audit.errors import UnknownNameError, UsageError
from audit.gates.correction import Claim, widen_by_holm
from audit.gates.defaults import config_for
from audit.gates.document import VerdictDocument, verdict_document
from audit.gates.judging import exit_code, judge
from audit.gates.rule_lines import RuleLine
from audit.gates.rules import GateConfig, Rule, rules_from_config
from audit.reports.ci.github import step_summary
from audit.reports.ci.junit import AuditedRun, junit_document
from audit.reports.ci.sarif import sarif_document
from audit.statistics.verdicts import judge_effect
from audit.store.group import ALL, Group, parse_group
from audit.store.results import Effect
from audit.store.serialise import to_json
from audit.store.typed import typed
from audit.store.verdict import Verdict
from audit.suites.reader import load_suite

EFFECT = Effect(
    condition="mask",
    placebo="elsewhere",
    measure="shortcut_sensitivity",
    group=ALL,
    estimate=0.02,
    low=0.01,
    high=0.03,
    level=0.95,
    method="test",
    n_images=100,
    n_patients=90,
    discordant=3,
    p=0.01,
    p_adjusted=0.02,
    tolerance=0.05,
    verdict="robust",
    minimum_detectable=0.015,
)
RAW = replace(EFFECT, placebo=None, measure="accuracy", estimate=-0.04, low=-0.08, high=0.0)
CONTROLLED = replace(RAW, placebo="elsewhere", estimate=-0.01, low=-0.03, high=0.01)
PLACEBO = replace(RAW, condition="elsewhere", estimate=-0.03)
CLEAN = replace(RAW, condition="clean", estimate=0.8, low=0.7, high=0.9)
EFFECTS = [CLEAN, RAW, EFFECT, CONTROLLED, PLACEBO]


def rule(**changes: object) -> Rule:
    return replace(
        Rule(id="r", measure="shortcut_sensitivity", operator="<=", limit=0.05),
        **changes,  # type: ignore[arg-type]
    )


def status(*rules: Rule, effects: list[Effect] | None = None, **changes: object) -> str:
    return judge(effects or EFFECTS, GateConfig(rules=rules, **changes)).status  # type: ignore[arg-type]


@given(st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(-1, 1), st.sampled_from(["<=", ">="]))
def test_only_the_whole_interval_decides(estimate: float, below: float, above: float, limit: float, side: str) -> None:
    effect = replace(EFFECT, estimate=estimate, low=estimate - below, high=estimate + above)
    found = status(rule(limit=limit, operator=side), effects=[effect])
    holds = [v <= limit if side == "<=" else v >= limit for v in (effect.low, effect.high)]
    expected = "pass" if all(holds) else "inconclusive" if any(holds) else "fail"
    if side == "<=" and effect.low < -max(abs(limit), 0.05):  # the placebo may disturb more than the edit
        expected = "inconclusive" if expected == "pass" else expected
    assert found == expected


@pytest.mark.parametrize(
    ("low", "high", "expected", "said"),
    [
        (-0.354, -0.119, "inconclusive", "disturbs the network more than the edit"),
        (-0.08, 0.01, "inconclusive", "includes −0.05"),
        (-0.04, 0.01, "pass", "within the limit"),
    ],
)
def test_a_placebo_that_disturbs_more_is_no_pass(low: float, high: float, expected: str, said: str) -> None:
    effect = replace(EFFECT, estimate=(low + high) / 2, low=low, high=high)
    verdict = judge([effect], GateConfig(rules=(rule(),)))
    assert verdict.gates[0].status == expected
    assert said in verdict.gates[0].reason
    kept_alone = replace(effect, measure="sufficiency")
    assert status(rule(measure="sufficiency"), effects=[kept_alone]) == "pass", "telling less is no fault of a border"


def test_gates_and_verdicts_agree_on_patients() -> None:
    for estimate, low, high, sure in [(0.03, -0.02, 0.08, (-0.05, 0.11)), (0.07, 0.06, 0.08, (0.04, 0.10))]:
        effect = judge_effect(
            replace(EFFECT, estimate=estimate, low=low, high=high, simultaneous_low=sure[0], simultaneous_high=sure[1])
        )
        gate = judge([effect], GateConfig(rules=(rule(),))).gates[0]
        assert effect.verdict == gate.status == "inconclusive"
        assert f"About {effect.patients_to_decide} patients would decide" in gate.reason


def test_controlled_where_there_is_a_placebo_and_placebos_are_not_judged() -> None:
    verdict = judge(EFFECTS, GateConfig(rules=(rule(measure="accuracy", operator=">=", limit=-0.05),)))
    assert [(g.actual, g.where) for g in verdict.gates] == [(-0.01, "mask compared with elsewhere, all images")]
    assert status(rule(measure="accuracy", operator=">=", limit=0.75, condition="clean")) == "inconclusive"


def test_policies_levels_and_exit_codes() -> None:
    undecided = rule(limit=0.02)
    assert status(undecided) == "inconclusive"
    assert status(undecided, inconclusive="fail") == "fail"
    assert status(undecided, inconclusive="pass") == "pass"
    assert status(undecided, rule(id="s", limit=0.001)) == "fail", "a failure outweighs"
    assert status(rule(limit=0.001, level="warn")) == "not gated"
    assert status(rule(limit=0.001, level="warn"), rule(id="s")) == "pass"
    assert [exit_code(s) for s in ("pass", "not gated", "fail", "inconclusive", "not comparable")] == [0, 0, 1, 3, 5]


def test_too_few_images_or_no_estimate_never_pass() -> None:
    assert status(rule(), min_images=101) == "inconclusive"
    assert status(rule(), min_images=100) == "pass"
    gone = replace(EFFECT, estimate=None, low=None, high=None, n_images=0)
    assert status(rule(), effects=[gone]) == "inconclusive"


def test_a_class_that_could_not_be_edited_is_never_a_pass() -> None:
    silent = replace(EFFECT, classes_absent=("covid",))
    (gate,) = judge([silent], GateConfig(rules=(rule(),))).gates
    assert gate.status == "inconclusive"
    assert "no image of class covid could be edited this way" in gate.reason
    assert status(rule(limit=0.001), effects=[silent]) == "fail", "what is shown is shown"
    rise = judge(
        [silent],
        GateConfig(rules=(rule(against="baseline"),)),
        lambda *_: replace(EFFECT, estimate=0.0, low=-0.01, high=0.01),
    )
    assert rise.status == "inconclusive"


def test_a_failure_is_judged_together_with_the_other_effects() -> None:
    alone = replace(EFFECT, estimate=0.1, low=0.06, high=0.14)
    assert status(rule(), effects=[alone]) == "fail"
    together = replace(alone, simultaneous_low=0.04, simultaneous_high=0.16)
    verdict = judge([together], GateConfig(rules=(rule(),)))
    assert verdict.status == "inconclusive"
    assert "not after correction for multiple comparisons (0.040 to 0.160)" in verdict.gates[0].reason
    assert status(rule(), effects=[replace(together, simultaneous_low=0.051)]) == "fail"
    low = rule(operator=">=", limit=0.15)
    assert status(low, effects=[together]) == "inconclusive"
    assert status(low, effects=[replace(together, simultaneous_high=0.149)]) == "fail"
    passed = replace(EFFECT, simultaneous_low=-0.1, simultaneous_high=0.2)
    assert status(rule(), effects=[passed]) == "pass", "a pass stands for itself"


@given(
    st.lists(st.tuples(st.floats(-4, 6), st.floats(0.01, 0.5), st.booleans()), min_size=1, max_size=8),
)
def test_holm_is_that_of_the_p_values(claims: list[tuple[float, float, bool]]) -> None:
    """Of normal estimates, a limit lies outside the widened interval exactly where Holm rejects its one-sided p."""
    limit = 0.3
    made, p_values = [], []
    for z, error, above in claims:
        estimate = limit + (z if above else -z) * error
        half = norm.isf(0.025) * error
        made.append(
            Claim(
                estimate=estimate,
                low=estimate - half,
                high=estimate + half,
                limit=limit,
                level=0.95,
                n_patients=10**9,
                above=above,
            )
        )
        p_values.append(norm.sf(z))
    order, rejected, going = np.argsort(p_values, kind="stable"), [False] * len(claims), True
    for rank, index in enumerate(order):  # Holm, written out
        going = going and p_values[index] * (len(claims) - rank) < 0.025
        rejected[index] = going
    found = widen_by_holm(made)
    for claim, (low, high), hit, p in zip(made, found, rejected, p_values, strict=True):
        if all(abs(p * m - 0.025) > 1e-6 for m in range(1, 9)):
            assert (low > limit if claim.above else high < limit) == hit
        assert low <= claim.low + 1e-12
        assert high >= claim.high - 1e-12


def test_few_patients_widen_by_students_quantiles() -> None:
    half = t.isf(0.025, 9)
    one = Claim(estimate=0.0, low=-half, high=half, limit=-9.0, level=0.95, n_patients=10, above=True)
    (low, high), *_ = widen_by_holm([one] * 12)
    assert (low, high) == pytest.approx((-t.isf(0.025 / 12, 9), t.isf(0.025 / 12, 9)))
    exact = replace(one, low=0.0, high=0.0)
    assert widen_by_holm([exact, one])[0] == (0.0, 0.0)


def test_many_rules_fail_no_more_easily_than_one() -> None:
    close = replace(EFFECT, estimate=0.1, low=0.06, high=0.14)
    groups = [replace(close, group=Group(kind="site", value=str(i))) for i in range(12)]
    rules = [rule(id=f"r{i}", group=Group(kind="site", value=str(i))) for i in range(12)]
    assert status(rules[0], effects=groups) == "fail", "alone it fails"
    verdict = judge(groups, GateConfig(rules=tuple(rules)))
    assert verdict.status == "inconclusive", "among twelve alike it may be chance"
    assert "not after correction for multiple comparisons" in verdict.gates[0].reason
    assert status(*rules, effects=groups, correction="none") == "fail"
    sure = [replace(g, low=0.09, high=0.11) for g in groups]
    assert status(*rules, effects=sure) == "fail"
    warnings = [replace(r, level="warn") for r in rules[1:]]
    assert status(rules[0], *warnings, effects=groups) == "fail", "warnings are not part of the family"


def test_a_rule_may_ask_for_the_estimate_alone() -> None:
    assert status(rule(limit=0.025)) == "inconclusive"
    assert status(rule(limit=0.025, evidence="point")) == "pass"
    assert status(rule(limit=0.015, evidence="point")) == "fail"
    assert status(rule(limit=0.025, evidence="point"), min_images=101) == "inconclusive"


def test_exact_controls_need_no_interval() -> None:
    exact = replace(
        EFFECT, condition="own", placebo=None, measure="max_abs_probability_change", estimate=0.0, low=None, high=None
    )
    own = rule(measure="max_abs_probability_change", limit=0.0, condition="own")
    assert status(own, effects=[exact]) == "pass"
    assert status(own, effects=[replace(exact, estimate=1e-9)]) == "incomplete"


def test_a_control_that_fails_ends_the_audit() -> None:
    control = replace(
        EFFECT, condition="own", placebo=None, measure="max_abs_probability_change", estimate=0.95, low=None, high=None
    )
    for rules in ((), (rule(),), (rule(level="warn"),)):
        verdict = judge([*EFFECTS, control], GateConfig(rules=rules))
        assert (verdict.status, exit_code(verdict.status)) == ("incomplete", 4)
        assert verdict.summary.startswith("The audit could not be completed: the control “own”")
        assert [(g.id, g.status, g.actual) for g in verdict.gates] == [("control-own", "incomplete", 0.95)]
        assert verdict.gates[0].weight == "error"


def test_reasons_say_what_would_decide() -> None:
    verdict = judge([replace(EFFECT, low=-0.02, high=0.06)], GateConfig(rules=(rule(),)))
    assert "includes the limit of 0.05. About 160 patients would decide (90 now)" in verdict.gates[0].reason
    assert "could not be decided (r-mask)" in verdict.summary
    passed = judge(EFFECTS, GateConfig(rules=(rule(),)))
    assert (
        "an effect of 0.015 or more is detected with at least 80 % power under every judged condition (lowest power: mask)"
        in passed.summary
    )


def test_one_result_for_each_condition() -> None:
    two = [EFFECT, replace(EFFECT, condition="paste", estimate=0.2, low=0.1, high=0.3)]
    verdict = judge(two, GateConfig(rules=(rule(),)))
    assert [(g.id, g.status) for g in verdict.gates] == [("r-mask", "pass"), ("r-paste", "fail")]
    with pytest.raises(UsageError, match="Two gates are called 'r-mask'"):
        status(rule(), rule(id="r-mask", condition="mask"), effects=two)


def test_a_group_that_is_too_small_under_a_condition_is_never_a_pass() -> None:
    north = replace(EFFECT, group=parse_group("source=north"))
    paste = replace(EFFECT, condition="paste")
    verdict = judge([EFFECT, north, paste], GateConfig(rules=(rule(group=parse_group("source=north")),)))
    assert {(g.id, g.status) for g in verdict.gates} == {("r-mask", "pass"), ("r-paste", "inconclusive")}
    assert verdict.status == "inconclusive"
    assert "too few patients of source=north" in verdict.gates[1].reason
    clean = replace(CLEAN, group=parse_group("source=south"))
    assert status(rule(group=parse_group("source=south")), effects=[EFFECT, clean]) == "inconclusive", (
        "it exists, and is small"
    )


def test_rules_that_match_nothing_are_mistakes() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'mask'"):
        status(rule(condition="msk"))
    with pytest.raises(UnknownNameError, match="group"):
        status(rule(group=parse_group("sex=F")))
    with pytest.raises(UsageError, match="recall is not measured under any edit"):
        status(rule(measure="recall"))


TABLE = {"id": "a", "measure": "accuracy", "min": -0.05}


def test_configuration_is_read() -> None:
    config = rules_from_config(
        {
            "inconclusive": "fail",
            "min_images": 50,
            "rule": [{**TABLE, "where": {"condition": "mask", "group": "source=north"}, "level": "warn"}],
        }
    )
    assert config == GateConfig(
        rules=(
            Rule(
                id="a",
                measure="accuracy",
                operator=">=",
                limit=-0.05,
                condition="mask",
                group=parse_group("source=north"),
                level="warn",
            ),
        ),
        inconclusive="fail",
        min_images=50,
    )


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"rules": []}, "Did you mean 'rule'"),
        ({"inconclusive": "blok"}, "Did you mean 'block'"),
        ({"min_images": -1}, "whole number"),
        ({"correction": "bonferoni"}, "correction of gates"),
        ({"baseline": 3}, "must be the path"),
        ({"rule": [{**TABLE, "evidence": "points"}]}, "Did you mean 'point'"),
        ({"min_images": True}, "whole number"),
        ({"rule": {"id": "a"}}, "written as"),
        ({"rule": [{"measure": "accuracy", "max": 0}]}, "needs an id"),
        ({"rule": [{**TABLE, "id": "a\n::error::x"}]}, "needs an id"),
        ({"rule": [{"id": "a", "measure": "accuracy", "max": 10**400}]}, "finite number"),
        ([TABLE], "must be a table"),
        (
            {
                "rule": [
                    {**TABLE, "min": 0.2, "where": {"condition": "m"}},
                    {"id": "b", "measure": "accuracy", "max": 0.1},
                ]
            },
            "contradict",
        ),
        ({"rule": [{**TABLE, "measure": "acuracy"}]}, "Did you mean 'accuracy'"),
        ({"rule": [{**TABLE, "max": 1}]}, "needs one of max, min, max_increase, max_decrease, found max and min"),
        ({"rule": [{"id": "a", "measure": "accuracy"}]}, "found none"),
        ({"rule": [{**TABLE, "min": "0"}]}, "finite number"),
        ({"rule": [{**TABLE, "min": float("nan")}]}, "finite number"),
        ({"rule": [{**TABLE, "where": {"conditon": "x"}}]}, "Did you mean 'condition'"),
        ({"rule": [{**TABLE, "where": "mask"}]}, "must look like"),
        ({"rule": [{**TABLE, "level": "warning"}]}, "Did you mean 'warn'"),
        ({"rule": [TABLE, TABLE]}, "unique"),
    ],
)
def test_configuration_with_mistakes(table: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        rules_from_config(table)


def test_defaults_limit_every_edit_with_a_placebo() -> None:
    suite = load_suite("quick")
    assert config_for(None, suite, {"shortcut_sensitivity": 0.05}, asked=False) is None
    config = config_for(None, suite, {"shortcut_sensitivity": 0.05, "accuracy": 0.02}, asked=True)
    assert config is not None
    edits = [c.name for c in suite.conditions if c.role == "edit" and c.placebo]
    assert [(r.condition, r.limit, r.operator) for r in config.rules[:-3]] == [(name, 0.05, "<=") for name in edits]
    groups, accuracy, worth = config.rules[-3:]
    assert (groups.condition, str(groups.group), groups.limit, groups.inconclusive) == ("*", "*", 0.05, "pass")
    assert (accuracy.condition, str(accuracy.group), accuracy.limit) == ("*", "all", -0.02)
    assert (accuracy.operator, accuracy.inconclusive) == (">=", "pass")
    assert (worth.measure, worth.condition, worth.operator, worth.limit) == ("accuracy_over_source", "clean", ">=", 0.0)
    bare = replace(suite, conditions=tuple(c for c in suite.conditions if c.role == "clean"))
    nowhere = {"rule": [{**TABLE, "where": {"group": "class=covidd"}}]}
    with pytest.raises(UnknownNameError, match="Did you mean 'class=covid'"):
        config_for(nowhere, suite, {}, asked=False, groups={"all", "class=covid"})
    with pytest.raises(UsageError, match="would not be used"):
        config_for({"rule": [TABLE], "baseline": "b.json"}, suite, {}, asked=False)
    misspelt = {"rule": [{**TABLE, "where": {"condition": "text-mask-inpiant"}}]}
    with pytest.raises(UnknownNameError, match="Did you mean 'text-mask-inpaint'"):
        config_for(misspelt, suite, {}, asked=False)
    with pytest.raises(UsageError, match="has none"):
        config_for(None, bare, {"shortcut_sensitivity": 0.05}, asked=True)


def test_what_accuracy_is_worth_leaves_undecided_and_never_fails() -> None:
    worth = rule(
        measure="accuracy_over_source", operator=">=", limit=0.0, condition="clean", if_exceeded="inconclusive"
    )
    figure = replace(CLEAN, measure="accuracy_over_source")
    for low, high, expected in ((0.1, 0.2, "pass"), (-0.1, 0.1, "inconclusive"), (-0.2, -0.05, "inconclusive")):
        assert status(worth, effects=[replace(figure, estimate=(low + high) / 2, low=low, high=high)]) == expected
    with pytest.raises(UnknownNameError, match="Did you mean 'inconclusive'"):
        rules_from_config({"rule": [{**TABLE, "if_exceeded": "inconclusiv"}]})


def test_a_verdict_remembers_its_rules() -> None:
    config = GateConfig(
        rules=(rule(condition="mask", reason="because"),), inconclusive="pass", min_images=3, baseline="b.json"
    )

    def kept(config: GateConfig) -> GateConfig:
        document = verdict_document(Verdict(status="pass", summary="", gates=()), config)
        return typed(json.loads(to_json(document)), VerdictDocument).config

    assert kept(config) == config
    elsewhere = replace(config, baseline="/home/somebody/b.json")
    assert kept(elsewhere) == replace(config, baseline=""), "no path of this machine"


RISE, FALL = (
    replace(EFFECT, measure=measure, estimate=estimate, low=estimate - 0.01, high=estimate + 0.01)
    for measure, estimate in (("shortcut_sensitivity", 0.03), ("accuracy", -0.03))
)


@pytest.mark.parametrize(
    ("asked", "effect", "required", "reason"),
    [
        (
            rule(limit=0.01, against="baseline"),
            RISE,
            "rise in shortcut sensitivity since the baseline at most 0.01",
            "Change in shortcut sensitivity since the baseline: +0.030 [+0.020, +0.040] exceeds the limit of 0.01 on its rise.",
        ),
        (
            rule(limit=0.05, against="baseline"),
            RISE,
            "rise in shortcut sensitivity since the baseline at most 0.05",
            "Change in shortcut sensitivity since the baseline: +0.030 [+0.020, +0.040] is within the limit of 0.05 on its rise.",
        ),
        (
            rule(measure="accuracy", operator=">=", limit=-0.01, against="baseline"),
            FALL,
            "fall in accuracy since the baseline at most 0.01",
            "Change in accuracy since the baseline: −0.030 [−0.040, −0.020] exceeds the limit of 0.01 on its fall.",
        ),
        (
            rule(measure="accuracy", operator=">=", limit=-0.01),
            FALL,
            "change in accuracy at least −0.01",
            "Change in accuracy −0.030 [−0.040, −0.020] exceeds the limit of 0.01 on its fall.",
        ),
        (
            rule(limit=0.05),
            RISE,
            "shortcut sensitivity at most 0.05",
            "0.030 [0.020, 0.040] is within the limit of 0.05.",
        ),
        (
            rule(limit=0.05, evidence="point"),
            RISE,
            "shortcut sensitivity at most 0.05",
            "Shortcut sensitivity 0.03 on these images is within the limit of 0.05.",
        ),
    ],
)
def test_gates_name_what_they_bound(asked: Rule, effect: Effect, required: str, reason: str) -> None:
    """A rise since the baseline is never told as the figure itself, in any format."""
    verdict = judge([effect], GateConfig(rules=(asked,), correction="none"), lambda *_: effect)
    (gate,) = verdict.gates
    assert gate.requirement == required
    assert gate.reason == reason
    assert "-" not in gate.reason
    places = {"r": RuleLine(file="audit.toml", line=1)}
    failed = replace(verdict, gates=(replace(gate, status="fail"),))
    log = json.loads(sarif_document(failed, places, "1"))["runs"][0]
    assert required in log["tool"]["driver"]["rules"][0]["shortDescription"]["text"]
    assert reason in log["results"][0]["message"]["text"]
    assert required in step_summary(failed, "C", "runs/r/report.html")
    run = AuditedRun(model="C", report="runs/r/report.html", started="2026-01-01T00:00:00+00:00", seconds=1.0)
    suite = ElementTree.fromstring(junit_document(failed, run))
    assert reason in "".join(suite.itertext())
    (failure,) = suite.iter("failure")
    assert ("since the baseline" in failure.get("message", "")) == (asked.against == "baseline")
