"""A table of records becomes a checked cohort."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pandas as pd

from audit.data.checks import check_images, check_masks, duplicate_notes
from audit.data.encodings import encoding_notes
from audit.data.pseudonyms import PLAIN, Pseudonyms, name_records
from audit.data.records import Cohort, Record
from audit.errors import CohortError, UnknownNameError, UsageError
from audit.files import why_unreadable
from audit.store.numbers import counted
from audit.store.tables import check_size, read_flat_table

SPLITS = ("train", "validation", "test")
_PIXEL_DIGITS = 32
"""Hexadecimal digits that tell images apart; two of a billion would agree by chance once in 10^20 cohorts."""
_SPLIT_SPELLINGS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_MOST_LISTED = 5
_PATIENT_COLUMNS = ("patient", "patient_id", "patientid")


def load_cohort(
    manifest: Path,
    *,
    classes: Sequence[str] | None = None,
    ignore_labels: Collection[str] = (),
    on_bad_image: Literal["fail", "skip"] = "fail",
    split: str | None = None,
    before_images: Callable[[Sequence[Record]], None] | None = None,
    names: Pseudonyms = PLAIN,
) -> Cohort:
    """Read a manifest and check everything that an audit relies on.

    Parameters
    ----------
    manifest : Path
        CSV or Parquet table with at least `path` (relative to its folder) and `label`; also read:
        id, findings (separated by `|`), source, site, patient or patient_id, view, sex, age, split, lung_mask (path).
    classes : sequence of str, optional
        Label vocabulary in the order of the model's outputs; sorted labels of the table if omitted.
    ignore_labels : collection of str
        Labels that are known not to belong to the task: such records count as unlabelled.
    on_bad_image : {"fail", "skip"}
        What to do with a file that cannot be read; skipped ones are counted in `left_out`.
    split : str, optional
        Keep only the records of this split (checked after patient overlap, so that a leak is seen).
    before_images : callable, optional
        Given the records as the table tells them, before the first image is read; refuses them by raising.
    names : Pseudonyms
        What files that go out call images and patients; their ids if omitted.

    Returns
    -------
    Cohort
        With every record in the manifest's order, and a content hash.

    Raises
    ------
    CohortError
        If the table cannot be read or trusted: missing columns, duplicate ids, a label outside the
        classes, an unreadable image, a patient in two splits.
    """
    records = list(name_records(read_records(manifest), names))
    records, left_out = _apply_vocabulary(manifest, records, classes, ignore_labels)
    overlaps = _patients_in_two_splits(records)
    if overlaps:
        raise CohortError(
            f"{counted(len(overlaps), 'patient')} of {manifest} {'is' if len(overlaps) == 1 else 'are'} in more than one split, first "
            f"{overlaps[0]!r}. A split must keep a patient's images together, or test accuracy measures memory. Correct the split column."
        )
    if split is not None:
        records = [r for r in records if r.split == split]
        if not records:
            raise CohortError(f"Manifest {manifest} has no record of split {split!r}.")
    if before_images is not None:
        before_images(records)
    checked = check_images(records, on_bad_image)
    if checked.bad:
        left_out["unreadable image"] = len(checked.bad)
    hashes = checked.hashes
    records, masks_hash, bad_masks = check_masks(checked.records, checked.shapes)
    # Notes stand in every report: images by their names only, and no message of a decoder, which may quote the file.
    notes = (
        [f"{counted(len(checked.bad), 'unreadable image')} left out: {_listed(checked.bad)}."] if checked.bad else []
    )
    notes += [*duplicate_notes(records, hashes), *checked.notes]
    notes += encoding_notes(records, checked.facts)
    if bad_masks:
        notes.append(f"{len(bad_masks)} lung masks cannot be used and are treated as missing: {_listed(bad_masks)}.")
    if not any(r.patient_known for r in records):
        notes.append(
            "No patient column: each image counts as a patient, so intervals may be too narrow, and no text that was read on "
            "the images is shown."
        )
    if not records:
        raise CohortError(f"Manifest {manifest} has no usable record.")
    vocabulary = (
        tuple(classes) if classes is not None else tuple(sorted({r.label for r in records if r.label is not None}))
    )
    return Cohort(
        name=manifest.resolve().parent.name or manifest.stem,
        manifest=manifest,
        classes=vocabulary,
        records=tuple(records),
        content_hash=_content_hash(records, hashes),
        masks_hash=masks_hash,
        pixels={record.id: hashes[record.id][1][:_PIXEL_DIGITS] for record in records},
        notes=tuple(notes),
        left_out=left_out,
    )


def read_records(manifest: Path) -> list[Record]:
    """Read the table alone, without looking at an image.

    Raises
    ------
    CohortError
        If it cannot be read, lacks a column, or has an id twice.
    """
    records = _records(manifest, _read_table(manifest))
    _check_ids(manifest, records)
    return records


def _listed(records: Sequence[Record]) -> str:
    more = "" if len(records) <= _MOST_LISTED else f" and {len(records) - _MOST_LISTED} more"
    return f"{', '.join(r.name for r in records[:_MOST_LISTED])}{more}"


def _read_table(manifest: Path) -> pd.DataFrame:
    if not manifest.is_file():
        raise CohortError(
            f"Manifest {manifest} {why_unreadable(manifest)}. Expected a CSV or Parquet table with the columns path and label."
        )
    try:
        if manifest.suffix.lower() in (".parquet", ".pq"):
            table: pd.DataFrame = read_flat_table(manifest).to_pandas()
        else:
            check_size(manifest)
            table = pd.read_csv(manifest, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except Exception as error:  # pandas, pyarrow and codecs each have their own exceptions for "not a table"
        raise CohortError(
            f"Manifest {manifest} cannot be read as a table: {error}. Expected CSV or Parquet."
        ) from error
    table.columns = [str(c).strip() for c in table.columns]
    missing = {"path", "label"} - set(table.columns)
    if missing:
        raise CohortError(
            f"Manifest {manifest} has no column {' and no column '.join(sorted(missing))} "
            f"(found: {', '.join(map(str, table.columns))}). Rename or add it."
        )
    if table.empty:
        raise CohortError(f"Manifest {manifest} has no rows.")
    return table


def _text(value: object) -> str:
    """Return a cell as stripped text, empty for every kind of missing value."""
    if value is None or (isinstance(value, float) and value != value) or value is pd.NA or value is pd.NaT:
        return ""
    return str(value).strip()


def _age(value: str) -> float | None:
    try:
        age = float(value.rstrip("Yy+ "))
    except ValueError:
        return None
    return age if 0 <= age < 130 else None


def _records(manifest: Path, table: pd.DataFrame) -> list[Record]:
    folder = manifest.resolve().parent
    patient_column = next((c for c in _PATIENT_COLUMNS if c in table.columns), None)
    records = []
    for number, row in enumerate(table.to_dict("records"), start=2):
        cell = {str(key): _text(value) for key, value in row.items()}
        broken = [key for key, value in cell.items() if "\0" in value]
        if broken:
            raise CohortError(
                f"Row {number} of {manifest} has a zero byte in column {broken[0]!r}: the table is damaged. Export it again."
            )
        if not cell["path"]:
            raise CohortError(f"Row {number} of {manifest} has an empty path.")
        identity = cell.get("id") or cell["path"]
        patient = cell.get(patient_column, "") if patient_column else ""
        split = cell.get("split", "").lower()
        if split and split not in _SPLIT_SPELLINGS:
            raise CohortError(
                f"Row {number} of {manifest} has split {cell['split']!r}; allowed values are {', '.join(SPLITS)} or an empty cell."
            )
        records.append(
            Record(
                id=identity,
                path=folder / cell["path"],
                label=cell["label"] or None,
                patient=patient or identity,
                patient_known=bool(patient),
                findings=tuple(f.strip() for f in cell.get("findings", "").split("|") if f.strip()),
                source=cell.get("source", "") or "unknown",
                site=cell.get("site", ""),
                view=cell.get("view", ""),
                sex=cell.get("sex", ""),
                age=_age(cell.get("age", "")),
                split=_SPLIT_SPELLINGS.get(split),
                lung_mask=folder / cell["lung_mask"] if cell.get("lung_mask") else None,
            )
        )
    return records


def _check_ids(manifest: Path, records: Iterable[Record]) -> None:
    twice = [name for name, count in Counter(r.id for r in records).items() if count > 1]
    if twice:
        raise CohortError(
            f"Manifest {manifest} has {counted(len(twice), 'duplicate id')}, first {twice[0]!r}. Ids must be unique: "
            "remove the extra rows or add an id column."
        )


def _apply_vocabulary(
    manifest: Path, records: list[Record], classes: Sequence[str] | None, ignore_labels: Collection[str]
) -> tuple[list[Record], dict[str, int]]:
    """Turn ignored labels into none, and refuse labels that no class has."""
    left_out: dict[str, int] = {}
    found = Counter(r.label for r in records if r.label is not None)
    absent = sorted(set(ignore_labels) - set(found))
    if absent:
        raise UnknownNameError(f"label to ignore in {manifest}", absent[0], found)
    if classes is not None:
        wrong = sorted(set(found) - set(classes) - set(ignore_labels))
        if wrong:
            counts = ", ".join(f"{name!r} ({counted(found[name], 'image')})" for name in wrong)
            raise CohortError(
                f"Manifest {manifest} has labels outside the classes {', '.join(classes)}: {counts}. Correct them, or "
                f"leave them out with {' '.join(f'--ignore-label {name}' for name in wrong)}."
            )
    kept = []
    for record in records:
        if record.label is None:
            left_out["unlabelled"] = left_out.get("unlabelled", 0) + 1
        elif record.label in ignore_labels:
            reason = f"label {record.label} ignored"
            left_out[reason] = left_out.get(reason, 0) + 1
            record = replace(record, label=None)
        kept.append(record)
    return kept, left_out


def _patients_in_two_splits(records: Iterable[Record]) -> list[str]:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.split is not None:
            splits[record.patient].add(record.split)
    return sorted(patient for patient, names in splits.items() if len(names) > 1)


def _content_hash(records: Iterable[Record], hashes: dict[str, tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for record in sorted(records, key=lambda r: r.id):
        fields = (
            record.id,
            record.label or "",
            record.patient,
            record.source,
            record.view,
            record.sex,
            record.split or "",
            hashes[record.id][0],
        )
        digest.update("\x1f".join(fields).encode("utf-8", "surrogateescape") + b"\x1e")
    return digest.hexdigest()


def check_on_bad_image(value: str) -> Literal["fail", "skip"]:
    """Narrow the command line's string."""
    if value == "fail":
        return "fail"
    if value == "skip":
        return "skip"
    raise UsageError(f"--on-bad-image must be fail or skip, found {value!r}.")
