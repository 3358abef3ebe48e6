"""What the border's sufficiency decides of networks whose truth is known: 128 images, a standard deviation of 0.3 as measured."""

from __future__ import annotations

import numpy as np
import pytest

from audit.data.conditions import CLEAN, Condition, Declared, Suite
from audit.gates.defaults import config_for
from audit.gates.judging import judge
from audit.prediction.table import PredictionTable
from audit.statistics.effects import measure_effects
from audit.statistics.selections import default_tolerances

N, SD = 128, 0.3
EDITS = ("inpaint", "median", "swap", "look")


def suite(*, edits: bool = True) -> Suite:
    conditions = [CLEAN]
    for name in EDITS if edits else ():
        conditions += [
            Condition(name=name, perturbation="p", role="edit", placebo=f"{name}-placebo", parameters={}),
            Condition(name=f"{name}-placebo", perturbation="p", role="placebo", parameters={}),
        ]
    conditions += [
        Condition(
            name="border-only",
            perturbation="anatomy",
            role="sufficiency",
            declared=Declared(keeps=("border",)),
            placebo="elsewhere",
            parameters={},
        ),
        Condition(name="elsewhere", perturbation="anatomy", role="placebo", parameters={}),
    ]
    return Suite(name="s", version=1, description="", conditions=tuple(conditions))


def table(border: float, seed: int, *, edits: bool = True) -> PredictionTable:
    """Return predictions whose border alone raises the probability of the true class by `border` on average."""
    rng = np.random.default_rng(seed)
    labels = np.arange(N) % 2
    true = {"clean": rng.uniform(0.55, 0.95, N), "elsewhere": np.full(N, 0.45)}
    true["border-only"] = np.clip(0.45 + border + rng.choice([-SD, SD], N), 0.01, 0.99)
    for name in EDITS if edits else ():
        for side in (name, f"{name}-placebo"):
            true[side] = true["clean"] - rng.uniform(0, 0.02, N)
    logits = {}
    for name, p in true.items():
        both = np.stack([np.where(labels == 0, p, 1 - p), np.where(labels == 1, p, 1 - p)], -1)
        logits[name] = np.log(both).astype(np.float32)[None]
    return PredictionTable(
        record_ids=np.array([f"r{i:03}" for i in range(N)]),
        labels=labels,
        patients=np.array([f"p{i}" for i in range(N)]),
        groups={"source": np.full(N, "north")},
        classes=("a", "b"),
        logits=logits,
        applied={name: np.ones((1, N), bool) for name in logits},
    )


def outcomes(border: float, *, edits: bool = True, draws: int = 20) -> tuple[float, dict[str, float]]:
    """Return the share of networks whose border is sensitive, and of each status of the whole audit."""
    chosen = suite(edits=edits)
    config = config_for(None, chosen, default_tolerances(), asked=True)
    assert config is not None
    sensitive, statuses = 0, []
    for seed in range(draws):
        effects = measure_effects(table(border, seed, edits=edits), chosen, seed=seed, resamples=200)
        sensitive += any(e.measure == "sufficiency" and e.verdict == "sensitive" for e in effects)
        statuses.append(judge(effects, config).status)
    return sensitive / draws, {s: statuses.count(s) / draws for s in set(statuses)}


@pytest.mark.slow
@pytest.mark.parametrize("border", [0.0, 0.03])
def test_the_border_alone_does_not_decide_the_exit_of_a_network_that_does_not_read_it(border: float) -> None:
    sensitive, statuses = outcomes(border)
    assert sensitive <= 0.03
    assert statuses.get("pass", 0) >= 0.97


@pytest.mark.slow
def test_a_border_that_gives_the_class_away_is_found() -> None:
    sensitive, statuses = outcomes(0.157)  # what a line of one pixel gave on real radiographs
    assert sensitive >= 0.8
    assert statuses["fail"] == sensitive


def test_where_nothing_else_is_judged_an_undecided_border_is_no_pass() -> None:
    sensitive, statuses = outcomes(0.04, edits=False, draws=12)
    assert sensitive == 0
    assert statuses.get("inconclusive", 0) >= 0.7
