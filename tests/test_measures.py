"""Every per-image number by hand, image by image and draw by draw."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from audit.statistics.measures import CHANGES, image_changes, read_outputs


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
    totals = dict.fromkeys(CHANGES, 0.0)
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
    found = image_changes(clean, logits[1:], labels)
    for i in range(n):
        expected = by_hand(logits[0, i].tolist(), logits[1:, i].tolist(), int(labels[i]))
        for name, value in expected.items():
            assert found.changes[name][i] == pytest.approx(value, abs=1e-9), name
    assert (found.flipped == (found.changes["flip_rate"] > 0)).all()
    assert (np.abs(found.changes["accuracy"]) <= found.changes["flip_rate"] + 1e-12).all(), "no gain without a flip"
    assert (np.abs(found.changes["harm"]) <= found.changes["total_variation"] + 1e-9).all(), "harm is part of the shift"


def test_the_clean_image_again_moves_nothing() -> None:
    logits = np.random.default_rng(0).normal(size=(7, 3))
    labels = np.arange(7) % 3
    found = image_changes(read_outputs(logits, labels), np.stack([logits, logits]), labels)
    for name in CHANGES:
        assert not found.changes[name].any()
    assert not found.flipped.any()
    assert not found.largest.any()


def test_logits_far_out_stay_finite() -> None:
    found = read_outputs(np.array([[2e4, -2e4, 0.0]]), np.array([1]))
    assert np.isfinite(found.probabilities).all()
    assert found.margin[0] == -4e4
    assert not found.correct[0]
