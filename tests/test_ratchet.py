"""What accepting a run makes of pinned values: worse, better or the same; a replica, and properties."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from audit.baseline.ratchet import MARGIN, TIGHTEN_LEVEL, Held, Way, weigh_changes
from audit.store.group import ALL
from audit.store.results import Effect


def moved(estimate: float | None, low: float | None, high: float | None, *, n_patients: int = 150) -> Effect:
    return Effect(
        condition="edit", placebo=None, measure="shortcut_sensitivity", group=ALL, estimate=estimate, low=low, high=high,
        level=0.95, method="", n_images=300, n_patients=n_patients, discordant=0, p=None, p_adjusted=None, tolerance=None,
        verdict="descriptive", minimum_detectable=None,
    )  # fmt: skip


def test_only_what_is_shown_is_worse_or_better() -> None:
    for change, way, outcome in (
        ((0.024, -0.003, 0.052), "higher", "same"),
        ((0.031, 0.010, 0.052), "higher", "worse"),
        ((0.031, MARGIN - 1e-6, 0.052), "higher", "same"),
        ((0.031, 0.010, 0.052), "lower", "same"),
        ((-0.031, -0.052, -0.010), "lower", "worse"),
        ((-0.031, -0.052, -0.010), "higher", "same"),
        ((-0.200, -0.230, -0.170), "higher", "better"),
        ((0.200, 0.170, 0.230), "lower", "better"),
        ((0.200, 0.170, 0.230), "either", "worse"),
        ((-0.200, -0.230, -0.170), "either", "worse"),
        ((0.0, -0.01, 0.01), "either", "same"),
        ((0.3, None, None), "higher", "same"),
        ((None, None, None), "higher", "same"),
    ):
        assert weigh_changes([Held(way=way, change=moved(*change))]) == [outcome], (change, way)
    assert weigh_changes([]) == []


def replica(held: list[tuple[Way, float, float]], n_patients: int) -> list[str]:
    """Decide by p-values: Holm's steps over what would be worse, and over what would be better, at their own levels."""
    t = stats.t(n_patients - 1)

    def rejected(p: list[tuple[int, float]], error: float) -> set[int]:
        found: set[int] = set()
        for rank, (index, value) in enumerate(sorted(p, key=lambda pair: pair[1])):
            if value >= error / (len(p) - rank):
                break
            found.add(index)
        return found

    above = [(i, float(t.sf((e - MARGIN) / se))) for i, (way, e, se) in enumerate(held) if way != "lower"]
    below = [(i, float(t.sf((-e - MARGIN) / se))) for i, (way, e, se) in enumerate(held) if way != "higher"]
    worse = rejected(above + below, 0.025)
    gain = [(i, float(t.sf((-e - MARGIN) / se))) for i, (way, e, se) in enumerate(held) if way == "higher"]
    gain += [(i, float(t.sf((e - MARGIN) / se))) for i, (way, e, se) in enumerate(held) if way == "lower"]
    better = rejected(gain, (1 - TIGHTEN_LEVEL) / 2)
    return ["worse" if i in worse else "better" if i in better else "same" for i in range(len(held))]


@given(
    st.lists(
        st.tuples(st.sampled_from(["higher", "lower", "either"]), st.floats(-0.2, 0.2), st.floats(0.002, 0.05)),
        max_size=9,
    ),
    st.integers(10, 400),
)
def test_it_is_holms_procedure(held: list[tuple[Way, float, float]], n_patients: int) -> None:
    reach = float(stats.t(n_patients - 1).ppf(0.975))
    told = [Held(way=w, change=moved(e, e - reach * se, e + reach * se, n_patients=n_patients)) for w, e, se in held]
    assert weigh_changes(told) == replica(held, n_patients)


@pytest.mark.parametrize("way", ["higher", "lower"])
def test_equal_networks_pass_and_leave_the_pin_and_a_slow_decline_is_stopped(way: Way) -> None:
    """A pin that follows what was accepted last would let every release of +0.01 through: one alone is never shown."""
    rng, sign, n = np.random.default_rng(3), 1.0 if way == "higher" else -1.0, 300
    reach = float(stats.t(n - 1).ppf(0.975))

    def outcome(new: np.ndarray, pinned: np.ndarray) -> str:
        change = new - pinned
        half = reach * change.std(ddof=1) / np.sqrt(n)
        effect = moved(float(change.mean()), float(change.mean() - half), float(change.mean() + half), n_patients=n)
        return weigh_changes([replace(Held(way=way, change=effect))])[0]

    equal = [outcome(rng.normal(0.1, 0.17, n), rng.normal(0.1, 0.17, n)) for _ in range(200)]
    assert equal.count("worse") <= 8
    assert equal.count("better") <= 1
    pinned = rng.normal(0.1, 0.17, n)
    slow = [outcome(rng.normal(0.1 + sign * 0.01 * k, 0.17, n), pinned) for k in range(1, 13)]
    assert "worse" in slow[:7]
    assert set(slow[7:]) == {"worse"}
