"""Which images a report shows: a naive replica, and what must hold of any run."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.data.conditions import CLEAN, Condition, Suite
from audit.run.case_choice import MOST_CASES, MOST_OF_PATIENT, N_CASES, choose_cases, movement, n_cases
from audit.store.results import PredictionTable


def suite_of(n_edits: int) -> Suite:
    edits = tuple(Condition(name=f"e{i}", perturbation="text-mask", role="edit", parameters={}) for i in range(n_edits))
    stress = Condition(name="stress", perturbation="text-mask", role="stress", parameters={})
    return Suite(name="s", version=1, description="", conditions=(CLEAN, *edits, stress))


def table_of(rng: np.random.Generator, suite: Suite, n: int, n_patients: int, share: float = 0.8) -> PredictionTable:
    names = [c.name for c in suite.conditions]
    return PredictionTable(
        record_ids=np.array([f"r{i:03d}" for i in range(n)]),
        labels=rng.integers(3, size=n),
        patients=np.array([f"p{i % n_patients}" for i in range(n)]),
        groups={},
        classes=("a", "b", "c"),
        logits={name: rng.normal(size=(1 if name == "clean" else 2, n, 3)).astype(np.float32) for name in names},
        applied={
            name: rng.random((1 if name == "clean" else 2, n)) < (1 if name == "clean" else share) for name in names
        },
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 60), st.integers(1, 60))
def test_cases_vary_over_edits_patients_and_classes(seed: int, n_edits: int, n: int, n_patients: int) -> None:
    rng = np.random.default_rng(seed)
    suite = suite_of(n_edits)
    table = table_of(rng, suite, n, min(n, n_patients))
    labels = [table.classes[i] for i in table.labels]
    chosen = choose_cases(suite, table, labels)
    assert len(chosen) <= n_cases(suite, labels) <= MOST_CASES
    assert len({(c.record, c.condition) for c in chosen}) == len(chosen), "no case comes twice"
    people = len(set(table.patients.tolist()))
    most = max(MOST_OF_PATIENT, -(-n_edits // people))
    assert max(Counter(str(table.patients[c.record]) for c in chosen).values(), default=0) <= most
    for c in chosen:
        moved = movement(table, c.condition)
        assert table.applied[c.condition][c.draw, c.record]
        assert c.total_variation == moved[:, c.record].max()
    # The first turn: of each edit the image that it moved most, of patients who are not shown twice.
    seen: Counter[str] = Counter()
    for i, name in enumerate(f"e{i}" for i in range(n_edits)):
        largest = movement(table, name).max(axis=0)
        free = [
            r for r in np.argsort(-largest, kind="stable") if largest[r] >= 0 and seen[str(table.patients[r])] < most
        ]
        mine = [c for c in chosen if c.condition == name]
        if not free:
            assert not mine
            continue
        if len(chosen) <= i:
            break
        assert mine, "every edit has a case"
        assert mine[0].record == free[0]
        assert mine[0].why == "the largest change under this edit"
        seen[str(table.patients[free[0]])] += 1
        for later in mine[1:]:
            assert later.why.startswith(f"the largest change in class {labels[later.record]}")


def test_every_class_is_shown_where_there_is_room() -> None:
    """One class moves far more than the others, and would fill all cases by itself."""
    suite = suite_of(3)
    table = table_of(np.random.default_rng(1), suite, 90, 90, share=1.1)
    labels = [table.classes[i] for i in table.labels]
    for name in ("e0", "e1", "e2"):
        logits = table.logits["clean"] + 0.01 * table.logits[name]
        logits[:, table.labels == 0] += np.array([9, 0, -9], dtype=np.float32)
        table.logits[name][...] = logits
    chosen = choose_cases(suite, table, labels)
    assert {c.condition for c in chosen[:3]} == {"e0", "e1", "e2"}
    assert all(labels[c.record] == "a" for c in chosen[:3]), "the largest changes come first"
    counts = Counter(labels[c.record] for c in chosen)
    assert len(chosen) == N_CASES
    assert max(counts.values()) - min(counts.values()) <= 2, counts


def test_nothing_to_show() -> None:
    suite = suite_of(2)
    table = table_of(np.random.default_rng(0), suite, 5, 5, share=-1.0)
    assert choose_cases(suite, table, ["a"] * 5) == []
