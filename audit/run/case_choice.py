"""Which images a report shows: for each judged edit those that it changed most, varied over patients, edits and classes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import Suite
from audit.statistics.outputs import probabilities_of
from audit.store.results import PredictionTable

N_CASES, MOST_CASES = 24, 48
"""Cases of a run: at least, if the images suffice, and at most; in between one for each judged edit, and one for each class."""
MOST_OF_PATIENT = 2
"""Cases of one patient, unless there are too few patients for a case of each edit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One image under one edit."""

    record: int
    """Row of the image."""
    condition: str
    """The edit."""
    draw: int
    """The draw of it that changed the image most."""
    total_variation: float
    """By how much."""
    why: str
    """Why the image was chosen, in words."""


def movement(table: PredictionTable, condition: str) -> NDArray[np.float64]:
    """Return (draws, n) how far a condition moves each image's probabilities; −1 where it was not applied."""
    exclusive = table.truth is None
    clean = probabilities_of(table.logits["clean"][0], exclusive=exclusive)
    moved = moved_by(probabilities_of(table.logits[condition], exclusive=exclusive), clean, exclusive=exclusive)
    return np.where(table.applied[condition], moved, -1.0)


def moved_by(edited: NDArray[np.float64], clean: NDArray[np.float64], *, exclusive: bool) -> NDArray[np.float64]:
    """Return how far probabilities (..., k) lie from others: their total variation, of a multi-label network the largest difference."""
    changes = np.abs(edited - clean)
    return np.asarray(0.5 * changes.sum(axis=-1) if exclusive else changes.max(axis=-1))


def n_cases(suite: Suite, labels: Sequence[str]) -> int:
    """Return how many cases a run has, at most."""
    judged = sum(c.judged for c in suite.conditions)
    return min(MOST_CASES, max(N_CASES, judged + len(set(labels))))


def choose_cases(suite: Suite, table: PredictionTable, labels: Sequence[str]) -> list[Choice]:
    """Choose images in turn from each judged edit: first the one that it changed most, then one of the class with the fewest cases.

    Parameters
    ----------
    suite : Suite
        The conditions.
    table : PredictionTable
        Provides the changes of the predictions.
    labels : sequence of str
        True class of each image.
    """
    moved = {c.name: movement(table, c.name) for c in suite.conditions if c.judged}
    order = {name: _largest_first(values.max(axis=0)) for name, values in moved.items()}
    n_patients = len(set(table.patients.tolist()))
    per_patient = max(MOST_OF_PATIENT, math.ceil(len(moved) / max(n_patients, 1)))
    of_patient, of_class, chosen = Counter[str](), Counter[str](), list[Choice]()
    shown: dict[str, set[int]] = {name: set() for name in moved}

    def take(name: str) -> Choice | None:
        free = [i for i in order[name] if i not in shown[name] and of_patient[str(table.patients[i])] < per_patient]
        if not free:
            return None
        why = "the largest change under this edit"
        if shown[name]:
            fewest = min(of_class[labels[i]] for i in free)
            free = [i for i in free if of_class[labels[i]] == fewest]
            why = f"the largest change in class {labels[free[0]]}, which had the fewest cases"
        i, draw = free[0], int(moved[name][:, free[0]].argmax())
        shown[name].add(i)
        of_patient[str(table.patients[i])] += 1
        of_class[labels[i]] += 1
        return Choice(record=i, condition=name, draw=draw, total_variation=float(moved[name][draw, i]), why=why)

    most = n_cases(suite, labels)
    while len(chosen) < most:
        turn = [found for name in moved if (found := take(name)) is not None]
        if not turn:
            break
        chosen += turn
    return chosen[:most]


def _largest_first(most: NDArray[np.float64]) -> list[int]:
    """Return the images that were edited, those that moved most first."""
    return sorted(np.flatnonzero(most >= 0).tolist(), key=lambda i: (-most[i], i))
