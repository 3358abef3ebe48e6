"""Two runs on the same images: replicas of the paired differences, and what must not be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.baseline.changes import compare_images, incomparable, measure_images
from audit.baseline.comparison import Baseline
from audit.data.conditions import CLEAN, Condition, Suite
from audit.errors import UsageError
from audit.gates.judging import judge
from audit.gates.rules import rules_from_config
from audit.prediction.table import FinishedRun
from audit.statistics.effects import measure_effects
from audit.statistics.selections import comparable
from audit.store.folder import RunFolder
from audit.store.group import parse_group
from audit.store.results import Effect, PredictionTable
from audit.store.serialise import plain

from .conftest import Audit, one_paragraph
from .documents import plan_with, planned
from .tables import in_order

SUITE = Suite(
    name="test",
    version=1,
    description="",
    conditions=(
        CLEAN,
        Condition(name="mask", perturbation="text-mask", role="edit", placebo="elsewhere", parameters={}),
        Condition(name="elsewhere", perturbation="placebo-mask", role="placebo", draws=2, parameters={}),
    ),
)


def run_of(*, pull: float = 0.0, n: int = 240, draws: int = 0, model: int = 0) -> FinishedRun:
    """Return a run of network `model` on n images; `pull` is what the mask takes from the true class's logit."""
    rng, noise = np.random.default_rng(100 + model), np.random.default_rng(draws)
    labels = np.arange(n) % 3
    clean = rng.normal(0, 1, (n, 3))
    clean[np.arange(n), labels] += 1.5
    mask = clean + rng.normal(0, 0.1, (n, 3))
    mask[np.arange(n), labels] -= pull
    elsewhere = clean + noise.normal(0, 0.1, (2, n, 3))
    logits = {"clean": clean[None], "mask": mask[None], "elsewhere": elsewhere}
    table = PredictionTable(
        record_ids=np.array([f"r{i:04}" for i in range(n)]),
        labels=labels.astype(np.int64),
        patients=np.array([f"p{i // 2}" for i in range(n)]),
        groups={"source": np.where(np.arange(n) % 2 == 0, "north", "south")},
        classes=("a", "b", "c"),
        logits={k: v.astype(np.float32) for k, v in logits.items()},
        applied={k: np.ones(v.shape[:2], bool) for k, v in logits.items()},
    )
    rows = [
        plain(planned(c.name, perturbation=c.perturbation, draws=c.draws, placebo=c.placebo)) for c in SUITE.conditions
    ]
    plan = plan_with(
        privacy={"key": "0badc0de"},
        data={"content_hash": "d", "records_hash": f"r{n}", "masks_hash": "m"},
        model={"classes": ["a", "b", "c"]},
        suite={"conditions": rows},
        statistics={"level": 0.95, "resamples": 500},
        seed=draws,
    )
    return FinishedRun(path=Path("run"), plan=plan, suite=SUITE, table=table)


def compare_runs(run: FinishedRun, earlier: FinishedRun, condition: str, measure: str, **options: Any) -> Effect:
    return compare_images(run, measure_images(earlier, condition, measure), condition, measure, **options)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x.astype(float) - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sensitivity(run: FinishedRun) -> np.ndarray:
    p0 = softmax(run.table.logits["clean"][0])

    def moved(name: str) -> np.ndarray:
        return np.mean([0.5 * np.abs(softmax(draw) - p0).sum(-1) for draw in run.table.logits[name]], axis=0)

    return moved("mask") - moved("elsewhere")


def test_the_difference_is_paired_by_image() -> None:
    run, earlier = run_of(pull=1.0, model=1), run_of(pull=0.2)
    found = compare_runs(run, earlier, "mask", "shortcut_sensitivity", resamples=500)
    difference = sensitivity(run) - sensitivity(earlier)
    assert found.estimate == pytest.approx(difference.mean(), abs=1e-6)
    by_patient = difference.reshape(-1, 2).mean(1)
    error = by_patient.std(ddof=1) / np.sqrt(120)
    # Never shorter than what a few images may add that move far and were not in the sample.
    unseen = 0.5 * 1.98**2 / (240 / 1.5 + 1.98**2)
    assert found.high - found.low == pytest.approx(2 * max(1.98 * error, unseen), rel=0.05)
    assert (found.n_images, found.n_patients) == (240, 120)
    north = compare_runs(run, earlier, "mask", "shortcut_sensitivity", group=parse_group("source=north"), resamples=500)
    assert north.estimate == pytest.approx(difference[::2].mean(), abs=1e-6)
    back = compare_runs(earlier, run, "mask", "shortcut_sensitivity", resamples=500)
    assert back.estimate == pytest.approx(-found.estimate, abs=1e-9)


def test_images_in_another_order_are_paired_all_the_same() -> None:
    run, earlier = run_of(pull=1.0, model=1), run_of()
    order = np.random.default_rng(0).permutation(240)
    t = earlier.table
    shuffled = in_order(t, order)
    again = compare_runs(run, replace(earlier, table=shuffled), "mask", "harm", resamples=500)
    assert again == compare_runs(run, earlier, "mask", "harm", resamples=500)


@pytest.mark.parametrize("measure", comparable())
def test_a_run_against_itself_is_zero_but_not_certain(measure: str) -> None:
    run = run_of(pull=0.5)
    found = compare_runs(run, run, "mask", measure, resamples=500)
    assert found.estimate == 0
    assert found.low < 0 < found.high
    raw = [e for e in measure_effects(run.table, SUITE, seed=0, resamples=200) if e.measure == measure]
    assert raw or measure == "sufficiency", "every compared measure is one that runs report"


def test_what_has_a_unit_is_as_uncertain_in_any_unit() -> None:
    run = run_of(pull=0.5)
    logits = {name: 100 * values for name, values in run.table.logits.items()}
    larger = replace(run, table=replace(run.table, logits=logits))
    small, large = (compare_runs(one, one, "mask", "margin", resamples=500) for one in (run, larger))
    assert large.high == pytest.approx(100 * small.high, rel=1e-3)


def gate(run: FinishedRun, earlier: FinishedRun | None, **rule: object) -> tuple[str, str]:
    table: Mapping[str, Any] = {"rule": [{"id": "r", "measure": "shortcut_sensitivity", **rule}]}
    effects = measure_effects(run.table, SUITE, seed=0, resamples=200)
    compare = None
    if earlier is not None:

        def compare(c, m, g):
            return incomparable(run.plan, earlier.plan, c, {}) or compare_runs(run, earlier, c, m, group=g)

    verdict = judge(effects, rules_from_config(table), compare)
    return verdict.status, verdict.gates[0].reason


def test_a_gate_on_the_increase_fails_the_worse_and_passes_the_same_with_other_draws() -> None:
    earlier = run_of(pull=0.2)
    assert gate(run_of(pull=0.2, draws=9), earlier, max_increase=0.02)[0] == "pass"
    assert gate(run_of(pull=1.5), earlier, max_increase=0.02)[0] == "fail"
    assert gate(run_of(pull=0.2, n=12, draws=9), run_of(pull=0.2, n=12), max_increase=0.001)[0] == "inconclusive"
    assert gate(earlier, run_of(pull=1.5), max_decrease=0.02)[0] == "fail"
    assert gate(earlier, run_of(pull=1.5), max_increase=0.0)[0] == "pass"


def test_what_cannot_be_compared_is_never_a_pass() -> None:
    run = run_of()
    assert gate(run, None, max_increase=1.0)[0] == "not comparable"

    def other(**changes: Any) -> FinishedRun:
        return replace(run, plan=plan_with(run.plan, **changes))

    rows = [plain(c) for c in run.plan.suite.conditions]
    newer = [row | {"perturbation_version": 7} if row["name"] == "elsewhere" else row for row in rows]
    for changed, says in (
        (other(data={"content_hash": "x", "records_hash": "r240", "masks_hash": "m"}), "other data"),
        (other(data={"content_hash": "d", "records_hash": "x", "masks_hash": "m"}), "other images"),
        (other(data={"content_hash": "d", "records_hash": "r240", "masks_hash": "x"}), "other lung masks"),
        (other(privacy={"key": None}), "made from plain ids, this run's with the key 0badc0de"),
        (other(model={"classes": ["b", "a", "c"]}), "other classes"),
        (other(detector={"name": "cascade"}), "another text finder"),
        (other(suite={"conditions": rows[:1]}), "not run with the edit “mask”"),
        (other(suite={"conditions": newer}), "“elsewhere” differs in the baseline"),
    ):
        status, reason = gate(run, changed, max_increase=1.0)
        assert status == "not comparable"
        assert says in reason
    status, _ = gate(run, other(detector={"name": "x"}), max_increase=1.0, inconclusive="pass")
    assert status == "not comparable", "a policy for what is undecided does not let it through"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"id": "r", "measure": "macro_auc", "max_increase": 0.1}], "cannot be compared with a baseline"),
        ([{"id": "r", "measure": "harm", "max_increase": -0.1}], "must be 0 or more"),
        ([{"id": "r", "measure": "harm", "max_increase": 0.1, "max": 0.2}], "needs one of"),
        (
            [{"id": "top", "measure": "harm", "max": 0.1}, {"id": "bottom", "measure": "harm", "min": 0.2}],
            "'top' and 'bottom' contradict each other",
        ),
    ],
)
def test_rules_that_cannot_be_meant(rows: list[dict[str, object]], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        rules_from_config({"rule": rows})


def test_measures_without_a_number_an_image_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot be compared image by image"):
        compare_runs(run_of(), run_of(), "mask", "macro_auc")
    with pytest.raises(UsageError, match="no group site=x"):
        compare_runs(run_of(), run_of(), "mask", "harm", group=parse_group("site=x"))


def test_finished_runs_are_compared_and_gated_by_command(
    audit: Audit, write_cohort: Any, write_bundle: Any, tmp_path: Path
) -> None:
    manifest = write_cohort(4)
    write_bundle("C")
    asked = [
        "run",
        "--model",
        "C",
        "--data",
        manifest,
        "--detector",
        "annotated",
        "--boxes",
        tmp_path / "data/boxes.json",
    ]
    asked += ["--suite", "quick", "--relevance-images", 0, "--judge-images", 0, "--resamples", 200]
    first, second = (Path(audit(*asked, "--seed", seed)[1].splitlines()[-1]).parent for seed in (0, 1))
    assert first != second
    code, out, _ = audit("diff", second, first, "--json")
    changes = json.loads(out)["changes"]
    assert code == 0
    assert {(c["condition"], c["measure"]) for c in changes} >= {
        ("clean", "accuracy"),
        ("text-mask-inpaint", "shortcut_sensitivity"),
    }
    assert next(c for c in changes if c["condition"] == "clean")["change"]["estimate"] == 0, "the same network"
    assert "| Text inpainted | shortcut sensitivity |" in audit("diff", second, first, "--md")[1]
    assert "Text inpainted" in audit("diff", second, first)[1]

    Path("audit.toml").write_text(
        '[[gate.rule]]\nid = "no-worse"\nmeasure = "shortcut_sensitivity"\nmax_increase = 0.9\n'
    )
    code, out, _ = audit("gate", second)
    assert code == 5
    assert "no baseline is named" in out
    code, out, _ = audit("gate", second, "--baseline", first)
    assert code == 0, out
    code, _, err = audit("gate", second, "--baseline", tmp_path / "nowhere")
    assert code == 2
    assert "does not exist" in one_paragraph(err)
    Path("audit.toml").write_text(f'[gate]\nbaseline = "{first}"\n' + Path("audit.toml").read_text())
    code, out, _ = audit(*asked, "--seed", 2)
    assert code == 0
    assert "PASS" in out, "audit run judges against the baseline that the configuration names"
    edited = first / "effects.json"
    edited.write_text(edited.read_text().replace("0.9", "0.8", 1))
    for asked_of in (("gate", first), ("gate", second, "--baseline", first), ("diff", second, first)):
        code, _, err = audit(*asked_of)
        assert code == 4
        assert "effects.json was changed" in one_paragraph(err)
    names = {row["patient"] for row in RunFolder(second).read_rows("records.parquet")}
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in names), "pseudonyms, not patients"


def test_the_baseline_is_read_only_when_asked(tmp_path: Path) -> None:
    never = Baseline(run_of(), tmp_path / "nowhere")
    effects: list[Effect] = measure_effects(run_of().table, SUITE, seed=0, resamples=200)
    config = rules_from_config({"rule": [{"id": "r", "measure": "harm", "max": 1.0}]})
    assert judge(effects, config, never.change).status == "pass"
