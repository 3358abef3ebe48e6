"""How well a network performs: the figures reported with its losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.metrics import confusion_matrix, recall_score, roc_auc_score


def balanced_accuracy(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the mean recall over the classes that occur; logits (n, k), targets (n) class indices."""
    labels = np.unique(targets.numpy())
    return float(recall_score(targets.numpy(), logits.argmax(dim=1).numpy(), labels=labels, average="macro"))


def mean_auc(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the mean area under the ROC curve over findings that some images show and some do not.

    Logits and targets are (n, k); NaN where no finding has both.
    """
    both = [k for k in range(targets.shape[1]) if 0 < targets[:, k].sum() < len(targets)]
    areas = [float(roc_auc_score(targets[:, k].numpy(), logits[:, k].numpy())) for k in both]
    return float(np.mean(areas)) if areas else float("nan")


def confusion(logits: torch.Tensor, targets: torch.Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """Return accuracy, balanced accuracy and the confusion matrix (rows true, columns predicted)."""
    predicted = logits.argmax(dim=1).numpy()
    matrix = confusion_matrix(targets.numpy(), predicted, labels=list(range(len(classes))))
    return {
        "accuracy": float(np.mean(predicted == targets.numpy())),
        "balanced_accuracy": balanced_accuracy(logits, targets),
        "n_images": len(targets),
        "confusion": {
            "rows": "true class",
            "columns": "predicted class",
            "classes": list(classes),
            "counts": matrix.tolist(),
        },
    }
