"""The chance of which patients taught an edit: known variances, a naive replica, and coverage of a true effect of zero."""

from __future__ import annotations

import numpy as np
import pytest

from audit.statistics.crossed_interval import crossed_limits
from audit.statistics.patient_sums import sum_by_patient
from audit.statistics.teaching import Teaching, teaching_chance
from benchmarks.taught_coverage import Setting, audited, sample, true_effect


def by_hand(halves: np.ndarray, splits: np.ndarray) -> float:
    """Mean product of two different images that share a split."""
    products = [
        row[i] * row[j]
        for row in halves
        for i in range(len(splits))
        for j in range(len(splits))
        if i != j and splits[i] == splits[j]
    ]
    return float(np.mean(products))


def test_the_variance_is_that_of_plain_loops() -> None:
    rng = np.random.default_rng(1)
    splits = np.arange(23) % 5 + 7  # not from 0, and not equally many
    halves = rng.normal(size=(2, 23)) + np.tile(rng.normal(size=12), (2, 1))[:, splits - 7]
    found = teaching_chance(halves, splits)
    assert found.variance == pytest.approx(by_hand(halves, splits))
    assert found.unconfirmed == 0.0


@pytest.mark.parametrize(("common", "own"), [(0.05, 0.0), (0.05, 0.1), (0.0, 0.1)])
def test_what_all_images_of_a_split_share_is_told_from_what_each_has_alone(common: float, own: float) -> None:
    """Known truth: the variance of what is shared, whatever an image adds of its own (the noise under a noise edit)."""
    found, n = [], 128
    for seed in range(400):
        rng = np.random.default_rng(seed)
        splits = np.arange(n) % 16
        halves = common * rng.normal(size=16)[splits] + own * rng.normal(size=n)
        chance = teaching_chance(halves[None], splits)
        found.append((chance.variance, chance.uncertainty))
    variances, uncertain = np.transpose(found)
    if common:
        assert variances.mean() == pytest.approx(common**2, rel=0.08)
        assert uncertain.mean() == pytest.approx(variances.var(), rel=0.35), "and it is known how well it is known"
    else:
        assert variances.mean() < 0.06 * own**2 / 8 * 10, "no more than the clipping at 0 adds"


def test_where_no_images_share_a_split_all_counts_as_common() -> None:
    found = teaching_chance(np.array([[0.1, -0.1, 0.1, 0.1]]), np.arange(4), np.full(4, 0.02))
    assert found.variance == pytest.approx(0.01)
    assert found.unconfirmed == pytest.approx(0.02)


def test_the_interval_holds_both_parts_and_reaches_further_by_what_is_not_confirmed() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(0.1, 0.05, 100)
    sums = sum_by_patient(
        values, np.arange(100), 100, population=np.ones(100, dtype=bool), scale="difference", counted=False
    )
    assert sums is not None
    alone = crossed_limits(sums, 0.95)
    known = Teaching(variance=0.03**2, uncertainty=0.0, unconfirmed=0.02)
    taught = crossed_limits(type(sums)(**{**vars_of(sums), "taught": known}), 0.95)
    arm = 1.984 * np.hypot(sums.standard_error, 0.03)
    assert taught[0] == pytest.approx(sums.estimate - arm, abs=0.002)
    assert taught[1] == pytest.approx(sums.estimate + arm + 0.02, abs=0.002)
    assert alone[1] - alone[0] < (taught[1] - taught[0]) / 4
    vague = Teaching(variance=0.03**2, uncertainty=2 * 0.03**4 / 4, unconfirmed=0.0)
    assert crossed_limits(type(sums)(**{**vars_of(sums), "taught": vague}), 0.95)[3].count("4 degrees of freedom")


def vars_of(sums: object) -> dict[str, object]:
    return {name: getattr(sums, name) for name in sums.__dataclass_fields__}  # type: ignore[attr-defined]


@pytest.mark.parametrize(("apart", "least"), [(0.0, 0.86), (0.8, 0.86)])
def test_intervals_cover_the_truth_which_those_over_images_alone_miss(apart: float, least: float) -> None:
    world = Setting(n=96, classes=2, apart=apart, weight=1.5)
    truth = true_effect(world)
    covered = {True: 0, False: 0}
    errors = []
    for halves in covered:
        rng = np.random.default_rng(5)
        for seed in range(40):
            effect = audited(rng, sample(rng, world, world.n), seed, halves=halves)
            assert effect.low is not None
            assert effect.high is not None
            covered[halves] += effect.low <= truth <= effect.high
            if halves:
                errors.append((effect.estimate or 0.0) - truth)
                assert apart or effect.verdict != "sensitive"
                assert "those who taught the edit" in effect.method
    assert covered[True] >= least * 40
    assert covered[False] <= 0.7 * 40
    assert abs(float(np.mean(errors))) < 0.025
