from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from audit.training.scores import balanced_accuracy, confusion, mean_auc


def naive_auc(scores: np.ndarray, truth: np.ndarray) -> float:
    pairs = [(p > q) + 0.5 * (p == q) for p in scores[truth == 1] for q in scores[truth == 0]]
    return float(np.mean(pairs))


def test_mean_auc_is_the_share_of_ordered_pairs() -> None:
    rng = np.random.default_rng(0)
    logits = rng.integers(0, 6, (30, 4)).astype(np.float32)
    targets = (rng.random((30, 4)) < 0.4).astype(np.float32)
    targets[:, 3] = 0  # never shown: no area
    expected = np.mean([naive_auc(logits[:, k], targets[:, k]) for k in range(3)])
    assert mean_auc(torch.from_numpy(logits), torch.from_numpy(targets)) == pytest.approx(expected)
    assert math.isnan(mean_auc(torch.zeros(3, 2), torch.ones(3, 2)))


def test_accuracy_and_confusion_are_counted() -> None:
    logits = torch.tensor([[2.0, 1, 0], [0, 1, 0], [0, 1, 0], [0, 0, 3], [5, 0, 3]])
    targets = torch.tensor([0, 1, 1, 2, 2])
    result = confusion(logits, targets, ("a", "b", "c"))
    assert result["confusion"]["counts"] == [[1, 0, 0], [0, 2, 0], [1, 0, 1]]
    assert result["accuracy"] == pytest.approx(4 / 5) and result["n_images"] == 5
    assert result["balanced_accuracy"] == balanced_accuracy(logits, targets) == pytest.approx((1 + 1 + 0.5) / 3)


def test_balanced_accuracy_is_over_classes_that_occur() -> None:
    logits = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]])
    assert balanced_accuracy(logits, torch.tensor([0, 0])) == pytest.approx(0.5)
