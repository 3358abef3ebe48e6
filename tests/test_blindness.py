"""Predictions that cannot move are said to be so, and others are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.statistics.blindness import CONSTANT_RANGE, find_blindness
from audit.statistics.saturation import SATURATED_ABOVE

TOLERANCE = 0.05
CLASSES = ("normal", "pneumonia", "covid")


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def logits(n: int = 60, scale: float = 1.0) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(0)
    labels = [CLASSES[i % 3] for i in range(n)]
    return scale * (rng.normal(size=(n, 3)) + 2 * np.eye(3)[[CLASSES.index(name) for name in labels]]), labels


def kinds(values: np.ndarray, labels: list[str], classes: tuple[str, ...] = CLASSES) -> dict[str, tuple[str, ...]]:
    return {found.kind: found.classes for found in find_blindness(values, labels, classes, tolerance=TOLERANCE)}


def test_a_network_that_answers_is_not_blind() -> None:
    values, labels = logits()
    assert find_blindness(softmax(values), labels, CLASSES, tolerance=TOLERANCE) == ()


def test_a_fourth_constant_output_hides_the_others() -> None:
    """The known case: read as sigmoids the three move, read as a softmax nothing does."""
    values, labels = logits()
    four = np.column_stack([values, np.full(len(values), 12.0)])
    found = find_blindness(softmax(four), labels, (*CLASSES, "other"), tolerance=TOLERANCE)
    assert {f.kind for f in found} >= {"one winner"}
    winner = next(f for f in found if f.kind == "one winner")
    assert (winner.classes, winner.total) == (("other",), True)
    assert "all 60 images, although they carry 3 labels" in next(f.sentence for f in found if f.kind == "one winner")
    hidden = np.column_stack([values, np.full(len(values), 20.0)])
    found = find_blindness(softmax(hidden), labels, (*CLASSES, "other"), tolerance=TOLERANCE)
    assert [(f.kind, f.total) for f in found] == [("constant", True), ("one winner", True), ("saturated", False)]
    # An output that never counts leaves the others free.
    silent = np.column_stack([values, np.full(len(values), -20.0)])
    (found_one,) = find_blindness(softmax(silent), labels, (*CLASSES, "other"), tolerance=TOLERANCE)
    assert (found_one.kind, found_one.classes, found_one.total) == ("constant", ("other",), False)


def test_constant_saturated_and_one_sided_networks() -> None:
    values, labels = logits()
    assert set(kinds(np.tile([0.5, 0.3, 0.2], (10, 1)), labels[:10])) == {"constant", "one winner"}
    assert kinds(softmax(np.eye(3)[[i % 3 for i in range(60)]] * 50), labels) == {"saturated": ()}
    one_sided = softmax(values + np.array([0, 0, 30]))
    assert kinds(one_sided, labels)["one winner"] == ("covid",)
    # One label alone: a network that is right everywhere has one winner, and nothing is wrong with that.
    assert "one winner" not in kinds(softmax(values + np.array([0, 0, 8])), ["covid"] * 60)


def test_a_few_other_winners_make_no_network_that_tells_classes_apart() -> None:
    values, labels = logits()
    four = softmax(np.column_stack([values, np.full(len(values), 12.0)]))
    four[:2] = [[0.9, 0.05, 0.03, 0.02], [0.1, 0.8, 0.05, 0.05]]
    found = {f.kind: f for f in find_blindness(four, labels, (*CLASSES, "other"), tolerance=TOLERANCE)}
    assert found["one winner"].total
    assert "predicts other for 58 of the 60 images" in found["one winner"].sentence
    # Nearly all images of one label: a network that is right there has a winner of nearly all, too.
    mostly = ["normal"] * 58 + ["covid", "pneumonia"]
    right = softmax(values[:, ::-1] * 0.1 + 5 * np.eye(3)[[CLASSES.index(name) for name in mostly]])
    assert "one winner" not in kinds(right, mostly)


def test_predictions_that_are_all_alike_show_nothing_whatever_their_accuracy() -> None:
    """A network with a high temperature names the right class, and no edit can move it by the limit."""
    values, labels = logits(scale=0.01)
    (narrow,) = find_blindness(softmax(values), labels, CLASSES, tolerance=TOLERANCE)
    assert (narrow.kind, narrow.total) == ("narrow", True)
    assert "limit of 0.05" in narrow.sentence
    assert find_blindness(softmax(values), labels, CLASSES, tolerance=0.001) == ()
    # Of one label alone, predictions may well be alike.
    assert find_blindness(softmax(values), ["covid"] * len(labels), CLASSES, tolerance=TOLERANCE) == ()


def test_few_or_unusable_predictions_say_nothing() -> None:
    assert find_blindness(np.zeros((0, 3)), [], CLASSES, tolerance=TOLERANCE) == ()
    assert find_blindness(np.ones((1, 3)) / 3, ["covid"], CLASSES, tolerance=TOLERANCE) == ()
    values, labels = logits()
    spoilt = softmax(values)
    spoilt[::2] = np.nan
    assert find_blindness(spoilt, labels, CLASSES, tolerance=TOLERANCE) == ()
    with pytest.raises(ValueError, match="argument"):
        find_blindness(spoilt, labels[:-1], CLASSES, tolerance=TOLERANCE)


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 12), st.integers(2, 5), st.integers(0, 2**32 - 1), st.sampled_from([1e-4, 0.1, 1.0, 10.0, 100.0]))
def test_each_kind_is_told_by_its_definition(n: int, k: int, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    classes = tuple(f"c{i}" for i in range(k))
    values = softmax(rng.normal(size=(n, k)) * scale + rng.normal(size=k) * 5)
    labels = [classes[i] for i in rng.integers(k, size=n)]
    found = {f.kind: f for f in find_blindness(values, labels, classes, tolerance=TOLERANCE)}
    constant = tuple(c for j, c in enumerate(classes) if max(values[:, j]) - min(values[:, j]) < CONSTANT_RANGE)
    assert (found["constant"].classes if "constant" in found else ()) == constant
    apart = sum(max(values[:, j]) - min(values[:, j]) for j in range(k)) / 2
    assert ("narrow" in found) == (apart < TOLERANCE and len(set(labels)) > 1 and len(constant) < k)
    if "narrow" in found:
        assert max(np.abs(a - b).sum() / 2 for a in values for b in values) < TOLERANCE
    winners = [max(range(k), key=lambda j, row=row: row[j]) for row in values]
    most, commonest = max(map(winners.count, winners)), max(map(labels.count, labels))
    alone = len(set(winners)) == 1 and len(set(labels)) > 1
    assert ("one winner" in found) == (alone or most >= (1 - TOLERANCE) * n > commonest)
    shares = [
        np.mean([max(row) > SATURATED_ABOVE for row, label in zip(values, labels, strict=True) if label == one])
        for one in set(labels)
    ]
    assert ("saturated" in found) == (max(shares) > TOLERANCE)
    order = rng.permutation(n)
    assert find_blindness(values[order], [labels[i] for i in order], classes, tolerance=TOLERANCE) == tuple(
        found.values()
    )
