from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.data.records import Record
from audit.errors import CohortError
from audit.training.splits import check_disjoint, split_by_patient, split_findings

CLASSES = ("normal", "pneumonia", "covid")


def make(labels: list[str], patients: list[str], splits: list[str | None] | None = None) -> list[Record]:
    return [
        Record(id=f"r{i}", path=Path(f"{i}.png"), label=label, patient=patient, split=splits[i] if splits else None)
        for i, (label, patient) in enumerate(zip(labels, patients, strict=True))
    ]


def cohort(seed: int, n: tuple[int, int, int] = (120, 60, 90)) -> list[Record]:
    """Patients with one to four images each, some of them in two classes."""
    rng = np.random.default_rng(seed)
    labels = [label for label, count in zip(CLASSES, n, strict=True) for _ in range(count)]
    return make(labels, [f"p{rng.integers(150)}" for _ in labels])


def splits_by_patient(records: list[Record], splits: dict[str, str]) -> dict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.id in splits:
            found[record.patient].add(splits[record.id])
    return found


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_exact_disjoint_and_proportional(seed: int) -> None:
    records = cohort(seed)
    splits = split_by_patient(records, CLASSES, test_per_class=15, validation_share=0.2, seed=seed)
    assert set(splits) == {r.id for r in records}
    assert all(len(names) == 1 for names in splits_by_patient(records, splits).values())
    counts = Counter((splits[r.id], r.label) for r in records)
    assert all(counts["test", c] == 15 for c in CLASSES)
    for label, total in zip(CLASSES, (120, 60, 90), strict=True):
        assert abs(counts["validation", label] / (total - 15) - 0.2) < 0.09
        assert counts["train", label] + counts["validation", label] == total - 15


def test_same_seed_same_splits_whatever_the_order() -> None:
    records = cohort(1)
    options = {"test_per_class": 10, "validation_share": 0.1}
    one = split_by_patient(records, CLASSES, **options, seed=3)
    assert split_by_patient(records, CLASSES, **options, seed=3) == one
    assert split_by_patient(records, CLASSES, **options, seed=4) != one
    shuffled = split_by_patient(records[::-1], CLASSES, **options, seed=3)
    assert {i for i, s in shuffled.items() if s == "test"} == {i for i, s in one.items() if s == "test"}


def test_test_patients_are_drawn_evenly() -> None:
    records = make(["normal", "pneumonia", "covid"] * 20, [f"p{i}" for i in range(60)])
    hits: Counter[str] = Counter()
    for seed in range(200):
        splits = split_by_patient(records, CLASSES, test_per_class=5, validation_share=0.25, seed=seed)
        hits.update(i for i, s in splits.items() if s == "test")
    # 200 draws at 5 of 20: 50 expected, standard deviation 6.1
    assert len(hits) == 60 and min(hits.values()) > 25 and max(hits.values()) < 75


def test_manifests_splits_are_obeyed() -> None:
    names: list[str | None] = ["train", "validation", "test"] * 3
    records = make([c for c in CLASSES for _ in range(3)], [f"p{i}" for i in range(9)], names)
    splits = split_by_patient(records, CLASSES, test_per_class=50, validation_share=0.1, seed=0)
    assert [splits[r.id] for r in records] == names


def test_validation_is_drawn_from_the_manifests_training() -> None:
    labels = [c for c in CLASSES for _ in range(12)]
    names: list[str | None] = ["test" if i % 3 == 0 else "train" for i in range(36)]
    records = make(labels, [f"p{i}" for i in range(36)], names)
    splits = split_by_patient(records, CLASSES, test_per_class=50, validation_share=0.25, seed=0)
    assert {r.id for r in records if r.split == "test"} == {i for i, s in splits.items() if s == "test"}
    assert Counter(splits[r.id] for r in records if r.split == "train") == {"train": 18, "validation": 6}


def test_partial_or_leaking_manifest_is_refused() -> None:
    records = make(list(CLASSES), ["a", "b", "c"], ["train", None, "test"])
    with pytest.raises(CohortError, match="2 of 3 labelled records"):
        split_by_patient(records, CLASSES, test_per_class=1, validation_share=0.5, seed=0)
    leaking = make([*CLASSES] * 3, ["a"] * 9, [s for s in ("train", "validation", "test") for _ in range(3)])
    with pytest.raises(CohortError, match="'a' is in"):
        split_by_patient(leaking, CLASSES, test_per_class=1, validation_share=0.5, seed=0)
    lacking = make(["normal"] * 3, ["a", "b", "c"], ["train", "validation", "test"])
    with pytest.raises(CohortError, match="'pneumonia'"):
        split_by_patient(lacking, CLASSES, test_per_class=1, validation_share=0.5, seed=0)


def test_splits_that_cannot_be_made() -> None:
    few = make([*["normal"] * 30, *["pneumonia"] * 30, *["covid"] * 5], [f"p{i}" for i in range(65)])
    with pytest.raises(CohortError, match="'covid' has 5 labelled images"):
        split_by_patient(few, CLASSES, test_per_class=5, validation_share=0.2, seed=0)
    with pytest.raises(CohortError, match="'covid' has 3 images outside the test"):
        split_by_patient(few, CLASSES, test_per_class=2, validation_share=0.1, seed=0)
    pairs = make([c for c in CLASSES for _ in range(20)], [f"p{i // 2}" for i in range(60)])
    with pytest.raises(CohortError, match=r"exactly 5 test images .*\(4 came nearest\)"):
        split_by_patient(pairs, CLASSES, test_per_class=5, validation_share=0.2, seed=0)
    one_patient = make([c for c in CLASSES for _ in range(20)], [f"p{i}" for i in range(40)] + ["same"] * 20)
    with pytest.raises(CohortError, match="'covid'"):
        split_by_patient(one_patient, CLASSES, test_per_class=5, validation_share=0.2, seed=0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_findings_keep_out_what_is_judged_later(seed: int) -> None:
    records = cohort(seed)
    patients = sorted({r.patient for r in records})
    test, validation = set(patients[::7]), set(patients[1::9]) - set(patients[::7])
    splits = split_findings(
        records, test_patients=test, validation_patients=validation, validation_share=0.25, seed=seed
    )
    names = splits_by_patient(records, splits)
    assert not test & set(names)
    assert set(names) == set(patients) - test
    assert all(len(s) == 1 for s in names.values())
    assert all(names[p] == {"validation"} for p in validation)
    share = sum(s == "validation" for s in splits.values()) / len(splits)
    assert 0.25 <= share < 0.25 + 8 / len(splits)


def test_findings_are_seeded_and_order_free() -> None:
    records = cohort(2)
    options = {"test_patients": {"p1"}, "validation_patients": {"p2"}, "validation_share": 0.3}
    one = split_findings(records, **options, seed=1)
    assert split_findings(records[::-1], **options, seed=1) == one
    assert split_findings(records, **options, seed=2) != one


def test_findings_need_training_and_validation() -> None:
    records = make(["normal"] * 3, ["a", "b", "c"])
    with pytest.raises(CohortError, match="3 images with findings, of which 1"):
        split_findings(records, test_patients={"a", "b"}, validation_patients=(), validation_share=0.2, seed=0)
    with pytest.raises(CohortError, match="0 images with findings"):
        split_findings([], test_patients=(), validation_patients=(), validation_share=0.2, seed=0)


def test_disjointness_is_checked() -> None:
    records = make(["normal", "covid"], ["a", "a"])
    check_disjoint(records, {"r0": "train"})
    check_disjoint([records[0], replace(records[1], patient="b")], {"r0": "train", "r1": "test"})
    with pytest.raises(CohortError, match="'a' is in the splits train and test"):
        check_disjoint(records, {"r0": "train", "r1": "test"})
