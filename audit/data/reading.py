"""A manifest, or a folder without one, becomes records; and what was read from where, for the user to check before anything runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from audit.data.columns import ALIASES, REQUIRED, ColumnUse, choose_columns
from audit.data.findings import (
    Truth,
    check_ignored,
    label_of_truth,
    output_columns,
    read_columns_of_outputs,
    read_lists,
)
from audit.data.layouts.found import NO_FINDING, FoundSet
from audit.data.layouts.guess import AUTO, LAYOUTS, read_folder
from audit.data.pseudonyms import PLAIN, Pseudonyms
from audit.data.records import Record
from audit.data.rows import Cells, make_records
from audit.data.strings import shown_string
from audit.data.table_heads import read_head
from audit.data.tables import read_columns
from audit.errors import CohortError, CohortUsageError, UsageError
from audit.files import is_file, why_unreadable
from audit.remote.addresses import absolute
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
    remote: tuple[str, ...] = ()
    """Addresses below which images may be read, beside the store of a manifest that is read by address itself."""


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
    multi_label: bool = False,
    ignored: Collection[str] = (),
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
    multi_label : bool
        Whether `classes` are findings of which any number applies: then labels are read from a column for each, or from lists.
    ignored : collection of str
        Findings in lists that are known to be no output.

    Raises
    ------
    CohortError
        If it cannot be read, lacks a column, or has an id twice.
    """
    outputs = tuple(classes or ()) if multi_label else ()
    if manifest.is_dir():
        inside = next((manifest / name for name in _MANIFESTS if (manifest / name).is_file()), None)
        if inside is None or how.layout != AUTO:
            return _from_folder(manifest, how, classes, names, outputs)
        manifest = inside
    elif not is_file(manifest):
        raise CohortUsageError(
            f"Manifest {manifest} {why_unreadable(manifest)}. Expected a CSV or Parquet table with the columns path and label, or a "
            "folder of images."
        )
    head = read_head(manifest)
    try:
        use = choose_columns(str(manifest), head.names, how.columns, ("path",) if outputs else REQUIRED)
    except CohortError as error:
        raise CohortError(f"{error}{_published(manifest)}") from error
    of_outputs = output_columns(head.names, outputs)
    if outputs and not of_outputs and not {"label", "findings"} & set(use.places):
        raise CohortError(
            f"Manifest {manifest} has no labels: expected a column of 0 and 1 for each output "
            f"({', '.join(map(shown_string, outputs[:8]))}, "
            "...), or a column label or findings with findings separated by bars (A|B)."
        )
    wanted = [*use.places.values(), *(i for others in use.doubles.values() for i in others), *of_outputs.values()]
    read = read_columns(head, wanted)
    found = dict(zip(wanted, read.cells, strict=True))
    _check_doubles(manifest, use, found)
    cells = Cells(
        manifest=manifest,
        folder=absolute(manifest).parent,
        columns={column: found[place] for column, place in use.places.items()},
        names=use.names,
        first_row=read.first_row,
        remote=how.remote,
    )
    told_by, ignored_columns = dict(use.names), use.ignored
    truths: list[Truth] = []
    if of_outputs:
        by_output = {name: found[place].to_pylist() for name, place in of_outputs.items()}
        truths = read_columns_of_outputs(manifest, by_output, outputs, read.first_row)
        told_by = {**_without_labels(told_by), **{name: head.names[place] for name, place in of_outputs.items()}}
        ignored_columns = tuple(name for name in use.ignored if name not in told_by.values())
    elif outputs:
        lists = "findings" if "findings" in use.places and "label" not in how.columns else "label"
        said = cells.columns[lists].to_pylist()
        check_ignored(manifest, said, outputs, ignored)
        truths = read_lists(manifest, said, outputs, read.first_row, ignored=ignored)
        told_by = {**_without_labels(told_by), lists: use.names[lists]}
    missing = tuple(column for column in use.missing if not outputs or column not in ("label", "findings"))
    return _checked(cells, head.form, told_by, ignored_columns, missing, list(read.notes), names, truths, outputs)


def _without_labels(names: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of a table without those of which one was chosen for the labels."""
    return {column: name for column, name in names.items() if column not in ("label", "findings")}


def _published(manifest: Path) -> str:
    """Return what to do with a publisher's own table, which has findings in place of labels; empty for any other."""
    folder = absolute(manifest).parent
    found = next((layout for layout in LAYOUTS.values() if Path(layout.sign(folder)).name == manifest.name), None)
    return f" It is a table of {found.title}: --data {manifest.parent} reads the data set as a whole." if found else ""


def _from_folder(
    root: Path, how: TableOptions, classes: Sequence[str] | None, names: Pseudonyms, outputs: Sequence[str]
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
    truths: list[Truth] = []
    if outputs:
        truths = _graded(root, found, outputs)
        notes.append(_other_findings(found, outputs))
    form = f"{guessed.layout.title} ({origin})"
    return _checked(cells, form, found.told_by, (), missing, [n for n in notes if n], names, truths, outputs)


def _graded(root: Path, found: FoundSet, outputs: Sequence[str]) -> list[Truth]:
    """Return what a data set says of each output: its grades, else its lists of findings."""
    places = output_columns(tuple(found.graded), outputs)
    if places:
        names = tuple(found.graded)
        by_output = {output: found.graded[names[place]] for output, place in places.items()}
        return read_columns_of_outputs(root, by_output, outputs, 1)
    lists = "findings" if "findings" in found.columns else "label"
    others = {part.strip() for cell in found.columns[lists] for part in cell.split("|")}
    return read_lists(root, found.columns[lists], outputs, 1, ignored=others)


def _other_findings(found: FoundSet, outputs: Sequence[str]) -> str:
    """State which findings of a data set the network has no output for."""
    said = found.graded or {
        part.strip(): () for cell in found.columns.get("findings", ()) for part in cell.split("|") if part.strip()
    }
    known = output_columns(tuple(said), outputs).values()
    others = [name for i, name in enumerate(said) if i not in known and name != NO_FINDING]
    more = f" and {len(others) - _MOST_IGNORED} more" if len(others) > _MOST_IGNORED else ""
    listed = ", ".join(shown_string(name) for name in others[:_MOST_IGNORED]) + more
    return f"Findings of the data set without an output of that name, not used: {listed}." if others else ""


def _checked(
    cells: Cells,
    form: str,
    told_by: Mapping[str, str],
    ignored: tuple[str, ...],
    missing: tuple[str, ...],
    notes: list[str],
    names: Pseudonyms,
    truths: Sequence[Truth],
    outputs: Sequence[str],
) -> tuple[list[Record], TableReading]:
    if not len(cells.columns["path"]):
        raise CohortError(f"Manifest {cells.manifest} has no rows.")
    records, found = make_records(cells, names)
    if outputs:
        records = [
            replace(record, truth=truth, label=label_of_truth(truth, outputs))
            for record, truth in zip(records, truths, strict=True)
        ]
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
