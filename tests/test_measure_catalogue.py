"""One record makes a measure: computed, serialised, shown, gated and compared with no other edit."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from audit.baseline.changes import compare_images, measure_images
from audit.data.conditions import JUDGED_ROLES
from audit.errors import UsageError
from audit.gates.defaults import config_for
from audit.gates.judging import judge
from audit.gates.rules import rules_from_config
from audit.prediction.table import FinishedRun
from audit.reports.page.html import MAX_BYTES, within_budget
from audit.reports.reading.folder import read_run
from audit.statistics.catalogue import MEASURES
from audit.statistics.effects import measure_effects
from audit.statistics.measure import Measure
from audit.statistics.selections import comparable, default_tolerances, headlines, judged_measures
from audit.store.group import ALL
from audit.store.results import Effect
from audit.store.serialise import to_json
from audit.store.typed import typed
from audit.suites.reader import load_suite

from .conftest import Audit
from .golden.make_report import RUN
from .test_effects import SUITE, pick, probabilities, table

ROOT = Path(__file__).parents[1]
DOUBT = Measure(
    name="loss_of_confidence",
    words="fall of the winner's probability",
    unit="probability, −1 to 1",
    of="edit",
    better="lower",
    scale="difference",
    change=lambda move: move.clean.confidence - move.now.confidence,
    judged_of="edit",
    tolerance=0.1,
    tabled=True,
    demand="The edit must not make the network doubt.",
)


@pytest.fixture
def doubt(monkeypatch: pytest.MonkeyPatch) -> Measure:
    monkeypatch.setitem(MEASURES, DOUBT.name, DOUBT)
    return DOUBT


def test_a_new_record_is_computed_judged_and_serialised(doubt: Measure) -> None:
    t = table(pull=1.0)
    effects = measure_effects(t, SUITE, seed=0, resamples=200)
    clean = probabilities(t.logits["clean"][0]).max(-1)
    fall = {name: clean - np.mean([probabilities(d).max(-1) for d in t.logits[name]], axis=0) for name in t.logits}
    raw = pick(effects, "mask", doubt.name)
    beyond = pick(effects, "mask", doubt.name, placebo="elsewhere")
    assert raw.estimate == pytest.approx(fall["mask"].mean(), abs=1e-6)
    assert beyond.estimate == pytest.approx((fall["mask"] - fall["elsewhere"]).mean(), abs=1e-6)
    assert (raw.verdict, raw.family) == ("descriptive", "none")
    assert (beyond.tolerance, beyond.family) == (0.1, "declared")
    assert beyond.verdict != "descriptive"
    rows = json.loads(to_json({"effects": effects}))["effects"]
    assert [typed(row, Effect) for row in rows] == effects


def test_a_new_record_is_gated_and_compared(doubt: Measure) -> None:
    t = table(pull=1.0)
    effects = measure_effects(t, SUITE, seed=0, resamples=200)
    row = {"id": "sure", "measure": doubt.name, "max": 0.9, "where": {"condition": "mask"}}
    (gate,) = judge(effects, rules_from_config({"rule": [row]})).gates
    assert (gate.measure, gate.status) == (doubt.name, "pass")
    assert gate.requirement == "loss of confidence at most 0.9"
    assert rules_from_config({"rule": [{"id": "r", "measure": doubt.name, "max_increase": 0.1}]})
    defaults = config_for(None, load_suite("quick"), default_tolerances(), asked=True)
    assert defaults is not None
    (rule,) = [r for r in defaults.rules if r.measure == doubt.name]
    assert (rule.id, rule.operator, rule.limit) == ("loss-of-confidence-under-edits", "<=", 0.1)

    run = FinishedRun(path=Path("run"), plan={}, suite=SUITE, table=t)
    less = replace(t, logits={**t.logits, "mask": t.logits["mask"] * np.float32(0.5)})
    change = compare_images(run, measure_images(replace(run, table=less), "mask", doubt.name), "mask", doubt.name)
    assert change.estimate == pytest.approx(
        (probabilities(less.logits["mask"][0]).max(-1) - probabilities(t.logits["mask"][0]).max(-1)).mean(), abs=1e-6
    )


def test_a_new_record_is_listed_and_shown(doubt: Measure, audit: Audit) -> None:
    assert re.search(
        r"^loss_of_confidence +lower +fall of the winner's probability", audit("list", "measures")[1], re.M
    )
    view = read_run(RUN)
    made = [
        replace(e, measure=doubt.name, estimate=0.123456)
        for e in view.effects
        if e.measure == "harm" and e.condition == "text-mask-black" and e.group == ALL
    ]
    page = within_budget(replace(view, effects=(*view.effects, *made)), MAX_BYTES).html.decode()
    assert len(made) == 2, "alone, and compared with its placebo"
    assert re.search(r'<th scope="row">loss of confidence[^§]*?data-label="edit alone">0\.123<', page), (
        "in the table of the edit"
    )
    assert "<dt>loss of confidence</dt><dd>fall of the winner" in page, "and explained"


def test_what_follows_from_records() -> None:
    assert headlines() == {"edit": "shortcut_sensitivity", "sufficiency": "sufficiency"}
    assert set(headlines()) == set(JUDGED_ROLES)
    assert judged_measures("edit") == ("accuracy", "shortcut_sensitivity")
    assert judged_measures("sufficiency") == ("sufficiency",)
    assert default_tolerances() == {"shortcut_sensitivity": 0.05, "sufficiency": 0.05, "accuracy": 0.02}
    own = {"accuracy", "margin", "flip_rate", "harm", "total_variation", "nll", "brier"}
    assert set(comparable()) == {*own, "shortcut_sensitivity", "sufficiency"}
    for name, measure in MEASURES.items():
        assert name == measure.name
        assert measure.words
        assert not measure.made_of or MEASURES[measure.made_of].change is not None, "made of numbers of images"
        assert (measure.judged_of is None) == (measure.tolerance is None), (
            "what is judged has a tolerance, and only that"
        )
        assert (measure.headline_of is None) or (
            measure.axis and measure.explained and measure.finding and measure.demand
        )
        assert not (measure.standardised and measure.comparable)


def test_no_figure_of_an_audit_is_of_a_measure_without_a_record() -> None:
    effects = measure_effects(table(), SUITE, seed=0, resamples=100)
    assert {e.measure for e in effects} <= set(MEASURES)


def test_the_former_key_is_refused_with_the_new_one() -> None:
    row = {"id": "text", "metric": "shortcut_sensitivity", "max": 0.05}
    with pytest.raises(
        UsageError, match=r"'text': the key `metric` is called `measure`. Write measure = 'shortcut_sensitivity'"
    ):
        rules_from_config({"rule": [row]})


def test_nothing_decides_by_the_name_of_a_measure() -> None:
    names = "|".join(
        sorted((n for n in MEASURES if n not in ("sufficiency", "recall", "margin")), key=len, reverse=True)
    )
    decides = re.compile(
        rf"""measure\w* (==|!=|in|not in) \(?["']({names})["']|["']({names})["'] (==|!=) |HEADLINES|METRICS"""
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in ("audit", "reports", "training", "templates")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".j2")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if decides.search(line)
    ]
    assert found == []
