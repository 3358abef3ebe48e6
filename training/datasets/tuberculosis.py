"""Montgomery and Shenzhen (Jaeger et al. 2014): the adults without tuberculosis are the paper's normal class."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from audit.data.ages import parse_age
from audit.data.records import Record
from audit.errors import CohortError
from audit.files import read_text_file
from audit.training.datasets.published import Selection, find_folder

ADULT_YEARS = 18
_SEX = re.compile(r"\b(female?|male|f|m|o)\b", re.IGNORECASE)
_AGE = re.compile(r"\d+\s*[a-z]*", re.IGNORECASE)


def montgomery(root: Path, *, exclude: frozenset[str] = frozenset(), seed: int = 0) -> Selection:
    """Take the adult normals of Montgomery County: `MCUCXR_*_0.png` with `ClinicalReadings/`; nothing is drawn."""
    return _adult_normals(root, exclude, prefix="MCUCXR", source="Montgomery")


def shenzhen(root: Path, *, exclude: frozenset[str] = frozenset(), seed: int = 0) -> Selection:
    """Take the adult normals of Shenzhen No. 3 Hospital: `CHNCXR_*_0.png` with `ClinicalReadings/`; nothing is drawn."""
    return _adult_normals(root, exclude, prefix="CHNCXR", source="Shenzhen")


def _adult_normals(root: Path, exclude: frozenset[str], *, prefix: str, source: str) -> Selection:
    """Take the images whose name ends in _0 (no tuberculosis) of people of 18 years or more; one image a patient.

    Raises
    ------
    CohortError
        If the folder does not hold the set, or no image is left.
    """
    folder = find_folder(root, source, f"CXR_png/{prefix}_*.png")
    left_out: Counter[str] = Counter()
    records = []
    for path in sorted((folder / "CXR_png").glob(f"{prefix}_*.png")):
        of_sex, age = _reading(folder / "ClinicalReadings" / f"{path.stem}.txt")
        if not path.stem.endswith("_0"):
            left_out["tuberculosis"] += 1
        elif path.name in exclude:
            left_out["excluded by name"] += 1
        elif age is None:
            left_out["age unknown"] += 1
        elif age < ADULT_YEARS:
            left_out["under age"] += 1
        else:
            records.append(
                Record(
                    id=path.name,
                    path=path,
                    label="normal",
                    patient=path.stem.rsplit("_", 1)[0].lower(),
                    findings=("No Finding",),
                    source=source,
                    view="PA",
                    sex=of_sex,
                    age=age,
                )
            )
    if not records:
        raise CohortError(
            f"{folder} has no usable normal image of an adult: {dict(left_out)}. Check that ClinicalReadings/ is unpacked."
        )
    return Selection(records=tuple(records), left_out=dict(left_out))


def _reading(path: Path) -> tuple[str, float | None]:
    """Read sex and age in years from a clinical reading.

    Montgomery writes `Patient's Sex: F` and `Patient's Age: 027Y`; Shenzhen writes `male 45yrs` with many spellings
    (femal, yr, 9month, 7days, no unit, no space).
    """
    try:
        text = read_text_file(path)
    except OSError:
        return "", None
    # "Patient's" must not be read as a sex or an age.
    text = re.sub(r"patient'?s?", " ", text, flags=re.IGNORECASE)
    # `male45yrs`: the space that is missing.
    text = re.sub(r"([a-z])(\d)", r"\1 \2", text, flags=re.IGNORECASE)
    found_sex, found_age = _SEX.search(text), _AGE.search(text)
    letter = found_sex.group()[0].upper() if found_sex else ""
    # In a reading without a unit, the next word is the finding.
    age = parse_age(found_age.group()) or parse_age(found_age.group().split()[0]) if found_age else None
    return (letter if letter in ("F", "M") else ""), age
