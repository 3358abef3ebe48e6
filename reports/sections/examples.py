"""What is written beside the pictures of a case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_SCORES = 5
"""Classes whose probabilities stand under a picture; more would push the next case off the screen."""


def scored_classes(case: Mapping[str, Any]) -> list[str]:
    """Return the classes to show, in the model's order: the true one, the predicted ones, and those that moved most."""
    before, after = case["clean"]["probabilities"], case["edit"]["probabilities"]
    if len(after) <= MOST_SCORES:
        return list(after)
    first = [case["edit"]["predicted"], case["clean"]["predicted"], case["label"]]
    moved = sorted(after, key=lambda name: -abs(after[name] - before[name]))
    kept = list(dict.fromkeys([*(name for name in first if name in after), *moved]))[:MOST_SCORES]
    return [name for name in after if name in kept]
