"""Patient-disjoint splits: train, validation and test, made once from a seed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from audit.data.records import SPLITS, Record
from audit.errors import CohortError
from audit.randomness import generator_for

_ATTEMPTS = 50


def split_by_patient(
    records: Sequence[Record],
    classes: Sequence[str],
    *,
    test_per_class: int,
    validation_share: float,
    seed: int,
    must_test: Collection[str] = (),
) -> dict[str, str]:
    """Split labelled records so that no patient stands in two splits (Bassi & Attux 2021, section 6.2).

    A manifest that brings a split for every labelled record is obeyed; where it has no validation
    split, one is drawn from its training records.

    Parameters
    ----------
    records : sequence of Record
        Labelled records.
    classes : sequence of str
        Every one of them must end up in every split.
    test_per_class : int
        Test images of each class, exactly.
    validation_share : float
        Share of the remaining images for validation, class proportions kept; the nearest 1/whole number is taken.
    seed : int
        Same seed, same splits.
    must_test : collection of str
        Ids that belong into the test split, such as images labelled by radiologists; their patients come with them.

    Returns
    -------
    dict of str to str
        Record id -> train, validation or test.

    Raises
    ------
    CohortError
        If the split cannot be made, or the manifest's own splits are partial or share patients.
    """
    given = {r.id: r.split for r in records if r.split is not None}
    if given and len(given) < len(records):
        raise CohortError(
            f"{len(given)} of {len(records)} labelled records have a split and the others have none. Fill the split "
            "column for all of them, or leave it empty for all."
        )
    generator = generator_for(seed, "splits")
    splits = given or _draw_test(records, classes, test_per_class, generator, must_test)
    if "validation" not in splits.values():
        rest = [r for r in records if splits.get(r.id, "train") == "train"]
        splits = {**splits, **_draw_validation(rest, classes, validation_share, generator)}
    check_disjoint(records, splits)
    for name in SPLITS:
        present = {r.label for r in records if splits[r.id] == name}
        for label in classes:
            if label not in present:
                raise CohortError(
                    f"The {name} split has no image of class {label!r}. Every class needs images of at least three "
                    "patients; add some or correct the split column."
                )
    return splits


def split_findings(
    records: Sequence[Record],
    *,
    test_patients: Collection[str],
    validation_patients: Collection[str],
    validation_share: float,
    seed: int,
) -> dict[str, str]:
    """Split the records of the 15-label step around the patients that the last step is judged on.

    A split column is obeyed where it goes further: its test images take no part, its validation images only validate.

    Parameters
    ----------
    records : sequence of Record
        Records with findings.
    test_patients : collection of str
        Left out altogether: the last step's test images must be of patients never seen.
    validation_patients : collection of str
        Patients of the last step's validation split; here they may only validate.
    validation_share : float
        Share of images for validation; whole patients are added until it is reached.
    seed : int
        Same seed, same splits.

    Returns
    -------
    dict of str to str
        Record id -> train or validation; left-out records are absent.

    Raises
    ------
    CohortError
        If training or validation would be empty.
    """
    by_patient: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.patient not in test_patients and record.split != "test":
            by_patient[record.patient].append(record)
    wanted = validation_share * sum(map(len, by_patient.values()))
    given = {r.patient for r in records if r.split == "validation"}
    if given:
        wanted = 0  # the publisher's validation split is there; no more is drawn
    validation_patients = {*validation_patients, *given}
    free = sorted(set(by_patient) - validation_patients)
    order = generator_for(seed, "findings splits").permutation(len(free))
    held = sorted(set(by_patient) & validation_patients)
    n_held = sum(len(by_patient[p]) for p in held)
    for index in order:
        if n_held >= wanted:
            break
        held.append(free[index])
        n_held += len(by_patient[free[index]])
    validating = set(held)
    splits = {r.id: "validation" if p in validating else "train" for p, rs in by_patient.items() for r in rs}
    if len(set(splits.values())) < 2:
        raise CohortError(
            f"The findings step has {len(records)} images with findings, of which {len(splits)} remain without those of the "
            f"{len(set(test_patients))} test patients: too few for training and validation. Add records with "
            "findings."
        )
    check_disjoint(records, splits)
    return splits


def check_disjoint(records: Sequence[Record], splits: Mapping[str, str]) -> None:
    """Prove that no patient stands in two splits.

    Raises
    ------
    CohortError
        Naming the first patient that does.
    """
    seen: dict[str, str] = {}
    for record in records:
        name = splits.get(record.id)
        if name is not None and seen.setdefault(record.patient, name) != name:
            raise CohortError(
                f"Patient {record.patient!r} is in the splits {seen[record.patient]} and {name}. Keep a patient's "
                "images together, or test accuracy measures memorisation."
            )


def _draw_test(
    records: Sequence[Record],
    classes: Sequence[str],
    n: int,
    generator: np.random.Generator,
    must_test: Collection[str],
) -> dict[str, str]:
    """Take whole patients in random order while no class goes past `n` images; try again if one falls short."""
    patients = sorted({r.patient for r in records})
    row = {patient: i for i, patient in enumerate(patients)}
    counts = np.zeros((len(patients), len(classes)), dtype=np.int64)
    for record in records:
        assert record.label is not None
        counts[row[record.patient], classes.index(record.label)] += 1
    totals = counts.sum(axis=0)
    for label, total in zip(classes, totals.tolist(), strict=True):
        if total < n + 2:
            raise CohortError(
                f"Class {label!r} has {total} labelled images; {n} for the test and at least 2 more for training and "
                "validation are needed. Add images, or use a recipe with fewer test images."
            )
    asked = set(must_test)
    first = sorted({row[r.patient] for r in records if r.id in asked})
    if first and (counts[first].sum(axis=0) > n).any():
        raise CohortError(
            f"The patients of the {len(asked)} images that must be tested have more than {n} images of a class. Use a "
            "recipe with more test images, or name fewer images."
        )
    best = np.zeros(len(classes), dtype=np.int64)
    for _ in range(_ATTEMPTS):
        chosen, taken = _fill(counts, n, generator, first)
        if (taken == n).all():
            return {r.id: "test" for r in records if chosen[row[r.patient]]}
        best = max(best, taken, key=lambda t: int(t.sum()))
    short = next(i for i in range(len(classes)) if best[i] < n)
    raise CohortError(
        f"No choice of whole patients gives exactly {n} test images of class {classes[short]!r} ({best[short]} came "
        "nearest): its patients have too many images each. Use a recipe with another number of test images."
    )


def _fill(
    counts: NDArray[np.int64], n: int, generator: np.random.Generator, first: Sequence[int]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    chosen = np.zeros(len(counts), dtype=np.bool_)
    chosen[list(first)] = True
    taken = counts[chosen].sum(axis=0)
    for index in generator.permutation(len(counts)):
        if not chosen[index] and (taken + counts[index] <= n).all():
            chosen[index] = True
            taken = taken + counts[index]
    return chosen, taken


def _draw_validation(
    records: Sequence[Record], classes: Sequence[str], share: float, generator: np.random.Generator
) -> dict[str, str]:
    labels = [str(r.label) for r in records]
    n_folds = max(2, round(1 / share))
    for label in classes:
        if Counter(labels)[label] < n_folds:
            raise CohortError(
                f"Class {label!r} has {Counter(labels)[label]} images outside the test split; validation on 1 in {n_folds} "
                f"needs at least {n_folds}. Add images, or use a recipe with a larger validation share."
            )
    folds = StratifiedGroupKFold(n_splits=n_folds, shuffle=True, random_state=int(generator.integers(2**31)))
    groups = [r.patient for r in records]
    # A fold of few patients may lack a class: the first that has every class on both sides is taken, else the first.
    found = [(rest, held) for rest, held in folds.split(np.zeros(len(records)), labels, groups)]
    whole = [held for rest, held in found if all({labels[i] for i in side} == set(labels) for side in (rest, held))]
    inside = set((whole or [found[0][1]])[0].tolist())
    return {r.id: "validation" if i in inside else "train" for i, r in enumerate(records)}
