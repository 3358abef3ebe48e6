"""Fills of the text are compared image by image, and what they differ by is told where it is more than their own error."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from audit.data.conditions import CLEAN, Condition, Declared, Suite
from audit.prediction.table import PredictionTable
from audit.reports.findings.fill_agreement import fills_that_disagree
from audit.statistics.effects import measure_effects
from audit.statistics.fill_agreement import FILLS_AGREE_WITHIN, disagrees
from audit.store.results import Effect
from audit.suites.reader import load_suite, suite_names

FILLS = ("median", "inpaint", "black")


def suite() -> Suite:
    conditions = [CLEAN]
    for fill in FILLS:
        conditions += [
            Condition(
                name=f"text-{fill}",
                perturbation="text-mask",
                role="stress" if fill == "black" else "edit",
                declared=Declared(removes=("text",), seamless=fill == "inpaint"),
                placebo=f"elsewhere-{fill}",
                parameters={},
            ),
            Condition(name=f"elsewhere-{fill}", perturbation="placebo-mask", role="placebo", draws=2, parameters={}),
        ]
    return Suite(name="fills", version=1, description="", conditions=tuple(conditions))


def table(moved: dict[str, float], n: int = 160, seed: int = 0) -> PredictionTable:
    """Return predictions of which each fill moves a probability by so much on average, its placebo by .01."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(0.3, 0.5, n)
    probabilities = {"clean": base[None]}
    for fill in FILLS:
        probabilities[f"text-{fill}"] = (base + moved[fill] * rng.uniform(0.5, 1.5, n))[None]
        probabilities[f"elsewhere-{fill}"] = base + 0.01 * rng.uniform(0.5, 1.5, (2, n))
    applied = {name: np.ones(p.shape, bool) for name, p in probabilities.items()}
    applied["text-median"][0, :10] = applied["text-inpaint"][0, -10:] = False
    logits = {name: np.log(np.stack([p, 1 - p], -1)).astype(np.float32) for name, p in probabilities.items()}
    return PredictionTable(
        record_ids=np.array([f"r{i:04}" for i in range(n)]),
        labels=np.arange(n) % 2,
        patients=np.array([f"p{i}" for i in range(n)]),
        groups={},
        classes=("a", "b"),
        logits=logits,
        applied=applied,
    )


def differences(t: PredictionTable) -> list[Effect]:
    found = measure_effects(t, suite(), seed=0, resamples=400)
    return [e for e in found if e.measure == "fill_disagreement"]


def sentences(effects: list[Effect]) -> list[str]:
    return list(fills_that_disagree(SimpleNamespace(effects=effects, when=lambda name: f"when edited by {name}")))  # type: ignore[arg-type]


def test_the_difference_is_the_paired_one_of_the_judged_fills() -> None:
    t = table({"median": 0.1, "inpaint": 0.2, "black": 0.02})
    (only,) = differences(t)
    assert (only.condition, only.placebo) == ("text-median", "text-inpaint"), "black is not judged"
    p = {name: np.exp(x[..., 0].astype(float)) for name, x in t.logits.items()}
    p = {name: v / (v + np.exp(t.logits[name][..., 1].astype(float))) for name, v in p.items()}
    moved = {
        f: np.abs(p[f"text-{f}"] - p["clean"]).mean(0) - np.abs(p[f"elsewhere-{f}"] - p["clean"]).mean(0) for f in FILLS
    }
    both = slice(10, -10)
    assert only.estimate == pytest.approx((moved["median"] - moved["inpaint"])[both].mean(), abs=1e-6)
    assert (only.n_images, only.verdict, only.p_adjusted) == (140, "descriptive", None)


@pytest.mark.parametrize(
    ("median", "told"),
    [
        (0.1, "smaller"),
        (0.3, "larger"),
        (0.2, ""),
        (0.2 - FILLS_AGREE_WITHIN / 2, ""),
        (0.2 + FILLS_AGREE_WITHIN / 2, ""),
    ],
)
def test_only_a_difference_beyond_the_fills_own_error_is_told(median: float, told: str) -> None:
    effects = differences(table({"median": median, "inpaint": 0.2, "black": 0.02}))
    said = sentences(effects)
    assert len(said) == bool(told)
    if told:
        assert said[0].startswith("Two fills of the text disagree. The shift is ")
        assert f"percentage points {told} when edited by text-median than when edited by text-inpaint (" in said[0]


def test_equal_fills_are_rarely_told_apart() -> None:
    wrong = sum(disagrees(e) for s in range(40) for e in differences(table(dict.fromkeys(FILLS, 0.1), seed=s, n=40)))
    assert wrong == 0


def test_an_interval_that_includes_the_limit_is_no_disagreement() -> None:
    (effect,) = differences(table({"median": 0.1, "inpaint": 0.2, "black": 0.0}))
    for low, high in ((-0.3, -0.01), (0.01, 0.3), (-0.3, 0.3), (-0.02, 0.0)):
        assert not disagrees(replace(effect, low=low, high=high))
    assert disagrees(replace(effect, low=-0.3, high=-0.021))
    assert not disagrees(replace(effect, low=None, high=None))


@pytest.mark.parametrize("name", suite_names())
def test_text_is_judged_by_two_fills_that_cover_nothing_in_black(name: str) -> None:
    conditions = load_suite(name).conditions
    fills = {c.parameters["fill"]: c for c in conditions if c.perturbation == "text-mask"}
    assert {fill for fill, c in fills.items() if c.judged} == {"inpaint", "median"}
    assert all(c.placebo for c in fills.values()), "what is only described has its control too"
    assert not fills["black"].judged
