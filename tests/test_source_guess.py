"""What accuracy is worth: the guess from the source, by hand and on cases with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from audit.statistics.effects import measure_effects
from audit.statistics.source_guess import guess_from_source

from .test_effects import SUITE, pick, table


def guess(labels: list[int], sources: list[str]) -> list[int]:
    n = len(labels)
    return guess_from_source(np.array(labels), np.array(sources), np.arange(n)).tolist()


def test_one_source_is_the_most_frequent_class() -> None:
    assert guess([0, 1] * 32, ["a"] * 64) == [0] * 64, "balanced classes of one source are guessed by chance, not worse"
    assert guess([0, 1, 1] * 20, ["a"] * 60) == [1] * 60


def test_a_class_from_a_source_of_its_own_is_given_away() -> None:
    assert guess([0] * 10 + [1] * 10, ["a"] * 10 + ["b"] * 10) == [0] * 10 + [1] * 10


def test_sources_of_a_few_patients_are_guessed_together() -> None:
    labels = [0] * 20 + [1, 1, 0]
    assert guess(labels, ["a"] * 20 + ["x", "y", "z"]) == [0] * 20 + [1, 1, 1]
    same_patient = guess_from_source(
        np.array([0] * 6 + [1] * 9), np.array(["a"] * 6 + ["b"] * 9), np.array([*range(6), *[9] * 9])
    )
    assert same_patient.tolist() == [0] * 6 + [1] * 9, "the rest, pooled, has a guess of its own"


def test_the_effect_is_the_paired_difference() -> None:
    t = table()
    found = pick(measure_effects(t, SUITE, seed=0, resamples=400), "clean", "accuracy_over_source", placebo=None)
    right = t.logits["clean"][0].argmax(axis=1) == t.labels
    counts = {s: np.bincount(t.labels[t.groups["source"] == s]) for s in ("north", "south")}
    guessed = np.array([counts[s].argmax() for s in t.groups["source"]]) == t.labels
    assert found.estimate == pytest.approx(right.mean() - guessed.mean())
    assert found.verdict == "descriptive"
    assert found.low is not None
    assert found.low > 0
