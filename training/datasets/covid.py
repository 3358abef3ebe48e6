"""The paper's COVID-19 database: Cohen's COVID-19, CheXpert's pneumonia, Montgomery's and Shenzhen's normals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from audit.data.records import Record
from audit.training.datasets.chexpert import chexpert
from audit.training.datasets.cohen import cohen
from audit.training.datasets.published import Selection
from audit.training.datasets.tuberculosis import montgomery, shenzhen
from audit.training.networks import CLASSES
from audit.training.splits import split_by_patient

TEST_PER_CLASS = 50
VALIDATION_SHARE = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassSummary:
    """One row of the paper's section 2.3: who the patients of a class are."""

    label: str
    """Class."""
    n_images: int
    """Images."""
    n_patients: int
    """People."""
    male_share: float | None
    """Share of men among the patients whose sex is known."""
    mean_age: float | None
    """Mean over patients of their mean age, in years."""
    sd_age: float | None
    """Standard deviation of the same."""


PAPER = (
    ClassSummary(label="normal", n_images=370, n_patients=370, male_share=0.619, mean_age=36.1, sd_age=12.3),
    ClassSummary(label="pneumonia", n_images=1255, n_patients=1047, male_share=0.582, mean_age=61.8, sd_age=19.3),
    # The age cannot be derived from the source: its metadata of June 2020 give 58.7 +- 16.2 for the same images.
    ClassSummary(label="covid", n_images=439, n_patients=268, male_share=0.642, mean_age=42.8, sd_age=16.4),
)


def covid(root: Path, *, exclude: frozenset[str] = frozenset(), seed: int = 0) -> Selection:
    """Join the four sets as the paper did, and split them once (Bassi & Attux 2021, sections 2.2 and 6.2).

    The test split has 50 images of each class, CheXpert's radiologist-labelled images among them; of the rest 10 %
    validate, class proportions kept; no patient stands in two splits.

    Parameters
    ----------
    root : Path
        Holds the four published folders, side by side.
    exclude : frozenset of str
        File names (Cohen, Montgomery, Shenzhen) or table paths (CheXpert) to leave out.
    seed : int
        Of CheXpert's draw and of the splits.

    Raises
    ------
    CohortError
        If a set is missing or the splits cannot be made.
    """
    left_out: Counter[str] = Counter()
    records: list[Record] = []
    must_test: set[str] = set()
    for build in (montgomery, shenzhen, chexpert, cohen):
        part = build(root, exclude=exclude, seed=seed)
        records += part.records
        must_test |= part.must_test
        left_out.update({f"{build.__name__}: {reason}": n for reason, n in part.left_out.items()})
    splits = split_by_patient(
        records,
        CLASSES,
        test_per_class=TEST_PER_CLASS,
        validation_share=VALIDATION_SHARE,
        seed=seed,
        must_test=must_test,
    )
    return Selection(
        records=tuple(replace(r, split=splits[r.id]) for r in records),
        left_out=dict(left_out),
        must_test=frozenset(must_test),
    )


def summarise(records: Sequence[Record]) -> tuple[ClassSummary, ...]:
    """Describe the patients of every class, as the paper's section 2.3 does."""
    rows = []
    for label in sorted({r.label for r in records if r.label}, key=lambda c: CLASSES.index(c) if c in CLASSES else 99):
        members = [r for r in records if r.label == label]
        patients: dict[str, list[Record]] = {}
        for record in members:
            patients.setdefault(record.patient, []).append(record)
        sexes = [next((r.sex for r in images if r.sex), "") for images in patients.values()]
        known = [s for s in sexes if s]
        ages = [
            float(np.mean(of_one))
            for images in patients.values()
            if (of_one := [r.age for r in images if r.age is not None])
        ]
        rows.append(
            ClassSummary(
                label=label,
                n_images=len(members),
                n_patients=len(patients),
                male_share=known.count("M") / len(known) if known else None,
                mean_age=float(np.mean(ages)) if ages else None,
                sd_age=float(np.std(ages, ddof=1)) if len(ages) > 1 else None,
            )
        )
    return tuple(rows)
