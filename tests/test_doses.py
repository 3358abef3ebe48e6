"""Trends over dose ladders: replicas of the numbers, level under no trend, power under one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from audit.data.conditions import CLEAN, Condition, Dose, Suite
from audit.statistics.doses import measure_trends
from audit.store.results import DoseTrend, PredictionTable

DOSES = (1.0, 2.0, 4.0)


def ladder_suite(*, placebo: bool) -> Suite:
    conditions = [CLEAN]
    for name, role, beside in (("letters", "edit", "same" if placebo else None), ("same", "placebo", None)):
        conditions += [
            Condition(
                name=f"{name}-{dose:g}",
                perturbation="paste-letters",
                role=role,
                placebo=None if beside is None else f"{beside}-{dose:g}",
                parameters={},
                dose=Dose(ladder=name, parameter="count", value=dose),
            )
            for dose in DOSES
        ]
    return Suite(name="ladders", version=1, description="", conditions=tuple(conditions))


def ladder_table(rise: float, *, n: int = 60, shared: float = 0.0, seed: int = 0) -> PredictionTable:
    """Logits of the true class fall by `rise` for each step of the dose; `shared` is done by the placebo too."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    clean = rng.normal(0, 1, (n, 3))
    clean[np.arange(n), labels] += 1.0
    logits = {"clean": clean[None]}
    for name, own in (("letters", rise + shared), ("same", shared)):
        for step, dose in enumerate(DOSES):
            moved = clean + rng.normal(0, 0.1, clean.shape)
            moved[np.arange(n), labels] -= own * (step + 1)
            logits[f"{name}-{dose:g}"] = moved[None]
    return PredictionTable(
        record_ids=np.array([f"r{i:03}" for i in range(n)]),
        labels=labels.astype(np.int64),
        patients=np.array([f"p{i // 2}" for i in range(n)]),
        groups={},
        classes=("a", "b", "c"),
        logits={k: v.astype(np.float32) for k, v in logits.items()},
        applied={k: np.ones((1, n), bool) for k in logits},
    )


def trend(table: PredictionTable, *, placebo: bool = True, seed: int = 0) -> DoseTrend:
    return measure_trends(table, ladder_suite(placebo=placebo), seed=seed, resamples=999)[0]


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x.astype(float) - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_estimates_slope_and_dose_by_hand() -> None:
    t = ladder_table(0.8)
    found = trend(t)
    p0 = softmax(t.logits["clean"][0])

    def moved(name: str) -> np.ndarray:
        return 0.5 * np.abs(softmax(t.logits[name][0]) - p0).sum(-1)

    def margin(name: str) -> np.ndarray:
        rows = t.logits[name][0].astype(float)
        return np.array([r[y] - max(np.delete(r, y)) for r, y in zip(rows, t.labels, strict=True)])

    means = [(moved(f"letters-{d:g}") - moved(f"same-{d:g}")).mean() for d in DOSES]
    assert found.estimates == pytest.approx(means, abs=1e-6)
    assert found.slope == pytest.approx(np.polyfit([0, 1, 2], means, 1)[0] * 2, abs=1e-6)
    spread = margin("clean").std()
    falls = [(margin(f"same-{d:g}") - margin(f"letters-{d:g}")).mean() / spread for d in DOSES]
    assert found.dose_one_sd == pytest.approx(np.interp(1.0, [0.0, *falls], [0.0, *DOSES]), abs=1e-4)
    assert (found.ladder, found.placebo, found.doses) == ("letters", "same", DOSES)
    assert (found.n_images, found.n_patients) == (60, 30)


def test_the_sign_flips_are_those_of_whole_patients() -> None:
    t = ladder_table(0.05, n=16)
    found = trend(t)
    p0 = softmax(t.logits["clean"][0])

    def moved(name: str) -> np.ndarray:
        return 0.5 * np.abs(softmax(t.logits[name][0]) - p0).sum(-1)

    slope = (moved("letters-4") - moved("same-4")) - (moved("letters-1") - moved("same-1"))
    sums = slope.reshape(8, 2).sum(1)
    every = [np.dot(signs, sums) for signs in product((-1, 1), repeat=8)]
    exact = np.mean([e >= sums.sum() - 1e-9 for e in every])
    assert found.p == pytest.approx(exact, abs=0.05)


def test_a_trend_is_found_and_that_of_the_placebo_is_none() -> None:
    assert trend(ladder_table(0.5)).p < 0.01
    both = ladder_table(0.0, shared=0.5)
    assert trend(both).p > 0.05
    assert trend(both, placebo=False).p < 0.01, "against nothing, the placebo's own trend looks like one"


def test_the_level_holds_without_a_trend() -> None:
    found = [trend(ladder_table(0.0, n=40, seed=s), seed=s).p for s in range(120)]
    assert np.mean([p <= 0.05 for p in found]) <= 0.12


def test_nothing_moves() -> None:
    t = ladder_table(0.0)
    still = dict.fromkeys(t.logits, t.logits["clean"])
    found = measure_trends(
        PredictionTable(**{**{f: getattr(t, f) for f in t.__dataclass_fields__}, "logits": still}),
        ladder_suite(placebo=True),
        seed=0,
        resamples=199,
    )[0]
    assert (found.p, found.slope, found.dose_one_sd) == (1.0, 0.0, None)


def test_a_dose_applied_nowhere_leaves_no_number() -> None:
    t = ladder_table(0.5)
    t.applied["letters-4"][:] = False
    found = trend(t)
    assert (found.p, found.slope, found.n_images, found.estimates) == (None, None, 0, ())
