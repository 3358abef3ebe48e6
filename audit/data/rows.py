"""The cells of a table become records: every different cell is read once, however many rows repeat it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from audit.data.ages import parse_age, says_nothing
from audit.data.columns import age_unit
from audit.data.paths import check_addresses, local_paths, placed
from audit.data.pseudonyms import Pseudonyms
from audit.data.records import SPLITS, Record
from audit.data.vocabulary import OTHER, known_sex, known_view, pattern_of
from audit.errors import CohortError
from audit.store.numbers import counted

SPLIT_SPELLINGS: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validate": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_MOST_PATTERNS = 3
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
"""Signs without width that web pages and spreadsheets leave around a cell."""
_ABSENT = frozenset({"", "nan", "nat", "<na>"})
"""An empty label, and how programs write one as text; other words for nothing may be a class."""
_ROUNDED = re.compile(r"\d(?:[.,]\d{1,20})?[eE]\+\d{1,3}")
_ZEROS = re.compile(r"(?<!\d)0+(?=\d)|(?<=\d)\.0+$")
_NO_FINDINGS: tuple[str, ...] = ()
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Cells:
    """The columns of a table that are read."""

    manifest: Path
    """The table, for messages."""
    folder: Path
    """What its paths are relative to."""
    columns: Mapping[str, pa.Array]
    """Column -> its cells, strings without nulls; path and label are there."""
    names: Mapping[str, str]
    """Column -> what it is called in the table."""
    first_row: int
    """Row of the first record."""
    remote: tuple[str, ...] = ()
    """Addresses below which images may be read."""


def make_records(cells: Cells, pseudonyms: Pseudonyms) -> tuple[list[Record], list[str]]:
    """Make a record of every row.

    Parameters
    ----------
    cells : Cells
        The columns.
    pseudonyms : Pseudonyms
        What files of a run call images and patients.

    Returns
    -------
    tuple of (list of Record, list of str)
        The records in the table's order; and what was not understood or was mended, in words.

    Raises
    ------
    CohortError
        If a row cannot be trusted: which, and why.
    """
    _refuse_zero_bytes(cells)
    paths, notes = local_paths(cells.manifest, cells.folder, cells.columns["path"].to_pylist(), cells.first_row)
    masks = list(_known(cells, "lung_mask", len(paths)))
    notes += [
        *check_addresses(cells.manifest, paths, cells.first_row, cells.remote),
        *check_addresses(cells.manifest, masks, cells.first_row, cells.remote, "mask"),
    ]
    n = len(paths)
    ids = [own or path for own, path in zip(_known(cells, "id", n), paths, strict=True)]
    patients = _known(cells, "patient", n)
    _refuse_rounded(cells, patients)
    notes += _spelt_differently(cells.manifest, patients, _texts(cells, "split", n))
    unit = age_unit(cells.names.get("age", ""))
    image_names = [pseudonyms.image(name) for name in ids]
    patient_names: dict[str, str] = {}
    for patient in (own or name for own, name in zip(patients, ids, strict=True)):
        if patient not in patient_names:
            patient_names[patient] = pseudonyms.patient(patient)
    root = cells.folder
    records = [
        Record(
            id=identity,
            path=placed(root, path),
            label=label,
            patient=patient or identity,
            patient_known=bool(patient),
            findings=findings,
            source=source,
            site=site,
            view=view,
            sex=sex,
            age=age,
            split=split,
            lung_mask=placed(root, mask) if mask else None,
            name=name,
            patient_name=patient_names[patient or identity],
        )
        for identity, path, label, patient, findings, source, site, view, sex, age, split, mask, name in zip(
            ids,
            paths,
            _mapped(cells, "label", n, lambda text: None if text.casefold() in _ABSENT else text, None),
            patients,
            _mapped(cells, "findings", n, _findings, _NO_FINDINGS),
            _mapped(cells, "source", n, lambda text: "unknown" if says_nothing(text) else text, "unknown"),
            _known(cells, "site", n),
            _understood(cells, "view", n, known_view, OTHER, "", notes),
            _understood(cells, "sex", n, known_sex, OTHER, "", notes),
            _understood(cells, "age", n, lambda text: parse_age(text, unit), None, None, notes),
            _splits(cells, n),
            masks,
            image_names,
            strict=True,
        )
    ]
    return records, notes


def _refuse_zero_bytes(cells: Cells) -> None:
    for column, array in cells.columns.items():
        broken = pc.match_substring(array, "\0")
        if pc.any(broken).as_py():
            raise CohortError(
                f"Row {_first(broken) + cells.first_row} of {cells.manifest} has a zero byte in column {column!r}: the table is damaged. "
                "Export it again."
            )


def _first(mask: pa.Array) -> int:
    return int(np.flatnonzero(np.asarray(mask))[0])


def _mapped(cells: Cells, column: str, n: int, read: Callable[[str], _T], absent: _T) -> Collection[_T]:
    """Read every different cell once, and return what it says for every row."""
    if column not in cells.columns:
        return list(repeat(absent, n))
    texts, codes = _different(cells.columns[column])
    values = [read(text) for text in texts]
    return [values[code] for code in codes.tolist()]


def _different(column: pa.Array) -> tuple[list[str], NDArray[np.int32]]:
    """Return the different cells of a column, without blanks and invisible signs around them, and for every row which it has."""
    coded = column.dictionary_encode()
    texts = [text.strip().strip(_INVISIBLE).strip() for text in coded.dictionary.to_pylist()]
    return texts, coded.indices.to_numpy(zero_copy_only=False)


def _texts(cells: Cells, column: str, n: int) -> Collection[str]:
    return _mapped(cells, column, n, lambda text: text, "")


def _known(cells: Cells, column: str, n: int) -> Collection[str]:
    """Return the cells of a column of names; one that holds a word for nothing, as programs write it, is empty.

    Otherwise all images whose patient is `nan` would count as those of one person.
    """
    return _mapped(cells, column, n, lambda text: "" if says_nothing(text) else text, "")


def _refuse_rounded(cells: Cells, patients: Collection[str]) -> None:
    """Refuse numbers such as 1.23E+15: a spreadsheet has rounded long ids, and different people may share one.

    Raises
    ------
    CohortError
        For the first such patient.
    """
    for row, patient in enumerate(patients, start=cells.first_row):
        if "+" in patient and _ROUNDED.fullmatch(patient):
            raise CohortError(
                f"Row {row} of {cells.manifest} has the patient {patient}: a spreadsheet has rounded the ids, so different patients may "
                "share one. Export the column as text, or leave it out with --columns patient=-."
            )


def _findings(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|") if part.strip())


def _understood(
    cells: Cells, column: str, n: int, read: Callable[[str], _T | None], unknown: _T, absent: _T, notes: list[str]
) -> Collection[_T]:
    """Read cells of which some say nothing that is understood: these are counted, with how they are written and where."""
    if column not in cells.columns:
        return list(repeat(absent, n))
    texts, codes = _different(cells.columns[column])
    found = [read(text) for text in texts]
    bad = [
        code
        for code, (text, value) in enumerate(zip(texts, found, strict=True))
        if value is None and not says_nothing(text)
    ]
    if bad:
        of_bad = np.isin(codes, bad)
        patterns = list(dict.fromkeys(pattern_of(texts[code]) for code in bad))
        more = len(patterns) - _MOST_PATTERNS
        shown = ", ".join(repr(pattern) for pattern in patterns[:_MOST_PATTERNS]) + (
            f" and {more} more" if more > 0 else ""
        )
        treated = "treated as unknown" if unknown is None else f"called {unknown!r}"
        notes.append(
            f"{counted(int(of_bad.sum()), 'value')} of the column {column} {'is' if of_bad.sum() == 1 else 'are'} not understood and "
            f"{treated} (first: row {int(np.flatnonzero(of_bad)[0]) + cells.first_row}; written like {shown}, with 9 for digits and a for "
            "letters)."
        )
    values = [
        value if value is not None else absent if says_nothing(text) else unknown
        for text, value in zip(texts, found, strict=True)
    ]
    return [values[code] for code in codes.tolist()]


def _splits(cells: Cells, n: int) -> Collection[str | None]:
    if "split" in cells.columns:
        trimmed = pc.utf8_trim_whitespace(cells.columns["split"])
        for text in pc.unique(trimmed).to_pylist():
            if text and text.lower() not in SPLIT_SPELLINGS:
                row = _first(pc.equal(trimmed, text)) + cells.first_row
                raise CohortError(
                    f"Row {row} of {cells.manifest} has split {text!r}; allowed values are {', '.join(SPLITS)} or an empty cell."
                )
    return _mapped(cells, "split", n, lambda text: SPLIT_SPELLINGS.get(text.lower()), None)


def _spelt_differently(manifest: Path, patients: Collection[str], splits: Sequence[str] | Collection[str]) -> list[str]:
    """Find ids that differ by leading zeros, decimals or case: spreadsheets make 007 to 7 and 7.0.

    Raises
    ------
    CohortError
        If such ids are in different splits: a leak that no comparison of ids would find.
    """
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for patient in dict.fromkeys(patients):
        if patient:
            spellings[_ZEROS.sub("", patient.casefold())].append(patient)
    doubtful = {patient: key for key, several in spellings.items() if len(several) > 1 for patient in several}
    if not doubtful:
        return []
    of_key: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for patient, split in zip(patients, splits, strict=True):
        if patient in doubtful and split:
            of_key[doubtful[patient]].setdefault(SPLIT_SPELLINGS.get(split.lower(), split), patient)
    n = len(set(doubtful.values()))
    leaks = [key for key, found in of_key.items() if len(found) > 1]
    if leaks:
        one, two = list(of_key[leaks[0]].items())[:2]
        raise CohortError(
            f"{counted(len(leaks), 'patient')} of {manifest} may be in more than one split under ids that differ only by leading zeros, "
            f"decimals or case, first {one[1]!r} in {one[0]} and {two[1]!r} in {two[0]}. Write each patient's id in one way; where they "
            "are different people, add a prefix to the ids."
        )
    return [
        f"{counted(n, 'patient may', 'patients may')} be counted more than once: their ids differ only by leading zeros, decimals or case, "
        "as 007, 7 and 7.0 do. Write each patient's id in one way."
    ]
