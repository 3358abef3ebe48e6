"""Effects on a multi-label network: replicas by plain loops, unknown labels, and verdicts by output where the truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from audit.baseline.changes import compare_images, measure_images
from audit.errors import UsageError
from audit.prediction.table import FinishedRun
from audit.statistics.alignment import align_images
from audit.statistics.blindness import find_blindness
from audit.statistics.effects import measure_effects
from audit.statistics.findings import operating_points
from audit.statistics.planted import check_planted
from audit.statistics.saturation import at_lower_temperature
from audit.store.group import ALL, Group
from audit.store.results import Effect, PredictionTable

from .tables import in_order
from .test_effects import SUITE

OUTPUTS = ("Pneumonia", "Mass", "Edema", "Fracture")


def many(
    n: int = 160, *, pull: float = 0.0, unknown: float = 0.2, seed: int = 0, noise: float = 0.1
) -> PredictionTable:
    """Return predictions of which `mask` lowers the logit of Pneumonia alone by `pull`, on every image."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((n, len(OUTPUTS))) < 0.4).astype(np.int8)
    clean = rng.normal(0, 1, truth.shape) + 2.0 * truth - 1.0
    truth[rng.random(truth.shape) < unknown] = -1
    truth[:, 3] = -1  # nobody looked for fractures
    logits = {"clean": clean[None]}
    for name, draws in (("mask", 1), ("elsewhere", 3), ("own", 1), ("blur", 1)):
        logits[name] = np.repeat(clean[None], draws, 0)
        if name != "own":
            logits[name] = logits[name] + rng.normal(0, noise, logits[name].shape)
    logits["mask"][..., 0] -= pull
    patients = np.arange(n) // 2
    return PredictionTable(
        record_ids=np.array([f"r{i:04}" for i in range(n)]),
        labels=np.zeros(n, dtype=np.int64),
        patients=np.array([f"p{p}" for p in patients]),
        groups={"source": np.where(patients % 2 == 0, "north", "south")},
        classes=OUTPUTS,
        logits={name: values.astype(np.float32) for name, values in logits.items()},
        applied={name: np.ones(values.shape[:2], bool) for name, values in logits.items()},
        truth=truth,
    )


def of(effects: list[Effect], condition: str, measure: str, output: str = "", placebo: str | None = None) -> Effect:
    group = Group(kind="output", value=output) if output else ALL
    (found,) = [
        e for e in effects if (e.condition, e.measure, e.group, e.placebo) == (condition, measure, group, placebo)
    ]
    return found


def p(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def calibration_error(probabilities: np.ndarray, present: np.ndarray) -> float:
    """Return the calibration error of one output by a plain loop over 15 bins: probability of the finding against the share that has it."""
    total = 0.0
    for b in range(15):
        inside = [i for i, q in enumerate(probabilities) if min(int(q * 15), 14) == b]
        total += abs(sum(probabilities[i] - present[i] for i in inside))
    return total / len(probabilities)


@pytest.fixture(scope="module")
def planted() -> tuple[PredictionTable, list[Effect]]:
    t = many(pull=1.0)
    return t, measure_effects(t, SUITE, seed=0, resamples=200)


def test_shifts_by_plain_loops(planted: tuple[PredictionTable, list[Effect]]) -> None:
    t, effects = planted
    clean, mask, elsewhere = (p(t.logits[name]) for name in ("clean", "mask", "elsewhere"))
    own = [np.abs(mask[0, i] - clean[0, i]) for i in range(len(clean[0]))]
    others = [[np.abs(elsewhere[d, i] - clean[0, i]) for d in range(3)] for i in range(len(clean[0]))]
    # Over all outputs: of each image the output that moves most, under the edit and under each draw of the placebo.
    together = np.mean([a.max() - np.mean([b.max() for b in bs]) for a, bs in zip(own, others, strict=True)])
    assert of(effects, "mask", "shortcut_sensitivity", placebo="elsewhere").estimate == pytest.approx(
        together, abs=1e-6
    )
    for k, name in enumerate(OUTPUTS):
        by_output = np.mean([a[k] - np.mean([b[k] for b in bs]) for a, bs in zip(own, others, strict=True)])
        found = of(effects, "mask", "shortcut_sensitivity", name, "elsewhere")
        assert found.estimate == pytest.approx(by_output, abs=1e-6)
        assert found.n_images == len(clean[0]), "a change of probability needs no label"
        signed = (mask[0, :, k] - clean[0, :, k]).mean()
        assert of(effects, "mask", "probability_shift", name).estimate == pytest.approx(signed, abs=1e-6)


def test_measures_against_labels_leave_out_what_is_unknown(planted: tuple[PredictionTable, list[Effect]]) -> None:
    t, effects = planted
    assert t.truth is not None
    cuts = align_images(t).findings.cuts  # type: ignore[union-attr]
    for k, name in enumerate(OUTPUTS[:3]):
        known = t.truth[:, k] >= 0
        z, y = t.logits["clean"][0, :, k], t.truth[:, k]
        auc = of(effects, "clean", "auc", name)
        assert auc.estimate == pytest.approx(roc_auc_score(y[known], z[known]), abs=1e-9)
        assert auc.n_images == known.sum() < len(y)
        assert of(effects, "clean", "recall", name).estimate == pytest.approx((z[y == 1] > cuts[k]).mean())
        specificity = of(effects, "clean", "specificity", name)
        assert specificity.estimate == pytest.approx((z[y == 0] <= cuts[k]).mean())
        assert "; operating point 0." in specificity.method
        moved = t.logits["mask"][0, :, k]
        fall = roc_auc_score(y[known], moved[known]) - roc_auc_score(y[known], z[known])
        raw = [
            e for e in effects if (e.condition, e.measure, e.group.value) == ("mask", "auc", name) and e.placebo is None
        ]
        assert raw[0].estimate == pytest.approx(fall, abs=1e-9)
        flips = ((z > cuts[k]) != (moved > cuts[k])).mean()
        assert of(effects, "mask", "flip_rate", name).estimate == pytest.approx(flips)
        lost = (moved[y == 1] > cuts[k]).mean() - (z[y == 1] > cuts[k]).mean()
        assert of(effects, "mask", "recall", name).estimate == pytest.approx(lost)
        # The mean of two shares, and of two changes; nothing of an image whose label is unknown enters.
        balanced = of(effects, "clean", "balanced_accuracy", name)
        shares = [(z[y == 1] > cuts[k]).mean(), (z[y == 0] <= cuts[k]).mean()]
        assert balanced.estimate == pytest.approx(np.mean(shares))
        assert balanced.n_images == known.sum()
        refused = (moved[y == 0] <= cuts[k]).mean() - shares[1]
        assert of(effects, "mask", "balanced_accuracy", name).estimate == pytest.approx((lost + refused) / 2)
        errors = [calibration_error(p(scores[known]), y[known]) for scores in (z, moved)]
        assert of(effects, "clean", "ece", name).estimate == pytest.approx(errors[0], abs=1e-9)
        assert of(effects, "mask", "ece", name).estimate == pytest.approx(errors[1] - errors[0], abs=1e-9)
        other = np.mean([calibration_error(p(t.logits["elsewhere"][d, known, k]), y[known]) for d in range(3)])
        against = of(effects, "mask", "ece", name, "elsewhere")
        assert against.estimate == pytest.approx(errors[1] - other, abs=1e-9)
    labelled = ("auc", "recall", "specificity", "harm", "balanced_accuracy", "ece")
    assert not [e for e in effects if e.group.value == "Fracture" and e.measure in labelled]
    macro = of(effects, "clean", "macro_auc")
    assert macro.estimate == pytest.approx(np.mean([of(effects, "clean", "auc", n).estimate for n in OUTPUTS[:3]]))
    assert "over the 3 of 4 outputs" in macro.method
    correct = [
        np.mean(
            [(t.logits["clean"][0, i, k] > cuts[k]) == (t.truth[i, k] == 1) for k in range(3) if t.truth[i, k] >= 0]
        )
        for i in range(len(t.truth))
        if (t.truth[i] >= 0).any()
    ]
    accuracy = of(effects, "clean", "accuracy")
    assert accuracy.estimate == pytest.approx(np.mean(correct))
    assert accuracy.n_images == len(correct)


def test_the_output_that_the_word_goes_with_is_sensitive_and_no_other(
    planted: tuple[PredictionTable, list[Effect]],
) -> None:
    t, effects = planted
    judged = [
        e for e in effects if e.condition == "mask" and e.family == "declared" and e.measure == "shortcut_sensitivity"
    ]
    assert {str(e.group): e.verdict for e in judged} == {
        "all": "sensitive", "output=Pneumonia": "sensitive", "output=Mass": "robust", "output=Edema": "robust",
        "output=Fracture": "robust",
    }  # fmt: skip
    # The truth of this case: |sigmoid(z - 1) - sigmoid(z)| on average, whatever the noise.
    z = t.logits["clean"][0, :, 0].astype(np.float64)
    truth = (p(z) - p(z - 1.0)).mean()
    found = of(effects, "mask", "shortcut_sensitivity", "Pneumonia", "elsewhere")
    assert found.low is not None and found.high is not None
    assert found.low - 0.02 < truth < found.high + 0.03
    shift = of(effects, "mask", "probability_shift", "Pneumonia", "elsewhere")
    assert shift.low is not None and shift.high is not None
    assert shift.low < -truth < shift.high
    null = measure_effects(many(), SUITE, seed=0, resamples=200)
    assert {e.verdict for e in null if e.family == "declared" and e.measure == "shortcut_sensitivity"} == {"robust"}


def test_an_effect_of_one_output_is_found_among_noise_of_others() -> None:
    """The mean over outputs, and the largest of all, would both hide it: the placebo moves other outputs as much."""
    t = many(400, pull=0.5, noise=0.0)
    rng = np.random.default_rng(1)
    loud = {
        name: t.logits[name] + np.float32([0, 1, 1, 1]) * rng.normal(0, 0.8, t.logits[name].shape).astype(np.float32)
        for name in ("mask", "elsewhere")
    }
    effects = measure_effects(replace(t, logits={**t.logits, **loud}), SUITE, seed=0, resamples=200)
    assert of(effects, "mask", "shortcut_sensitivity", placebo="elsewhere").verdict == "robust"
    assert of(effects, "mask", "shortcut_sensitivity", "Pneumonia", "elsewhere").verdict == "sensitive"


def test_false_alarms_over_outputs_are_rare() -> None:
    """Without an effect beyond the limit, hardly any of 40 cohorts has a sensitive output: the family covers all of them."""
    alarms = 0
    for seed in range(40):
        t = many(60, seed=seed, noise=1.0)
        effects = measure_effects(t, SUITE, seed=0, resamples=100, tolerances={"shortcut_sensitivity": 1e-9})
        alarms += any(e.verdict == "sensitive" and e.group.kind == "output" for e in effects)
    assert alarms <= 6, "5 % of 40 is 2; 6 has a chance of less than 2 %"


def test_the_order_of_rows_changes_nothing() -> None:
    t = many(60, pull=1.0)
    order = np.random.default_rng(5).permutation(60)
    assert t.truth is not None
    turned = replace(in_order(t, order), truth=t.truth[order])
    asked = {"seed": 0, "resamples": 100}
    assert measure_effects(turned, SUITE, **asked) == measure_effects(t, SUITE, **asked)


@given(st.integers(0, 10_000), st.integers(1, 12))
@settings(max_examples=60)
def test_youden_by_trying_every_cut(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.integers(-3, 4, (n, 1)).astype(np.float64)
    y = rng.integers(-1, 2, (n, 1)).astype(np.int8)
    (cut,) = operating_points(z, y, None)

    def index(c: float) -> float:
        return float((z[y == 1] > c).mean() + (z[y == 0] <= c).mean())

    if (y == 1).any() and (y == 0).any():
        inside = z[(y >= 0)]
        between = [c for c in np.arange(-3.5, 4) if inside.min() < c < inside.max()]
        assert not between or index(cut) == pytest.approx(max(index(c) for c in between))
    else:
        assert cut == 0.0


def test_given_operating_points_count_more() -> None:
    t = many(40)
    found = align_images(replace(t, points=np.array([0.9, np.nan, 0.5, np.nan]))).findings
    own = align_images(t).findings
    assert found is not None and own is not None
    assert found.cuts == pytest.approx([np.log(9), own.cuts[1], 0.0, 0.0])


def test_donors_of_independent_findings_are_exchangeable_within_sources() -> None:
    t = many(60)
    donors = np.tile((np.arange(60) + 7) % 60, (1, 1))
    images = align_images(t)
    assert len(np.unique(images.strata)) == 2
    effects = measure_effects(replace(t, donors={"mask": donors}), SUITE, seed=0, resamples=100)
    assert "donors" in of(effects, "mask", "shortcut_sensitivity", "Mass", "elsewhere").method


def test_blindness_of_independent_outputs() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.2, 0.8, (50, 3))
    labels = ["a", "b"] * 25
    kinds = {"tolerance": 0.05, "exclusive": False}
    assert find_blindness(sure, labels, OUTPUTS[:3], **kinds) == ()  # type: ignore[arg-type]
    still = np.column_stack([sure[:, :2], np.full(50, 0.7)])
    (constant,) = find_blindness(still, labels, OUTPUTS[:3], **kinds)  # type: ignore[arg-type]
    assert (constant.kind, constant.classes, constant.total) == ("constant", ("Edema",), False)
    (narrow,) = find_blindness(0.5 + (sure - 0.5) / 20, labels, OUTPUTS[:3], **kinds)  # type: ignore[arg-type]
    assert (narrow.kind, narrow.total) == ("narrow", True)
    near = np.column_stack([sure[:, :2], np.where(np.arange(50) < 40, 1e-6, 0.5)])
    (saturated,) = find_blindness(near, labels, OUTPUTS[:3], **kinds)  # type: ignore[arg-type]
    assert (saturated.kind, saturated.classes) == ("saturated", ("Edema",))
    assert "the probability of Edema is below 0.1 %" in saturated.sentence.casefold().replace("edema", "Edema")


def test_a_saturated_output_is_robust_only_if_it_is_at_a_lower_temperature() -> None:
    t = many(200, pull=0.6, noise=0.02)
    loud = {name: values * np.float32([200, 1, 1, 1]) for name, values in t.logits.items()}
    saturated = replace(t, logits=loud)
    cooler = at_lower_temperature(saturated, 0.05)
    assert cooler is not None
    assert np.array_equal(cooler.logits["mask"][..., 1:], loud["mask"][..., 1:])
    assert at_lower_temperature(t, 0.05) is None
    effects = measure_effects(saturated, SUITE, seed=0, resamples=100)
    assert of(effects, "mask", "shortcut_sensitivity", "Pneumonia", "elsewhere").verdict != "robust"
    assert of(effects, "mask", "shortcut_sensitivity", "Mass", "elsewhere").verdict == "robust"


def test_the_self_check_plants_an_effect_in_an_output() -> None:
    planted, null = check_planted(many(200), SUITE, seed=0, resamples=100, level=0.95)
    assert (planted.verdict, planted.as_expected) == ("sensitive", True)
    assert planted.estimate == pytest.approx(0.15, abs=0.05)
    assert null.as_expected


def test_an_output_that_hardly_varies_is_never_robust() -> None:
    t = many(100)
    still = {name: values * np.float32([1, 1, 1, 0.01]) for name, values in t.logits.items()}
    effects = measure_effects(replace(t, logits=still), SUITE, seed=0, resamples=100)
    found = of(effects, "mask", "shortcut_sensitivity", "Fracture", "elsewhere")
    assert (found.verdict, found.blind) == ("inconclusive", True)
    assert of(effects, "mask", "shortcut_sensitivity", "Mass", "elsewhere").verdict == "robust"


def test_an_output_is_compared_with_that_of_an_earlier_run() -> None:
    after, before = many(pull=1.0), many(pull=0.4)
    runs = [FinishedRun(path=Path("run"), plan={}, suite=SUITE, table=t) for t in (after, before)]
    group = Group(kind="output", value="Pneumonia")
    earlier = measure_images(runs[1], "mask", "shortcut_sensitivity", group)
    change = compare_images(runs[0], earlier, "mask", "shortcut_sensitivity", group=group, resamples=200)
    clean, now, then = p(after.logits["clean"][0]), p(after.logits["mask"][0]), p(before.logits["mask"][0])
    # Same noise, same placebo: what is left is how much further the edit moves this output.
    truth = (np.abs(now[:, 0] - clean[:, 0]) - np.abs(then[:, 0] - clean[:, 0])).mean()
    assert change.estimate == pytest.approx(truth, abs=1e-6)
    assert change.low is not None and change.low > 0
    other = Group(kind="output", value="Mass")
    same = measure_images(runs[1], "mask", "shortcut_sensitivity", other)
    assert compare_images(runs[0], same, "mask", "shortcut_sensitivity", group=other).estimate == pytest.approx(
        0, abs=1e-6
    )
    assert len(measure_images(runs[0], "clean", "accuracy", group).images) == int((after.truth[:, 0] >= 0).sum())  # type: ignore[index]
    with pytest.raises(UsageError, match="nll is not measured of a single output"):
        measure_images(runs[0], "mask", "nll", group)
