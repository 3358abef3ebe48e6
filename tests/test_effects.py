"""Effects on tables of predictions: replicas of the numbers, and how they must behave when the table changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from audit.data.conditions import CLEAN, Condition, Declared, Dose, Role, Suite
from audit.errors import AuditError, CohortError, ModelError, UnknownNameError, UsageError
from audit.gates.judging import judge
from audit.gates.rules import GateConfig, Rule
from audit.statistics.alignment import MIN_GROUP_PATIENTS
from audit.statistics.effects import measure_effects
from audit.statistics.finder_misses import FinderRecall, read_recall
from audit.statistics.verdicts import control_failures
from audit.store.results import Effect, PredictionTable

from .tables import in_order

RULE = Rule(id="r", measure="shortcut_sensitivity", operator="<=", limit=0.05, condition="mask")
CLASSES = ("normal", "pneumonia", "covid")
REMOVES_TEXT = Declared(removes=("text",))
SUITE = Suite(
    name="test",
    version=1,
    description="",
    conditions=(
        CLEAN,
        Condition(
            name="mask",
            perturbation="text-mask",
            declared=Declared(removes=("text",)),
            role="edit",
            placebo="elsewhere",
            parameters={},
        ),
        Condition(name="elsewhere", perturbation="placebo-mask", role="placebo", draws=3, parameters={}),
        Condition(name="own", perturbation="paste-letters", role="control", parameters={}),
        Condition(name="blur", perturbation="blur", role="edit", parameters={}),
    ),
)


def table(
    n: int = 120, *, seed: int = 0, pull: float = 0.0, n_patients: int = 60, applied: Mapping[str, float] | None = None
) -> PredictionTable:
    """Return predictions of which `mask` moves every image's logit of the true class down by `pull`."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    clean = rng.normal(0, 1, (n, 3))
    clean[np.arange(n), labels] += 1.5
    draws = {"mask": 1, "elsewhere": 3, "own": 1, "blur": 1}
    logits, was_applied = {"clean": clean[None]}, {"clean": np.ones((1, n), bool)}
    for name, count in draws.items():
        moved = np.repeat(clean[None], count, 0)
        if name in ("mask", "elsewhere", "blur"):
            moved = moved + rng.normal(0, 0.2, moved.shape)
        if name == "mask":
            moved[0, np.arange(n), labels] -= pull
        seen = rng.random(n) < (applied or {}).get(name, 1.0)
        was_applied[name] = np.repeat(seen[None], count, 0)
        logits[name] = np.where(was_applied[name][:, :, None], moved, clean)
    patients = np.arange(n) % n_patients
    return PredictionTable(
        record_ids=np.array([f"r{i:04}" for i in range(n)]),
        labels=labels.astype(np.int64),
        patients=np.array([f"p{p}" for p in patients]),
        groups={"source": np.where(patients % 2 == 0, "north", "south"), "view": np.full(n, "")},
        classes=CLASSES,
        logits={k: v.astype(np.float32) for k, v in logits.items()},
        applied=was_applied,
    )


def measure(t: PredictionTable, **changes: object) -> list[Effect]:
    return measure_effects(t, SUITE, **{"seed": 0, "resamples": 400, "level": 0.95, **changes})


def pick(effects: list[Effect], condition: str, measure: str, group: str = "all", placebo: str | None = None) -> Effect:
    found = [
        e for e in effects if (e.condition, e.measure, str(e.group), e.placebo) == (condition, measure, group, placebo)
    ]
    assert len(found) == 1, [(e.condition, e.measure, e.group, e.placebo) for e in effects]
    return found[0]


def probabilities(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(float) - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_every_estimate_by_hand() -> None:
    t = table(pull=1.0, applied={"mask": 0.8})
    found = measure(t)
    clean = t.logits["clean"][0]
    correct = clean.argmax(-1) == t.labels
    assert pick(found, "clean", "accuracy").estimate == pytest.approx(correct.mean())
    for c, name in enumerate(CLASSES):
        assert pick(found, "clean", "recall", f"class={name}").estimate == pytest.approx(correct[t.labels == c].mean())
    balanced = np.mean([correct[t.labels == c].mean() for c in range(3)])
    assert pick(found, "clean", "balanced_accuracy").estimate == pytest.approx(balanced)
    north = t.groups["source"] == "north"
    assert pick(found, "clean", "accuracy", "source=north").estimate == pytest.approx(correct[north].mean())

    population = t.applied["mask"][0]

    def change(name: str, kind: str) -> np.ndarray:
        draws = t.logits[name]
        p0, p1 = probabilities(clean), probabilities(draws)
        if kind == "tv":
            return 0.5 * np.abs(p1 - p0).sum(-1).mean(0)
        return ((draws.argmax(-1) == t.labels).astype(float) - correct).mean(0)

    for kind, name in (("tv", "shortcut_sensitivity"), ("accuracy", "accuracy")):
        expected = (change("mask", kind) - change("elsewhere", kind))[population].mean()
        entry = pick(found, "mask", name, placebo="elsewhere")
        assert entry.estimate == pytest.approx(expected, abs=1e-6)
        assert entry.n_images == population.sum()
    assert pick(found, "mask", "accuracy").estimate == pytest.approx(change("mask", "accuracy")[population].mean())
    raw = pick(found, "mask", "flip_rate")
    assert raw.estimate == pytest.approx((t.logits["mask"][0].argmax(-1) != clean.argmax(-1))[population].mean())
    assert raw.discordant == round(raw.estimate * population.sum())


def with_role(role: Role, dose: Dose | None = None) -> Suite:
    conditions = tuple(replace(c, role=role, dose=dose) if c.name == "mask" else c for c in SUITE.conditions)
    return replace(SUITE, conditions=conditions)


def test_sufficiency_by_hand() -> None:
    t = table(pull=-1.5)  # what is kept tells more of the truth than its placebo
    found = measure_effects(t, with_role("sufficiency"), seed=0, resamples=400)
    rows = np.arange(120)
    kept = probabilities(t.logits["mask"])[:, rows, t.labels].mean(0)
    placebo = probabilities(t.logits["elsewhere"])[:, rows, t.labels].mean(0)
    entry = pick(found, "mask", "sufficiency", placebo="elsewhere")
    assert entry.estimate == pytest.approx((kept - placebo).mean(), abs=1e-6)
    assert (entry.verdict, entry.tolerance) == ("sensitive", 0.05)
    assert pick(found, "mask", "accuracy", placebo="elsewhere").verdict == "descriptive"
    assert not [e for e in found if e.measure == "shortcut_sensitivity"]
    less = measure_effects(table(pull=1.5), with_role("sufficiency"), seed=0, resamples=400)
    assert pick(less, "mask", "sufficiency", placebo="elsewhere").verdict == "bounded", "telling less is no shortcut"


@pytest.mark.parametrize(
    ("role", "dose", "measure_name"),
    [
        ("stress", None, "total_variation"),
        ("edit", Dose(ladder="mask", parameter="opacity", value=0.5), "shortcut_sensitivity"),
    ],
)
def test_stresses_and_rungs_are_measured_not_judged(role: Role, dose: Dose | None, measure_name: str) -> None:
    found = measure_effects(table(pull=2.5), with_role(role, dose), seed=0, resamples=400)
    entry = pick(found, "mask", measure_name, placebo="elsewhere")
    assert (entry.verdict, entry.tolerance, entry.family) == ("descriptive", None, "exploratory")
    judged = pick(measure(table(pull=2.5)), "mask", "shortcut_sensitivity", placebo="elsewhere")
    assert entry.estimate == judged.estimate


@pytest.mark.parametrize("content", ["grey-curve", "sharpness", "noise", "frame"])
def test_what_another_class_has_is_judged_by_how_far_predictions_move_and_not_by_accuracy(content: str) -> None:
    """It tells of the class by construction: accuracy falls whatever makes the classes differ."""
    suite = with_role("edit")
    towards = replace(suite.conditions[1], declared=Declared(adds=(content,)))
    found = measure_effects(
        table(pull=2.5),
        replace(suite, conditions=(suite.conditions[0], towards, *suite.conditions[2:])),
        seed=0,
        resamples=400,
    )
    assert pick(found, "mask", "shortcut_sensitivity", placebo="elsewhere").verdict == "sensitive"
    accuracy = pick(found, "mask", "accuracy", placebo="elsewhere")
    assert (accuracy.verdict, accuracy.tolerance) == ("descriptive", None)
    judged = measure(table(pull=2.5))
    assert pick(judged, "mask", "accuracy", placebo="elsewhere").tolerance == 0.02
    assert accuracy.estimate == pick(judged, "mask", "accuracy", placebo="elsewhere").estimate


def test_a_placebo_that_moves_more_is_neither_a_shortcut_nor_robust() -> None:
    t = table(pull=2.5)
    logits = {**t.logits, "mask": t.logits["clean"].copy(), "elsewhere": np.repeat(t.logits["mask"], 3, 0)}
    entry = pick(measure(replace(t, logits=logits)), "mask", "shortcut_sensitivity", placebo="elsewhere")
    assert entry.high is not None
    assert entry.high < -0.05
    assert entry.verdict == "reversed"


def test_a_shortcut_is_sensitive_and_none_is_robust() -> None:
    found = pick(measure(table(pull=2.5)), "mask", "shortcut_sensitivity", placebo="elsewhere")
    assert (found.verdict, found.tolerance) == ("sensitive", 0.05)
    assert found.low is not None
    assert found.low > 0.05
    none = pick(measure(table(n=600, n_patients=600)), "mask", "shortcut_sensitivity", placebo="elsewhere")
    assert none.verdict == "robust"
    few = pick(measure(table(n=6, n_patients=6)), "mask", "shortcut_sensitivity", placebo="elsewhere")
    assert few.verdict == "inconclusive", "six images are no proof of anything"


def test_what_could_not_be_done_to_a_class_is_not_shown_of_it() -> None:
    t = table(n=600, n_patients=600)
    covid = t.labels == CLASSES.index("covid")
    without = {k: v & ~covid if k == "elsewhere" else v for k, v in t.applied.items()}
    effects = measure(replace(t, applied=without))
    found = pick(effects, "mask", "shortcut_sensitivity", placebo="elsewhere")
    assert (found.n_images, found.classes_absent) == (400, ("covid",))
    assert found.high is not None
    assert found.high < 0.05, "the other images alone would be robust"
    assert (found.verdict, found.patients_to_decide) == ("inconclusive", None)
    assert pick(effects, "mask", "shortcut_sensitivity", "class=normal", "elsewhere").classes_absent == ()
    assert pick(effects, "mask", "total_variation").classes_absent == ("covid",), "raw effects are of the same images"
    assert pick(effects, "blur", "accuracy").classes_absent == ()
    # What only images of some classes can lose or gain is shown of the network by these.
    one_way = replace(SUITE.conditions[1], declared=Declared(adds=("sharpness",)))
    suite = replace(SUITE, conditions=(CLEAN, one_way, *SUITE.conditions[2:]))
    lost = pick(
        measure_effects(replace(t, applied=without), suite, seed=0, resamples=400),
        "mask",
        "shortcut_sensitivity",
        placebo="elsewhere",
    )
    assert (lost.n_images, lost.classes_absent, lost.verdict) == (400, (), "robust")
    pulled = table(n=600, n_patients=600, pull=2.5)
    moved = measure(replace(pulled, applied=without))
    assert pick(moved, "mask", "shortcut_sensitivity", placebo="elsewhere").verdict == "sensitive", "that is shown"
    nobody = measure(replace(t, labels=np.where(covid, 0, t.labels)))
    assert {e.classes_absent for e in nobody} == {()}, "a class without images is the cohort's lack, said elsewhere"


def test_the_order_of_rows_changes_nothing() -> None:
    t = table(pull=1.0)
    order = np.random.default_rng(1).permutation(120)
    shuffled = in_order(t, order)
    assert measure(shuffled) == measure(t)
    assert measure(t, seed=1) != measure(t)


def test_names_of_classes_do_not_matter() -> None:
    t = table(pull=1.0)
    swap = np.array([2, 0, 1])
    renamed = replace(
        t,
        labels=np.argsort(swap)[t.labels].astype(np.int64),
        classes=tuple(CLASSES[c] for c in swap),
        logits={k: v[:, :, swap] for k, v in t.logits.items()},
    )
    key = ("mask", "shortcut_sensitivity", "all", "elsewhere")
    assert pick(measure(renamed), *key).estimate == pytest.approx(pick(measure(t), *key).estimate, abs=1e-9)


def test_a_placebo_that_does_the_same_leaves_nothing() -> None:
    t = table(pull=2.0)
    same = replace(t, logits={**t.logits, "elsewhere": np.repeat(t.logits["mask"], 3, 0)})
    entry = pick(measure(same), "mask", "shortcut_sensitivity", placebo="elsewhere")
    assert entry.estimate == 0
    assert entry.discordant > 0, "both moved predictions"


def test_controls_are_exact() -> None:
    t = table()
    assert control_failures(measure(t)) == []
    moved = t.logits["own"].copy()
    moved[0, 3, 0] += 1e-3
    void = measure(replace(t, logits={**t.logits, "own": moved}))
    assert {e.verdict for e in void} == {"void", "descriptive"}, "no verdict counts where a control failed"
    failed = control_failures(void)
    assert [e.condition for e in failed] == ["own"]
    p0, p1 = probabilities(t.logits["clean"][0, 3]), probabilities(moved[0, 3])
    assert failed[0].estimate == pytest.approx(np.abs(p1 - p0).max())


def test_what_was_applied_nowhere_is_not_a_zero() -> None:
    t = table()
    nowhere = replace(t, applied={**t.applied, "mask": np.zeros((1, 120), bool)})
    entry = pick(measure(nowhere), "mask", "shortcut_sensitivity", placebo="elsewhere")
    assert (entry.estimate, entry.low, entry.verdict, entry.n_images) == (None, None, "inconclusive", 0)


def test_one_draw_missing_leaves_the_image_out() -> None:
    t = table()
    applied = t.applied["elsewhere"].copy()
    applied[2, :40] = False
    entry = pick(
        measure(replace(t, applied={**t.applied, "elsewhere": applied})),
        "mask",
        "shortcut_sensitivity",
        placebo="elsewhere",
    )
    assert entry.n_images == 80


def test_the_declared_family_is_exactly_what_is_judged() -> None:
    found = measure(table(pull=1.0))
    judged = [e for e in found if e.tolerance is not None]
    groups = ["all", *(f"class={name}" for name in CLASSES)]
    assert sorted((e.condition, e.measure, str(e.group)) for e in judged) == sorted(
        [
            ("mask", "accuracy", "all"),
            ("blur", "accuracy", "all"),
            *(("mask", "shortcut_sensitivity", group) for group in groups),
        ]
    )
    assert all(e.family == "declared" for e in judged)
    order = sorted(judged, key=lambda e: e.p)
    for place, e in enumerate(order):  # never above Holm, never below its own p
        by_holm = max(min(1.0, (len(order) - j) * order[j].p) for j in range(place + 1))
        assert e.p <= e.p_adjusted + 0.01, "but for the noise of 20,000 draws"
        assert e.p_adjusted <= by_holm + 0.02
        assert e.simultaneous_low <= e.low
        assert e.high <= e.simultaneous_high
    assert all(e.verdict == "descriptive" and e.simultaneous_low is None for e in found if e.tolerance is None)


def test_the_exploratory_rest_is_adjusted_by_its_false_discovery_rate() -> None:
    found = measure(table(pull=1.0))
    rest = [e for e in found if e.family == "exploratory" and e.p is not None]
    assert len(rest) > 20
    assert {e.placebo for e in rest if e.condition == "mask"} == {"elsewhere"}, "raw effects with a placebo are no test"
    p = np.array([e.p for e in rest])
    order = np.argsort(p)
    m = len(p)
    expected, smallest = np.empty(m), 1.0
    for rank in range(m, 0, -1):
        smallest = min(smallest, p[order[rank - 1]] * m / rank)
        expected[order[rank - 1]] = smallest
    assert [e.p_adjusted for e in rest] == pytest.approx(expected.tolist(), abs=1e-9)
    assert all(e.p is None for e in found if e.condition == "clean" or e.family == "none")


def test_an_open_verdict_says_how_many_patients_would_do() -> None:
    entry = pick(measure(table(n=30, n_patients=30, pull=0.3)), "mask", "shortcut_sensitivity", placebo="elsewhere")
    assert entry.verdict == "inconclusive"
    assert entry.patients_to_decide > 30
    decided = pick(measure(table(pull=2.5)), "mask", "shortcut_sensitivity", placebo="elsewhere")
    assert decided.patients_to_decide is None


def naive_auc(score: np.ndarray, positive: np.ndarray) -> float:
    pairs = [(p > q) + 0.5 * (p == q) for p in score[positive] for q in score[~positive]]
    return float(np.mean(pairs))


def naive_ece(p: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    total = 0.0
    for b in range(bins):
        inside = [i for i in range(len(p)) if min(int(p[i].max() * bins), bins - 1) == b]
        if inside:
            confidence = np.mean([p[i].max() for i in inside])
            correct = np.mean([p[i].argmax() == labels[i] for i in inside])
            total += len(inside) / len(p) * abs(confidence - correct)
    return total


def test_ranking_likelihood_and_calibration_by_hand() -> None:
    t = table(n=60, pull=1.0)
    found = measure(t)
    clean = probabilities(t.logits["clean"][0])
    mask = probabilities(t.logits["mask"][0])
    elsewhere = [probabilities(draw) for draw in t.logits["elsewhere"]]
    rows, expected = np.arange(60), []
    for c, name in enumerate(CLASSES):
        positive = t.labels == c
        assert pick(found, "clean", "auc", f"class={name}").estimate == pytest.approx(naive_auc(clean[:, c], positive))
        placebo = np.mean([naive_auc(p[:, c], positive) for p in elsewhere])
        beyond = naive_auc(mask[:, c], positive) - placebo
        expected.append(beyond)
        entry = pick(found, "mask", "auc", f"class={name}", "elsewhere")
        assert entry.estimate == pytest.approx(beyond, abs=1e-9)
    assert pick(found, "mask", "macro_auc", placebo="elsewhere").estimate == pytest.approx(np.mean(expected), abs=1e-9)

    ece = naive_ece(mask, t.labels) - np.mean([naive_ece(p, t.labels) for p in elsewhere])
    assert pick(found, "mask", "ece", placebo="elsewhere").estimate == pytest.approx(ece, abs=1e-9)
    assert pick(found, "clean", "ece").estimate == pytest.approx(naive_ece(clean, t.labels), abs=1e-9)

    def nll(p: np.ndarray) -> float:
        return float(-np.log(p[rows, t.labels]).mean())

    def brier(p: np.ndarray) -> float:
        return float(((p - np.eye(3)[t.labels]) ** 2).sum(-1).mean())

    for name, score in (("nll", nll), ("brier", brier)):
        assert pick(found, "clean", name).estimate == pytest.approx(score(clean), abs=1e-6)
        beyond = score(mask) - np.mean([score(p) for p in elsewhere])
        assert pick(found, "mask", name, placebo="elsewhere").estimate == pytest.approx(beyond, abs=1e-6)

    spread = np.std(margins(t.logits["clean"][0], t.labels))
    entry, shift = (pick(found, "mask", m, placebo="elsewhere") for m in ("margin_sd", "margin"))
    assert entry.estimate == pytest.approx(shift.estimate / spread, abs=1e-6)


def margins(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.array([row[y] - max(np.delete(row, y)) for row, y in zip(logits.astype(float), labels, strict=True)])


def test_flips_and_pull_towards_the_donor_by_hand() -> None:
    t = table(n=90)
    lender = [int(np.flatnonzero(t.labels == (label + 1) % 3)[i % 7]) for i, label in enumerate(t.labels)]
    lender[:10] = [-1] * 10  # no donor for these
    donors = ((t.labels + 1) % 3)[None]
    pulled = t.logits["mask"].copy()
    pulled[0, np.arange(90), donors[0]] += 2.0
    found = measure(replace(t, logits={**t.logits, "mask": pulled}, donors={"mask": np.array([lender])}))
    told = np.array(lender) >= 0
    p0, p1 = probabilities(t.logits["clean"][0]), probabilities(pulled[0])
    rows = np.arange(90)
    flips = (p1.argmax(-1) == donors[0]) & (p0.argmax(-1) != donors[0])
    raw = pick(found, "mask", "flip_rate_to_donor")
    assert (raw.estimate, raw.n_images) == (pytest.approx(flips[told].mean()), 80)
    placebo = [probabilities(draw) for draw in t.logits["elsewhere"]]
    beside = np.mean([(p[rows, donors[0]] - p0[rows, donors[0]])[told].mean() for p in placebo])
    pull = (p1[rows, donors[0]] - p0[rows, donors[0]])[told].mean() - beside
    assert pick(found, "mask", "pull_to_donor", placebo="elsewhere").estimate == pytest.approx(pull, abs=1e-6)
    assert not [e for e in measure(t) if e.measure == "pull_to_donor"], "without donors there is no direction"


def test_masking_is_corrected_for_what_the_finder_missed() -> None:
    mask = replace(SUITE.conditions[1], perturbation="text-mask")
    t = table(pull=1.0)
    certain = FinderRecall(found={"all": (10**6, 10**6)})
    half = FinderRecall(found={"all": (10, 10), "covid": (10, 20)})
    suite = replace(SUITE, conditions=(SUITE.conditions[0], mask, *SUITE.conditions[2:]))

    def corrected(recall: FinderRecall | None) -> list[Effect]:
        found = measure_effects(t, suite, seed=0, resamples=400, recall=recall)
        return [e for e in found if e.measure == "shortcut_sensitivity_corrected"]

    assert corrected(None) == []
    plain = pick(measure(t), "mask", "shortcut_sensitivity", placebo="elsewhere")
    (same,) = corrected(certain)
    assert same.estimate == pytest.approx(plain.estimate, abs=1e-5)
    p0 = probabilities(t.logits["clean"][0])
    tv = 0.5 * np.abs(probabilities(t.logits["mask"][0]) - p0).sum(-1)
    tv = tv - np.mean([0.5 * np.abs(probabilities(d) - p0).sum(-1) for d in t.logits["elsewhere"]], axis=0)
    by_class = [10.5 / 11, 10.5 / 11, 10.5 / 21]
    expected = np.mean([tv[i] / by_class[t.labels[i]] for i in range(120)])
    (missing,) = corrected(half)
    assert missing.estimate == pytest.approx(expected, abs=1e-6)
    assert missing.high - missing.low > same.high - same.low, "the recall's uncertainty is inside"


@pytest.mark.parametrize(
    ("table_", "kind", "says"),
    [
        ({"covd": [1, 2]}, UnknownNameError, "Did you mean 'covid'"),
        ({"all": [3, 2]}, UsageError, "0 < found <= boxes"),
        ({"all": [0, 2]}, UsageError, "finds nothing"),
        ({"all": 0.9}, UsageError, r"\[found, boxes\]"),
        ({"covid": [1, 2]}, UsageError, "has no entry for class normal, pneumonia"),
    ],
)
def test_recalls_that_cannot_be_used(table_: dict[str, object], kind: type[AuditError], says: str) -> None:
    with pytest.raises(kind, match=says):
        read_recall(table_, CLASSES)


def test_small_subgroups_get_no_effect() -> None:
    t = table()
    groups = {"site": np.where(np.isin(t.patients, [f"p{i}" for i in range(MIN_GROUP_PATIENTS - 1)]), "tiny", "rest")}
    found = measure(replace(t, groups=groups))
    named = {str(e.group) for e in found if e.measure == "shortcut_sensitivity"}
    assert "site=rest" in named
    assert "site=tiny" not in named
    assert not any(e.group.kind == "view" for e in measure(t)), "an empty cell is not a group"


def test_tables_that_cannot_be_judged() -> None:
    t = table()
    broken = t.logits["mask"].copy()
    broken[0, 5] = np.nan
    with pytest.raises(ModelError, match=r"not finite for 1 of 120 images, the first being 'r0005'"):
        measure(replace(t, logits={**t.logits, "mask": broken}))
    with pytest.raises(CohortError, match="same record id"):
        measure(replace(t, record_ids=np.array(["r"] * 120)))
    with pytest.raises(CohortError, match="indices from 0 to 2"):
        measure(replace(t, labels=t.labels + 1))
    with pytest.raises(AuditError, match="declares condition 'blur'"):
        measure(replace(t, logits={k: v for k, v in t.logits.items() if k != "blur"}))


@pytest.mark.parametrize("constant", [(0.0, 0.0, 0.0), (0.1, 0.7, -3.3), (40.0, 0.0, -40.0)])
@pytest.mark.parametrize("n_patients", [60, 2])
@pytest.mark.parametrize("one_class", [False, True])
def test_a_network_that_always_says_the_same_is_not_known_exactly(
    constant: tuple[float, float, float], n_patients: int, one_class: bool
) -> None:
    """Nothing varies, so nothing has a spread to be measured in; yet no interval may be a point, or miss its estimate."""
    t = table(n_patients=n_patients)
    same = {name: np.broadcast_to(np.float32(constant), x.shape) for name, x in t.logits.items()}
    t = replace(t, logits=same, labels=np.zeros_like(t.labels) if one_class else t.labels)
    effects = [e for e in measure(t) if e.low is not None and e.high is not None]
    assert len(effects) > 30
    for e in effects:
        assert e.estimate is not None
        assert np.isfinite([e.estimate, e.low, e.high]).all()
        assert e.low <= e.estimate <= e.high
        if e.measure != "max_abs_probability_change":
            assert e.high - e.low > 1e-3, (e.condition, e.measure, e.group)
        assert e.verdict != "sensitive"


def test_a_network_whose_probabilities_are_constant_is_never_robust() -> None:
    """Three real outputs beside a fourth that a softmax cannot see past: what moves is not seen, and so is no evidence."""
    t = table(n=600, n_patients=600, pull=2.5)
    fourth = {name: np.concatenate([v, np.full((*v.shape[:2], 1), 25.0)], axis=2) for name, v in t.logits.items()}
    drowned = replace(t, classes=(*CLASSES, "other"), logits=fourth)
    entry = pick(measure(drowned), "mask", "shortcut_sensitivity", placebo="elsewhere")
    assert entry.high is not None
    assert entry.high < 0.05
    assert (entry.verdict, entry.blind) == ("inconclusive", True)
    assert judge([entry], GateConfig(rules=(RULE,))).status == "inconclusive"
    # A high temperature: classes are told apart as before, but no two images differ by the limit.
    soft = replace(t, logits={name: v * 0.005 for name, v in t.logits.items()})
    entry = pick(measure(soft), "mask", "shortcut_sensitivity", placebo="elsewhere")
    assert (entry.verdict, entry.blind) == ("inconclusive", True)
    seen = pick(measure(table(n=600, n_patients=600)), "mask", "shortcut_sensitivity", placebo="elsewhere")
    assert (seen.verdict, seen.blind) == ("robust", False)
    assert judge([seen], GateConfig(rules=(RULE,))).status == "pass"


def sure(*, pull: float, scale: float, share: float = 1.0) -> PredictionTable:
    """Return predictions of a network that is right on every image by a lead of 3 logits, of which `mask` takes `pull` away.

    `scale` multiplies the logits of a share of the images: decisions are the same at any scale.
    """
    rng = np.random.default_rng(1)
    t = table(n=600, n_patients=600)
    clean = rng.normal(0, 0.15, (600, 3))
    clean[np.arange(600), t.labels] += 3
    logits = {name: np.repeat(clean[None], len(values), 0) for name, values in t.logits.items()}
    for name in ("mask", "elsewhere", "blur"):
        logits[name] = logits[name] + rng.normal(0, 0.1, logits[name].shape)
    logits["mask"][0, np.arange(600), t.labels] -= pull
    factor = np.where(np.arange(600) < share * 600, scale, 1.0)[None, :, None]
    return replace(t, logits={name: (values * factor).astype(np.float32) for name, values in logits.items()})


@pytest.mark.parametrize("scale", [1.0, 10.0, 1000.0, 1e6])
@pytest.mark.parametrize(
    ("pull", "truth"),
    [
        (0.0, "robust"),  # nothing depends on the word, whatever the scale
        (
            1.5,
            "reads the word",
        ),  # probabilities fall from 91 to 69 %, and no decision flips: hidden at any higher scale
        (4.0, "sensitive"),  # every decision flips, which every scale shows
    ],
)
def test_a_network_is_judged_no_better_when_its_logits_are_multiplied(pull: float, truth: str, scale: float) -> None:
    entry = pick(measure(sure(pull=pull, scale=scale)), "mask", "shortcut_sensitivity", placebo="elsewhere")
    if truth == "reads the word":
        truth = "sensitive" if scale == 1 else "inconclusive"
        assert entry.blind == (scale > 1)
        if scale > 10:
            assert entry.high is not None
            assert entry.high < 0.05
    assert entry.verdict == truth
    expected = {"robust": "pass", "sensitive": "fail", "inconclusive": "inconclusive"}[truth]
    assert judge([entry], GateConfig(rules=(RULE,))).status == expected


def test_a_share_of_saturated_images_is_enough_to_hide_an_effect() -> None:
    """A tenth of the images is saturated, and only these follow the word: 10 points at most, 2 at the scale of the others."""
    for share, pull, verdict in ((0.3, 1.5, "inconclusive"), (0.3, 0.0, "robust"), (0.04, 0.0, "robust")):
        t, untouched = sure(pull=pull, scale=1000.0, share=share), sure(pull=0.0, scale=1000.0, share=share)
        many = np.arange(600) < share * 600
        mixed = {n: np.where(many[None, :, None], t.logits[n], untouched.logits[n]) for n in t.logits}
        entry = pick(measure(replace(t, logits=mixed)), "mask", "shortcut_sensitivity", placebo="elsewhere")
        assert entry.high is not None
        assert entry.high < 0.05
        assert (entry.verdict, entry.blind) == (verdict, verdict == "inconclusive"), (share, pull)


def test_a_network_with_one_winner_is_never_robust() -> None:
    """A fourth constant output wins on every image and is nobody's label: what the others do is mostly hidden."""
    t = table(n=600, n_patients=600)
    fourth = {name: np.concatenate([v, np.full((*v.shape[:2], 1), 7.0)], axis=2) for name, v in t.logits.items()}
    effects = measure(replace(t, classes=(*CLASSES, "other"), logits=fourth))
    entry = pick(effects, "mask", "shortcut_sensitivity", placebo="elsewhere")
    assert pick(effects, "clean", "accuracy").estimate == 0
    assert (entry.verdict, entry.blind) == ("inconclusive", True)
    assert judge([entry], GateConfig(rules=(RULE,))).status == "inconclusive"
