"""The audit's check of itself: the planted effect is found where patients suffice, the null is not called a shortcut."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from audit.data.conditions import CLEAN, Condition, Suite
from audit.statistics.planted import check_planted
from audit.store.results import PredictionTable

CLASSES = ("normal", "pneumonia", "covid")
EDIT = Condition(name="mask", perturbation="text-mask", role="edit", placebo="placebo", parameters={})
PLACEBO = Condition(name="placebo", perturbation="placebo-mask", role="placebo", parameters={}, draws=2)
SUITE = Suite(name="s", version=1, description="", conditions=(CLEAN, EDIT, PLACEBO))


def predictions(n: int, *, effect: float = 0.0, applied: bool = True, seed: int = 0) -> PredictionTable:
    """Return a table of n images, two a patient, whose edit moves the logits by noise and an effect."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    clean = rng.normal(0, 0.5, (1, n, 3)) + 2 * np.eye(3)[labels]
    edit = clean + rng.normal(0, 0.3, clean.shape) - effect * np.eye(3)[labels]
    placebo = clean + rng.normal(0, 0.3, (2, n, 3))
    return PredictionTable(
        record_ids=np.array([f"r{i:04d}" for i in range(n)]),
        labels=labels,
        patients=np.array([f"p{i // 2}" for i in range(n)]),
        groups={},
        classes=CLASSES,
        logits={
            "clean": clean.astype(np.float32),
            "mask": edit.astype(np.float32),
            "placebo": placebo.astype(np.float32),
        },
        applied={
            "clean": np.ones((1, n), bool),
            "mask": np.full((1, n), applied),
            "placebo": np.full((2, n), applied),
        },
    )


def checks(table: PredictionTable, seed: int = 3) -> dict:
    return {c.kind: c for c in check_planted(table, SUITE, seed=seed, resamples=500, level=0.95)}


@pytest.mark.parametrize("effect", [0.0, 4.0])
def test_planted_is_found_and_null_is_quiet_whatever_the_network_reads(effect: float) -> None:
    found = checks(predictions(200, effect=effect))
    assert found["planted"].verdict == "sensitive"
    assert found["planted"].strength == pytest.approx(0.15)
    assert found["planted"].estimate == pytest.approx(0.15, abs=0.05)
    assert found["null"].verdict != "sensitive"
    assert found["null"].strength == 0
    assert abs(found["null"].estimate) < 0.05
    assert all(c.as_expected for c in found.values())


def test_too_few_patients_find_nothing_and_say_so() -> None:
    found = checks(predictions(6))
    assert found["planted"].verdict != "sensitive"
    assert not found["planted"].as_expected
    assert found["planted"].n_patients == 3


def test_nothing_is_planted_where_nothing_was_edited() -> None:
    assert check_planted(predictions(30, applied=False), SUITE, seed=0, resamples=200, level=0.95) == []
    alone = dataclasses.replace(SUITE, conditions=(CLEAN,))
    assert check_planted(predictions(30), alone, seed=0, resamples=200, level=0.95) == []


def test_order_of_rows_changes_nothing() -> None:
    table = predictions(40)
    back = np.arange(40)[::-1]
    turned = dataclasses.replace(
        table,
        record_ids=table.record_ids[back],
        labels=table.labels[back],
        patients=table.patients[back],
        logits={k: v[:, back] for k, v in table.logits.items()},
        applied={k: v[:, back] for k, v in table.applied.items()},
    )
    assert checks(table) == checks(turned)
