"""A manifest, or a folder without one, becomes records; and what was read from where, for the user to check before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from audit.data.columns import ALIASES, ColumnUse, choose_columns
from audit.data.layouts.guess import AUTO, LAYOUTS, read_folder
from audit.data.pseudonyms import PLAIN, Pseudonyms
from audit.data.records import Record
from audit.data.rows import Cells, make_records
from audit.data.strings import shown_string
from audit.data.tables import read_columns, read_head
from audit.errors import CohortError, UsageError
from audit.files import why_unreadable
from audit.store.numbers import counted

_MANIFESTS = ("manifest.csv", "manifest.parquet")
_MOST_IGNORED = 12


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """How the user wants a table to be read."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Column -> its name in the table; `-` for one that is not to be read. The rest is recognised."""
    layout: str = AUTO
    """Data set that a folder without a manifest holds; auto to guess it."""


GUESSED = TableOptions()
"""Everything is recognised."""


@dataclass(frozen=True, kw_only=True)
class TableReading:
    """What was read from where."""

    form: str
    """Format of the table, or what the folder was recognised as, in words."""
    n_rows: int
    """Records."""
    columns: Mapping[str, str]
    """Column -> where it was read from: a name in the table, or a place of the data set."""
    ignored: tuple[str, ...]
    """Columns of the table that are not read."""
    missing: tuple[str, ...]
    """Columns that the table does not have."""
    warnings: tuple[str, ...] = ()
    """What the user should know before anything runs."""

    @property
    def lines(self) -> list[str]:
        """The same in lines for a terminal: names are cut, and what a terminal would obey is made visible."""
        read = ", ".join(
            column if column == name else f"{column} (from {shown_string(name)})"
            for column, name in self.columns.items()
        )
        lines = [f"data: {self.form}, {counted(self.n_rows, 'row')}", f"columns read: {read}"]
        if self.ignored:
            more = len(self.ignored) - _MOST_IGNORED
            shown = ", ".join(shown_string(name) or "(no name)" for name in self.ignored[:_MOST_IGNORED])
            lines.append(f"columns ignored: {shown}{f' and {more} more' if more > 0 else ''}")
        if self.missing:
            lines.append(f"columns missing: {', '.join(self.missing)}")
        return lines + [f"warning: {warning}" for warning in self.warnings]


NO_PATIENTS = (
    "No patient column: each image counts as a patient, so intervals may be too narrow, and no text that was read on the images is "
    "shown."
)
"""Said on the terminal and in every report."""


def read_records(
    manifest: Path,
    *,
    how: TableOptions = GUESSED,
    classes: Sequence[str] | None = None,
    names: Pseudonyms = PLAIN,
) -> tuple[list[Record], TableReading]:
    """Read the table alone, without looking at an image.

    Parameters
    ----------
    manifest : Path
        CSV or Parquet; or a folder that holds a `manifest.csv`, or a data set that is known.
    how : TableOptions
        Names of columns, and of the data set.
    classes : sequence of str, optional
        What the findings of a published data set are turned into.
    names : Pseudonyms
        What files that go out call images and patients; their ids if omitted.

    Raises
    ------
    CohortError
        If it cannot be read, lacks a column, or has an id twice.
    """
    if manifest.is_dir():
        inside = next((manifest / name for name in _MANIFESTS if (manifest / name).is_file()), None)
        if inside is None or how.layout != AUTO:
            return _from_folder(manifest, how, classes, names)
        manifest = inside
    elif not manifest.is_file():
        raise CohortError(
            f"Manifest {manifest} {why_unreadable(manifest)}. Expected a CSV or Parquet table with the columns path and label, or a "
            "folder of images."
        )
    head = read_head(manifest)
    try:
        use = choose_columns(str(manifest), head.names, how.columns)
    except CohortError as error:
        raise CohortError(f"{error}{_published(manifest)}") from error
    wanted = [*use.places.values(), *(i for others in use.doubles.values() for i in others)]
    read = read_columns(head, wanted)
    found = dict(zip(wanted, read.cells, strict=True))
    _check_doubles(manifest, use, found)
    cells = Cells(
        manifest=manifest,
        folder=manifest.resolve().parent,
        columns={column: found[place] for column, place in use.places.items()},
        names=use.names,
        first_row=read.first_row,
    )
    return _checked(cells, head.form, use.names, use.ignored, use.missing, list(read.notes), names)


def _published(manifest: Path) -> str:
    """Return what to do with a publisher's own table, which has findings in place of labels; empty for any other."""
    folder = manifest.resolve().parent
    found = next((layout for layout in LAYOUTS.values() if Path(layout.sign(folder)).name == manifest.name), None)
    return f" It is a table of {found.title}: --data {manifest.parent} reads the data set as a whole." if found else ""


def _from_folder(
    root: Path, how: TableOptions, classes: Sequence[str] | None, names: Pseudonyms
) -> tuple[list[Record], TableReading]:
    if how.columns:
        raise UsageError(
            f"--columns names columns of a table, but {root} is a folder without a manifest. Leave --columns out."
        )
    guessed = read_folder(root.resolve(), how.layout, classes)
    found = guessed.found
    columns = {name: pa.array(list(cells), pa.string()) for name, cells in found.columns.items()}
    cells = Cells(manifest=root, folder=found.folder, columns=columns, names=dict(found.told_by), first_row=1)
    notes = [f"{counted(n, 'image')} of the tables left out: {reason}." for reason, n in found.left_out.items()]
    origin = (
        "as requested"
        if how.layout != AUTO
        else f"guessed from {shown_string(guessed.sign, 120)}; name another with --layout"
    )
    missing = tuple(column for column in ALIASES if column not in columns and column != "id")
    return _checked(cells, f"{guessed.layout.title} ({origin})", found.told_by, (), missing, notes, names)


def _checked(
    cells: Cells,
    form: str,
    told_by: Mapping[str, str],
    ignored: tuple[str, ...],
    missing: tuple[str, ...],
    notes: list[str],
    names: Pseudonyms,
) -> tuple[list[Record], TableReading]:
    if not len(cells.columns["path"]):
        raise CohortError(f"Manifest {cells.manifest} has no rows.")
    records, found = make_records(cells, names)
    _check_ids(cells.manifest, records)
    warnings = [*notes, *found]
    if not any(record.patient_known for record in records):
        warnings.append(NO_PATIENTS)
    elif not all(record.patient_known for record in records):
        n = sum(not record.patient_known for record in records)
        warnings.append(f"{counted(n, 'image has', 'images have')} no patient: each counts as a patient of its own.")
    return records, TableReading(
        form=form,
        n_rows=len(records),
        columns=dict(told_by),
        ignored=ignored,
        missing=missing,
        warnings=tuple(warnings),
    )


def _check_ids(manifest: Path, records: Sequence[Record]) -> None:
    seen: set[str] = set()
    twice = dict.fromkeys(r.id for r in records if r.id in seen or seen.add(r.id))  # type: ignore[func-returns-value]
    if twice:
        raise CohortError(
            f"Manifest {manifest} has {counted(len(twice), 'duplicate id')}, first {next(iter(twice))!r}. Ids must be unique: "
            "remove the extra rows or add an id column."
        )


def _check_doubles(manifest: Path, use: ColumnUse, found: Mapping[int, pa.Array]) -> None:
    """Refuse two columns of one name that say different things."""
    for column, others in use.doubles.items():
        for other in others:
            if not pc.all(pc.equal(found[use.places[column]], found[other])).as_py():
                raise CohortError(
                    f"Manifest {manifest} has {1 + len(others)} columns called {use.names[column]!r}, which hold different values. Rename "
                    f"the one that does not hold the {column}."
                )
