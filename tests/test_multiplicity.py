"""Families of tests: replicas of Holm and Benjamini-Hochberg, and the error rate of correlated families."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from audit.statistics.multiplicity import adjust_family, benjamini_hochberg, holm

PS = st.lists(st.floats(1e-9, 1.0), min_size=1, max_size=12)


@given(PS)
def test_holm_by_hand(p: list[float]) -> None:
    order = np.argsort(p)
    running, expected = 0.0, np.empty(len(p))
    for place, index in enumerate(order):
        running = max(running, min(1.0, (len(p) - place) * p[index]))
        expected[index] = running
    assert holm(p) == pytest.approx(expected.tolist())


@given(PS)
def test_benjamini_hochberg_by_hand(p: list[float]) -> None:
    order, m = np.argsort(p), len(p)
    running, expected = 1.0, np.empty(m)
    for rank in range(m, 0, -1):
        running = min(running, p[order[rank - 1]] * m / rank)
        expected[order[rank - 1]] = running
    assert benjamini_hochberg(p) == pytest.approx(expected.tolist())


def test_what_could_not_be_tested_is_not_counted() -> None:
    assert holm([0.01, None, 0.04]) == [0.02, None, 0.04]
    assert benjamini_hochberg([None]) == [None]


@settings(max_examples=20, deadline=None)
@given(p=PS, seed=st.integers(0, 5))
def test_a_family_lies_between_its_own_p_and_holm(p: list[float], seed: int) -> None:
    influences = np.random.default_rng(seed).normal(size=(len(p), 30))
    found = adjust_family(p, influences, level=0.95, seed=seed)
    for own, adjusted, by_holm in zip(p, found.p_adjusted, holm(p), strict=True):
        assert adjusted <= by_holm + 1e-12
        assert adjusted >= own - 0.02
    assert 0.95 <= found.simultaneous_level <= 1 - 0.05 / len(p) + 1e-12


def test_equal_estimates_cost_nothing_and_independent_ones_what_sidak_says() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=200)
    same = adjust_family([0.03] * 5, np.tile(one, (5, 1)), level=0.95, seed=0)
    assert same.p_adjusted == pytest.approx([0.03] * 5, abs=0.005)
    assert same.simultaneous_level == pytest.approx(0.95, abs=0.005)
    apart = adjust_family([0.03] * 5, np.eye(5), level=0.95, seed=0)
    assert apart.p_adjusted == pytest.approx([1 - 0.97**5] * 5, abs=0.01)
    assert apart.simultaneous_level == pytest.approx(0.95**0.2, abs=0.003)


def test_the_family_wise_error_rate_holds() -> None:
    rng = np.random.default_rng(1)
    wrong = 0
    for seed in range(200):
        shared = rng.normal(size=60)
        values = 0.7 * shared + 0.7 * rng.normal(size=(8, 60))
        z = values.mean(1) / (values.std(1, ddof=1) / np.sqrt(60))
        centred = values - values.mean(1, keepdims=True)
        found = adjust_family((2 * norm.sf(np.abs(z))).tolist(), centred, level=0.95, seed=seed)
        wrong += min(found.p_adjusted) <= 0.05
    assert wrong / 200 <= 0.10


def test_an_empty_family() -> None:
    assert adjust_family([], np.zeros((0, 3)), level=0.95, seed=0).p_adjusted == ()
