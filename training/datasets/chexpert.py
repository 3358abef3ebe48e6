"""CheXpert (Irvin et al. 2019): adult frontal images with pneumonia, and the eight that radiologists labelled."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from audit.data.ages import parse_age
from audit.data.layouts.chexpert import chexpert_files, patient_of
from audit.data.records import Record
from audit.errors import CohortError
from audit.randomness import generator_for
from audit.training.datasets.published import Selection, find_folder, read_table, sex

SOURCE = "CheXpert"
# What the paper took. No rule on labels gives its 1,247 images of the training file, so whole patients are drawn.
TRAIN_IMAGES = 1_247
_COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "Pneumonia")


def chexpert(root: Path, *, exclude: frozenset[str] = frozenset(), seed: int = 0) -> Selection:
    """Take frontal images, Pneumonia positive, older than 18: a seeded draw of whole patients, and all of `valid.csv`.

    The draw is equivalent to the paper's selection, not identical: the paper does not say how its 1,247 images of
    4,646 were chosen.

    Parameters
    ----------
    root : Path
        `CheXpert-v1.0` or `CheXpert-v1.0-small`, or a folder that holds one: `train.csv`, `valid.csv` and the images; or the archive
        of 2021 with its four batches.
    exclude : frozenset of str
        Paths as in the table to leave out.
    seed : int
        Of the draw.

    Raises
    ------
    CohortError
        If a file or column is missing, or no image is there.
    """
    folder = find_folder(root, "CheXpert", "train.csv")
    left_out: Counter[str] = Counter()
    pool = _positive(folder, "train.csv", exclude, left_out)
    if not pool:
        raise CohortError(
            f"{folder} has no usable adult frontal image with pneumonia: {dict(left_out)}. Check that the images are unpacked."
        )
    images = Counter(r.patient for r in pool)
    patients = sorted(images)
    chosen: set[str] = set()
    taken = 0
    for index in generator_for(seed, "chexpert patients").permutation(len(patients)):
        # A patient whose images do not fit is passed over, so that the number is met exactly.
        if taken + images[patients[index]] <= TRAIN_IMAGES:
            chosen.add(patients[index])
            taken += images[patients[index]]
    left_out["not drawn"] = len(pool) - taken
    experts = _positive(folder, "valid.csv", exclude, left_out) if (folder / "valid.csv").is_file() else []
    return Selection(
        records=(*(r for r in pool if r.patient in chosen), *experts),
        left_out={reason: n for reason, n in left_out.items() if n},
        must_test=frozenset(r.id for r in experts),
    )


def _positive(folder: Path, name: str, exclude: frozenset[str], left_out: Counter[str]) -> list[Record]:
    table = read_table(folder / name, _COLUMNS)
    find = chexpert_files(folder)
    records = []
    for row in table:
        if row["Pneumonia"] not in ("1.0", "1"):
            left_out["no pneumonia"] += 1
            continue
        if row["Frontal/Lateral"] != "Frontal":
            left_out["lateral"] += 1
            continue
        path, age = row["Path"], parse_age(row["Age"])
        file, patient = find(path), patient_of(path)
        if age is None or age <= 18:
            left_out["not older than 18"] += 1
        elif path in exclude:
            left_out["excluded by name"] += 1
        elif patient is None or file is None:
            left_out["not on disk"] += 1
        else:
            records.append(
                Record(
                    id=path,
                    path=file,
                    label="pneumonia",
                    patient=f"chexpert-{patient}",
                    findings=("Pneumonia",),
                    source=SOURCE,
                    view=row["AP/PA"],
                    sex=sex(row["Sex"]),
                    age=age,
                )
            )
    return records
