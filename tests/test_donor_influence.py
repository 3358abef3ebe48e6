"""What donors add to an effect: by hand, and in simulated cohorts whose true effect is zero."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.statistics.donor_influence import LentChanges, donor_influence


def naive(roles, population, strata, patients, g):  # type: ignore[no-untyped-def]
    """The same, pair by pair."""
    n = int(population.sum())
    residual = {}
    for r, role in enumerate(roles):
        cells: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for k in range(len(role.values)):
            for i in np.flatnonzero(population):
                j = role.donors[k, i]
                cells.setdefault((strata[i], strata[j] if j >= 0 else -1), []).append((k, i))
        for members in cells.values():
            mean = np.mean([role.values[k, i] for k, i in members])
            q = len({patients[role.donors[k, i]] for k, i in members})
            for k, i in members:
                residual[r, k, i] = (role.values[k, i] - mean) * (q / max(q - 1, 1)) ** 0.5
    influence, twice = np.zeros(g), 0.0
    for (r, k, i), value in residual.items():
        others = [v for (r2, k2, i2), v in residual.items() if i2 == i and (r2, k2) != (r, k)]
        j = roles[r].donors[k, i]
        if j >= 0:
            added = (value - (np.mean(others) if others else 0.0)) * roles[r].sign / (n * len(roles[r].values))
            influence[patients[j]] += added
            twice += added**2
    return influence, twice


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_every_pair_counts_once(seed: int, edits: int, placebos: int, gaps: bool) -> None:
    rng = np.random.default_rng(seed)
    n, g = 24, 9
    patients = rng.integers(g, size=n)
    strata = rng.integers(3, size=n)
    population = rng.random(n) < 0.8
    population[0] = True
    roles = [
        LentChanges(values=rng.normal(size=(d, n)), donors=rng.integers(-1 if gaps else 0, n, size=(d, n)), sign=sign)
        for d, sign in ((edits, 1), (placebos, -1))
    ]
    influence, twice = donor_influence(roles, population, strata, patients, g)
    expected, also = naive(roles, population, strata, patients, g)
    assert influence == pytest.approx(expected, abs=1e-12)
    assert twice == pytest.approx(also, abs=1e-12)


def test_a_donor_that_moves_all_its_images_carries_the_effect() -> None:
    n = 40
    donors = np.tile(np.arange(4), 10)[None]
    moved = (donors == 2).astype(np.float64)
    role = LentChanges(values=moved, donors=donors, sign=1)
    everyone = np.ones(n, dtype=np.bool_)
    influence, _ = donor_influence([role], everyone, np.zeros(n, dtype=np.intp), np.arange(n), n)
    widened = (4 / 3) ** 0.5
    assert influence[2] == pytest.approx(0.75 * 10 / n * widened), "ten images moved by 1, where the mean is a quarter"
    assert influence[[0, 1, 3]] == pytest.approx(-0.25 * 10 / n * widened)
    assert not influence[4:].any()


def test_equal_donors_add_nothing() -> None:
    n = 30
    donors = np.random.default_rng(0).integers(n, size=(2, n))
    values = np.broadcast_to(np.linspace(0, 1, n), (2, n))  # images differ, draws do not
    everyone = np.ones(n, dtype=np.bool_)
    roles = [
        LentChanges(values=values, donors=donors, sign=1),
        LentChanges(values=values, donors=donors[::-1], sign=-1),
    ]
    strata = np.arange(n)  # each image is its own stratum, so that means are its own
    influence, twice = donor_influence(roles, everyone, strata, np.arange(n), n)
    assert influence == pytest.approx(np.zeros(n), abs=1e-12)
    assert twice == pytest.approx(0.0, abs=1e-12)
