"""NIH ChestX-ray14 (Wang et al. 2017): 112,120 frontal images with up to 14 findings, and the official test list."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from audit.data.ages import parse_age
from audit.data.layouts.nih import nih_patient
from audit.data.records import Record
from audit.errors import CohortError
from audit.files import read_text_file
from audit.randomness import generator_for
from audit.training.datasets.published import Selection, files_by_name, find_folder, read_table, sex
from audit.training.splits import check_disjoint

SOURCE = "NIH"
VALIDATION_SHARE = 0.2


def chestxray14(root: Path, *, exclude: frozenset[str] = frozenset(), seed: int = 0) -> Selection:
    """Read the published folder; every image that is on disk and in the table becomes a record.

    The official test list is the test split; of the rest, whole patients are drawn until 20 % of the images validate
    (Bassi & Attux 2021, section 6.1). Findings stand in the publisher's words. The label is normal for "No Finding",
    pneumonia where Pneumonia is among the findings, else empty.

    Parameters
    ----------
    root : Path
        Holds `Data_Entry_2017*.csv`, `test_list.txt`, and the images in any of the published arrangements (`images/`,
        `images_001/images/`, ...).
    exclude : frozenset of str
        File names to leave out.
    seed : int
        Of the validation patients.

    Raises
    ------
    CohortError
        If a file or column is missing, no image is there, or the test list shares a patient with the rest.
    """
    folder = find_folder(root, "ChestX-ray14", "Data_Entry_2017*.csv")
    table = read_table(
        sorted(folder.glob("Data_Entry_2017*.csv"))[-1],
        ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position"),
    )
    official = _list(folder / "test_list.txt")
    images = files_by_name(folder, "*.png")
    left_out: Counter[str] = Counter()
    records = []
    for row in table:
        name = row["Image Index"]
        if name in exclude:
            left_out["excluded by name"] += 1
        elif name not in images:
            left_out["not on disk"] += 1
        else:
            patient = nih_patient(row["Patient ID"])
            findings = tuple(f.strip() for f in row["Finding Labels"].split("|") if f.strip())
            records.append(
                Record(
                    id=name,
                    path=images[name],
                    label=_label(findings),
                    patient=patient or name,
                    patient_known=bool(patient),
                    findings=findings,
                    source=SOURCE,
                    view=row["View Position"],
                    # The file of 2017 says gender, newer ones say sex.
                    sex=sex(row.get("Patient Sex", row.get("Patient Gender", ""))),
                    age=parse_age(row["Patient Age"]),
                    split="test" if name in official else None,
                )
            )
    if not records:
        raise CohortError(
            f"None of the {len(table)} images of ChestX-ray14's table is below {folder}. Unpack the images."
        )
    return Selection(records=tuple(_with_validation(records, seed)), left_out=dict(left_out))


def _label(findings: tuple[str, ...]) -> str | None:
    if findings == ("No Finding",):
        return "normal"
    return "pneumonia" if "Pneumonia" in findings else None


def _list(path: Path) -> frozenset[str]:
    try:
        return frozenset(line.strip() for line in read_text_file(path, errors="strict").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise CohortError(
            f"{path} cannot be read ({error}). It is the official test list; download it from the page of the table."
        ) from error


def _with_validation(records: list[Record], seed: int) -> list[Record]:
    """Draw whole patients until they hold the wanted share of the images outside the test."""
    from dataclasses import replace

    images = Counter(r.patient for r in records if r.split is None)
    patients = sorted(images)
    wanted = VALIDATION_SHARE * sum(images.values())
    validating: set[str] = set()
    held = 0
    for index in generator_for(seed, "chestxray14 validation").permutation(len(patients)):
        if held >= wanted:
            break
        validating.add(patients[index])
        held += images[patients[index]]
    done = [r if r.split else replace(r, split="validation" if r.patient in validating else "train") for r in records]
    check_disjoint(done, {r.id: str(r.split) for r in done})
    return done
