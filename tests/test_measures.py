"""Every per-image number by hand, image by image and draw by draw."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from audit.statistics.calibration import N_BINS, ece_without_each
from audit.statistics.image_changes import image_changes
from audit.statistics.outputs import read_outputs, winners
from audit.statistics.ranking import ascending, placements
from audit.statistics.selections import changes_of_images


def softmax(logits: list[float]) -> list[float]:
    powers = [math.exp(v - max(logits)) for v in logits]
    return [p / sum(powers) for p in powers]


def log_loss(logits: list[float], label: int) -> float:
    return math.log(sum(math.exp(v - logits[label]) for v in logits))


def by_hand(clean: list[float], draws: list[list[float]], label: int) -> dict[str, float]:
    """Return every measure of one image, with nothing but loops."""
    k = range(len(clean))
    p0 = softmax(clean)
    win0 = max(k, key=lambda c: clean[c])
    totals = dict.fromkeys(changes_of_images(), 0.0)
    for draw in draws:
        p1 = softmax(draw)
        win1 = max(k, key=lambda c: draw[c])
        others0 = max(clean[c] for c in k if c != label)
        others1 = max(draw[c] for c in k if c != label)
        totals["accuracy"] += (win1 == label) - (win0 == label)
        totals["margin"] += (draw[label] - others1) - (clean[label] - others0)
        totals["flip_rate"] += win0 != win1
        totals["harm"] += p0[label] - p1[label]
        totals["total_variation"] += 0.5 * sum(abs(p1[c] - p0[c]) for c in k)
        totals["nll"] += log_loss(draw, label) - log_loss(clean, label)
        totals["brier"] += sum((p1[c] - (c == label)) ** 2 - (p0[c] - (c == label)) ** 2 for c in k)
    return {name: value / len(draws) for name, value in totals.items()}


LOGITS = st.integers(2, 5).flatmap(
    lambda k: st.integers(1, 6).flatmap(
        lambda n: arrays.arrays(np.float64, (3, n, k), elements=st.floats(-30, 30, allow_nan=False, width=32))
    )
)


@settings(max_examples=200, deadline=None)
@given(LOGITS, st.randoms(use_true_random=False))
def test_changes_are_those_of_plain_loops(logits: np.ndarray, random: object) -> None:
    _, n, k = logits.shape
    labels = np.array([random.randrange(k) for _ in range(n)])  # type: ignore[attr-defined]
    given = logits.copy()
    clean = read_outputs(logits[0], labels)
    assert (logits == given).all(), "what is read is not written to"
    found = image_changes(clean, logits[1:], partial(read_outputs, labels=labels))
    for i in range(n):
        expected = by_hand(logits[0, i].tolist(), logits[1:, i].tolist(), int(labels[i]))
        for name, value in expected.items():
            assert found.changes[name][i] == pytest.approx(value, abs=1e-9), name
    assert (found.flipped == (found.changes["flip_rate"] > 0)).all()
    assert (np.abs(found.changes["accuracy"]) <= found.changes["flip_rate"] + 1e-12).all(), "no gain without a flip"
    assert (np.abs(found.changes["harm"]) <= found.changes["total_variation"] + 1e-9).all(), "harm is part of the shift"


def confirmed_by_hand(clean: list[float], draws: list[list[float]], pairs: int) -> float:
    """Of paired draws, changes in the direction that they have under the partner; of others the total variation."""
    p0, shifts = softmax(clean), [[p - q for p, q in zip(softmax(draw), softmax(clean), strict=True)] for draw in draws]
    assert len(p0) == len(clean)
    total = 0.0
    for place, shift in enumerate(shifts):
        if place < 2 * pairs:
            partner = shifts[place + 1 if place % 2 == 0 else place - 1]
            signs = [(other > 0) - (other < 0) for other in partner]
        else:
            signs = [(own > 0) - (own < 0) for own in shift]
        total += 0.5 * sum(sign * own for sign, own in zip(signs, shift, strict=True))
    return total / len(draws)


@settings(max_examples=100, deadline=None)
@given(LOGITS, st.integers(0, 1))
def test_what_two_halves_confirm_is_that_of_plain_loops(logits: np.ndarray, pairs: int) -> None:
    labels = np.zeros(logits.shape[1], dtype=np.int64)
    draws = logits[1:3]
    found = image_changes(read_outputs(logits[0], labels), draws, partial(read_outputs, labels=labels), pairs=pairs)
    for i in range(len(labels)):
        expected = confirmed_by_hand(logits[0, i].tolist(), draws[:, i].tolist(), pairs)
        assert found.confirmed[i] == pytest.approx(expected, abs=1e-9)
    moved = found.changes["total_variation"]
    assert (np.abs(found.confirmed) <= moved + 1e-9).all()
    assert (found.unconfirmed >= -1e-9).all(), "together, halves show at least what they confirm"
    if pairs:
        p0, one, two = (np.array([softmax(row) for row in rows.tolist()]) for rows in logits[:3])
        together = one + two - 2 * p0
        assert found.unconfirmed + found.confirmed == pytest.approx(np.abs(together).sum(axis=1) / 4, abs=1e-9)
        further = (np.sign(together) * (one - two)).sum(axis=1) / 4
        assert found.halves["total_variation"][0] == pytest.approx(further, abs=1e-6)
        harm = (two - one)[:, 0] / 2
        assert found.halves["harm"][0] == pytest.approx(harm, abs=1e-9)
    if not pairs:
        assert found.confirmed == pytest.approx(moved)


@pytest.mark.parametrize(("true", "expected"), [(0.0, 0.0), (3.0, 0.30)])
def test_halves_confirm_an_effect_and_no_chance(true: float, expected: float) -> None:
    """A probability of one half moves by 0.1 for each standard error of its own half's chance: nothing, or three of them."""
    rng = np.random.default_rng(4)
    n = 4000
    change = np.clip(0.1 * (true + rng.normal(size=(2, n))), -0.49, 0.49)
    p = 0.5 + change
    draws = np.stack([np.log(p), np.log(1 - p)], axis=-1)
    labels = np.zeros(n, dtype=np.int64)
    clean = read_outputs(np.zeros((n, 2)), labels)
    read = partial(read_outputs, labels=labels)
    found = image_changes(clean, draws, read, pairs=1)
    assert found.confirmed.mean() == pytest.approx(expected, abs=0.01)
    if not true:
        assert found.changes["total_variation"].mean() > 0.07, "which is the size of chance"


def test_the_clean_image_again_moves_nothing() -> None:
    logits = np.random.default_rng(0).normal(size=(7, 3))
    labels = np.arange(7) % 3
    found = image_changes(
        read_outputs(logits, labels), np.stack([logits, logits]), partial(read_outputs, labels=labels)
    )
    for name in changes_of_images():
        assert not found.changes[name].any()
    assert not found.flipped.any()
    assert not found.largest.any()


def test_logits_far_out_stay_finite() -> None:
    found = read_outputs(np.array([[2e4, -2e4, 0.0]]), np.array([1]))
    assert np.isfinite(found.probabilities).all()
    assert found.margin[0] == -4e4
    assert not found.correct[0]


@given(LOGITS, st.sampled_from([1.0, 30.0, 1000.0]))
def test_scores_order_images_as_log_odds_do(logits: np.ndarray, stretch: float) -> None:
    logits = logits.reshape(-1, logits.shape[-1]) * stretch
    scores = read_outputs(logits, np.zeros(len(logits), dtype=np.int64)).scores
    for c in range(logits.shape[1]):
        others = np.delete(logits, c, axis=1)
        top = others.max(axis=1)
        odds = logits[:, c] - top - np.log(np.exp(others - top[:, None]).sum(axis=1))
        # Beyond exp(690) against all others, and only there, images are as good as each other.
        apart = np.minimum(odds, 690.0)[:, None] - np.minimum(odds, 690.0) > 1e-6
        assert (scores[c][:, None] > scores[c])[apart].all()


@given(arrays.arrays(np.float64, (4, 9), elements=st.integers(-2, 2).map(float)))
def test_the_first_of_equals_wins(values: np.ndarray) -> None:
    top, winner = winners(values)
    assert (top == values.max(axis=0)).all()
    assert (winner == values.argmax(axis=0)).all()


SCORES = arrays.arrays(
    np.float64,
    st.integers(2, 30),
    elements=st.sampled_from([0.0, -0.0, 1.0, 1 + 2e-16, 1 + 1e-15, -1.0, -1 - 1e-15, 5e-324]),
)


@given(SCORES)
def test_scores_ascend_also_where_only_their_last_bits_differ(scores: np.ndarray) -> None:
    order = ascending(scores)
    assert (np.sort(order) == np.arange(len(scores))).all(), "each once"
    assert (scores[order] == np.sort(scores)).all()


@given(SCORES, st.randoms(use_true_random=False))
def test_placements_by_plain_loops(scores: np.ndarray, random: object) -> None:
    positive = np.array([random.random() < 0.5 for _ in scores])  # type: ignore[attr-defined]
    positive[:2] = [True, False]
    for i, placed in enumerate(placements(scores, positive)):
        sign = 1 if positive[i] else -1
        others = [sign * (scores[i] - scores[j]) for j in range(len(scores)) if positive[j] != positive[i]]
        assert placed == pytest.approx(np.mean([(d > 0) + 0.5 * (d == 0) for d in others]))


def test_calibration_error_without_each_patient_is_that_of_the_others() -> None:
    rng = np.random.default_rng(0)
    confidence, patients = rng.random(40), rng.integers(0, 12, 40)
    correct = rng.random(40) < confidence

    def ece(kept: np.ndarray) -> float:
        bins = (confidence * N_BINS).astype(int)
        gaps = [(confidence - correct)[kept & (bins == b)].sum() for b in range(N_BINS)]
        return float(np.abs(gaps).sum() / kept.sum())

    whole, without, chance = ece_without_each(confidence, correct, patients, 13)
    assert whole == pytest.approx(ece(np.ones(40, dtype=bool)))
    assert without.tolist() == pytest.approx([ece(patients != p) for p in range(13)])
    assert chance > 0
