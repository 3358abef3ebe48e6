"""What the data could have shown: a claim of power is held against repetitions of the experiment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student

from audit.statistics.power import detectable_beyond, power_sentence, weakest_power
from audit.store.group import parse_group

from .test_gates import EFFECT as GATE_EFFECT

EFFECT = replace(GATE_EFFECT, minimum_detectable=0.1)


@pytest.mark.parametrize("n", [60, 120, 400])
def test_four_of_five_repetitions_show_what_is_claimed(n: int) -> None:
    rng = np.random.default_rng(n)
    noise, move, tolerance = 0.08, 0.5, 0.05
    critical = float(student.ppf(1 - 0.05 / 2 / 12, n - 1))
    claimed = detectable_beyond(tolerance, noise / np.sqrt(n), critical, n, move=move)
    assert claimed is not None

    def power(effect: float) -> float:
        carried = rng.random((2_000, n)) < effect / move
        moved = rng.normal(0, noise, (2_000, n)) + move * carried
        low = moved.mean(axis=1) - critical * moved.std(axis=1, ddof=1) / np.sqrt(n)
        return float((low > tolerance).mean())

    assert 0.77 < power(claimed) < 0.9
    assert power(0.75 * claimed) < 0.5, "nor is much less found"


def test_a_sample_in_which_nothing_moved_promises_little() -> None:
    none_moved = detectable_beyond(0.05, 0.0, 2.5, 60, move=0.5)
    assert none_moved is not None
    assert none_moved > 0.12
    assert detectable_beyond(0.05, 0.2, 2.5, 10, move=0.5) is None, "so few patients show nothing of any size"


def test_the_headline_takes_the_edit_of_least_power() -> None:
    effects = [
        EFFECT,
        replace(EFFECT, condition="border-only", measure="sufficiency", minimum_detectable=0.103),
        replace(EFFECT, condition="paste", minimum_detectable=0.009),
        replace(EFFECT, condition="mask", group=parse_group("class=covid"), minimum_detectable=0.3),
        replace(EFFECT, condition="stress", tolerance=None, minimum_detectable=0.5),
        replace(EFFECT, condition="nowhere", estimate=None, minimum_detectable=None),
    ]
    weakest = weakest_power(effects)
    assert weakest is not None
    assert weakest.condition == "border-only"
    assert (
        "0.103 or more is detected with at least 80 % power under every judged condition (lowest power: Border kept)"
        in power_sentence(effects, {"border-only": "Border kept"})
    )
    assert "too small" in power_sentence([*effects, replace(EFFECT, condition="few", minimum_detectable=None)], {})
    assert power_sentence([], {}) == ""
