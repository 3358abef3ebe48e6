"""Which columns of a table say what: by their own names, by the names that data sets use for them, or as the user tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from audit.data.strings import shown_string
from audit.errors import CohortError, UnknownNameError, UsageError

ALIASES: Mapping[str, tuple[str, ...]] = {
    "path": (
        "path", "image path", "file path", "img path", "file name", "file", "image file", "image index", "image", "img",
        "relative path", "full path", "dicom path", "png path", "jpg path",
    ),
    "label": ("label", "target", "class", "class name", "class label", "diagnosis", "category", "ground truth"),
    "id": ("id", "record id", "image id", "image uid", "dicom id", "sop instance uid"),
    "patient": (
        "patient", "patient id", "subject", "subject id", "patient number", "patient no", "person id", "participant",
        "participant id", "mrn", "pid",
    ),
    "findings": ("findings", "finding labels", "finding"),
    "source": ("source", "dataset", "data source", "hospital", "institution", "institution name", "scanner", "manufacturer"),
    "site": ("site", "site id", "centre", "center"),
    "view": ("view", "view position", "projection", "ap/pa"),
    "sex": ("sex", "gender", "patient sex", "patient gender"),
    "age": (
        "age", "patient age", "age years", "age in years", "patient age years", "age months", "age in months", "age weeks",
        "age in weeks", "age days", "age in days",
    ),
    "split": ("split", "subset", "partition"),
    "lung_mask": ("lung mask", "lung mask path", "mask path", "mask"),
}  # fmt: skip
"""Column -> names that it is recognised by, whatever their case, blanks, underscores and other marks; the first that a table has."""
REQUIRED = ("path", "label")
NOT_READ = "-"
"""Said in place of a column's name: this one is not to be read."""
_SHOWN = 40


@dataclass(frozen=True, kw_only=True)
class ColumnUse:
    """What is read from where."""

    places: Mapping[str, int]
    """Column -> its place in the table."""
    names: Mapping[str, str]
    """Column -> its name in the table."""
    ignored: tuple[str, ...]
    """Names of the columns that are not read."""
    missing: tuple[str, ...]
    """Columns that the table does not have."""
    doubles: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Column -> places of the further columns of the very same name."""


def choose_columns(
    manifest: str, names: Sequence[str], given: Mapping[str, str], required: Sequence[str] = REQUIRED
) -> ColumnUse:
    """Recognise the columns of a table.

    Parameters
    ----------
    manifest : str
        The table, for messages.
    names : sequence of str
        Its columns.
    given : mapping
        Column -> its name in the table, where the user says so; `-` for one that is not to be read.
    required : sequence of str
        Columns that the table must have.

    Raises
    ------
    UsageError
        If a given column or name does not exist.
    CohortError
        If a required one is missing.
    """
    check_given(given)
    folded = [_folded(name) for name in names]
    places: dict[str, int] = {}
    for column, aliases in ALIASES.items():
        if column in given:
            place = _told(manifest, column, given[column], names, folded)
        else:
            told = {_folded(name) for name in given.values()}
            wanted = [_folded(alias) for alias in aliases]
            place = next((folded.index(name) for name in wanted if name in folded and name not in told), None)
        if place is not None:
            places[column] = place
    missing = tuple(column for column in ALIASES if column not in places)
    absent = [column for column in required if column in missing]
    if absent:
        found = ", ".join(shown_string(name, _SHOWN) for name in names[:30])
        remedy = f"Rename it, or name it with --columns {','.join(f'{column}=NAME' for column in absent)}."
        if len(names) == 1:
            remedy = (
                "Its first line is one cell: it must name the columns, separated by commas, semicolons, tabs or vertical bars, without "
                "quotation marks around the whole line."
            )
        raise CohortError(
            f"Manifest {manifest} has no column {' and no column '.join(absent)} (found: {found}). {remedy}"
        )
    doubles = {
        column: tuple(i for i, name in enumerate(names) if i != place and name == names[place])
        for column, place in places.items()
    }
    used = {*places.values(), *(i for others in doubles.values() for i in others)}
    return ColumnUse(
        places=places,
        names={column: names[place] for column, place in places.items()},
        ignored=tuple(name for i, name in enumerate(names) if i not in used),
        missing=missing,
        doubles={column: others for column, others in doubles.items() if others},
    )


def check_given(given: Mapping[str, str]) -> None:
    """Check the columns that the user names, without a table.

    Raises
    ------
    UnknownNameError
        If one is none that is ever read.
    UsageError
        If two are to be read from one.
    """
    for column in given:
        if column not in ALIASES:
            raise UnknownNameError("column of a manifest", column, ALIASES)
    seen: dict[str, str] = {}
    for column, name in given.items():
        if name != NOT_READ and seen.setdefault(_folded(name), column) != column:
            raise UsageError(
                f"--columns reads {seen[_folded(name)]} and {column} from one column, {shown_string(name, _SHOWN)!r}. Name each "
                "column once."
            )


def age_unit(name: str) -> str:
    """Return the unit of an age column by its name: y, m, w or d."""
    folded = _folded(name)
    return next((word[0] for word in ("months", "weeks", "days") if folded.endswith(word)), "y")


def _folded(name: str) -> str:
    """Return a name as it is compared; one of marks alone stays as it is."""
    return "".join(c for c in name.casefold() if c.isalnum()) or name


def _told(manifest: str, column: str, name: str, names: Sequence[str], folded: Sequence[str]) -> int | None:
    if name == NOT_READ:
        if column in REQUIRED:
            raise UsageError(f"The column {column} cannot be left out. Name the column that holds it.")
        return None
    if name in names:
        return names.index(name)
    if _folded(name) in folded:
        return folded.index(_folded(name))
    raise UnknownNameError(f"column for {column} in {manifest}", name, [shown_string(n, _SHOWN) for n in names])
