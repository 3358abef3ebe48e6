"""Any table that people keep, CSV or Parquet, as columns of text: its encoding and separator are found, what cannot be read is named."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from audit.data.strings import shown_string
from audit.errors import CohortError
from audit.files import open_regular, stands_for
from audit.store import tables as limits
from audit.store.numbers import counted

_HEAD_BYTES = 65_536
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "cp1252": "code page 1252",
}
# What has zero bytes at every second place is UTF-16 without a mark; a damaged table has a few.
_UTF16_ZEROS = 0.3
_LONE = re.compile(rb"\r(?!\n)")
_FOREIGN = {
    b"PK\x03\x04": "an Excel workbook or another ZIP archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook of an old version",
    b"%PDF": "a PDF document",
    b"SQLite format 3": "a database",
}


@dataclass(frozen=True, kw_only=True)
class TableHead:
    """What a table is, before its rows are read."""

    path: Path
    """The file."""
    names: tuple[str, ...]
    """Its columns as they are written, without blanks around them."""
    form: str
    """Its format in words."""
    separator: str = ""
    """Between the cells of a CSV; empty for Parquet."""
    encoding: str = ""
    """Of a CSV, as Python calls it."""
    skipped: int = 0
    """Lines before the header: blank ones and `sep=`."""
    has_line_feeds: bool = True
    """Whether the header of a CSV ends with a line feed, alone or behind a carriage return."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns that were asked for."""

    cells: tuple[pa.Array, ...] = field(repr=False)
    """One array of strings a column, as they are written; without nulls, as an empty cell is an empty string."""
    first_row: int
    """Number of the first record's row, as spreadsheets count."""
    notes: tuple[str, ...] = ()
    """What was mended, in words."""


def read_head(path: Path) -> TableHead:
    """Find out what a table is, and read its header.

    Raises
    ------
    CohortError
        If it is no table, or too large.
    """
    with _refusals(path):
        with open_regular(path) as file:
            head = file.read(_HEAD_BYTES)
        if head.startswith(b"PAR1"):
            with pq.ParquetFile(path) as parquet:
                limits.check_parquet(parquet)
                return TableHead(path=path, names=tuple(parquet.schema_arrow.names), form="Parquet")
        if what := stands_for(head):
            raise ValueError(f"it is {what}")
        foreign = next((what for magic, what in _FOREIGN.items() if head.startswith(magic)), None)
        if foreign:
            raise ValueError(f"it is {foreign}; export it as CSV")
        if path.suffix.lower() in (".parquet", ".pq"):
            raise ValueError("it does not begin as a Parquet file does")
        if head.startswith(b"\x1f\x8b"):
            with _opened(path) as packed:
                head = packed.read(_HEAD_BYTES)
        else:
            limits.check_size(path)
        encoding = _encoding(path, head)
        return _csv_head(path, head, encoding)


def read_columns(head: TableHead, wanted: Sequence[int]) -> Columns:
    """Read some columns of a table as text.

    Parameters
    ----------
    head : TableHead
        As `read_head` found it.
    wanted : sequence of int
        Places of the columns.

    Raises
    ------
    CohortError
        If a row cannot be read: which, and why.
    """
    with _refusals(head.path):
        if not head.separator:
            return Columns(cells=_parquet_cells(head, wanted), first_row=2)
        return _csv_cells(head, wanted)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, EOFError, csv.Error, pa.ArrowException) as error:
        said = shown_string(" ".join(str(error)[:1000].split()), 300).rstrip(".")
        raise CohortError(f"{path} cannot be read as a table: {said}. Expected CSV or Parquet.") from error


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a CSV, unpacked if it is packed by gzip; a few bytes can stand for terabytes, so that is bounded."""
    with open_regular(path) as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not packed:
            yield file
            return
        with gzip.open(file) as unpacked:
            data = unpacked.read(limits.MAX_CSV_BYTES + 1)
        if len(data) > limits.MAX_CSV_BYTES:
            raise ValueError(f"unpacked, it has more than {limits.MAX_CSV_BYTES} bytes")
        yield io.BytesIO(data)


def _encoding(path: Path, head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    for start, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        half = head[start::2]
        if half.count(0) > _UTF16_ZEROS * max(1, len(half)):
            return name
    with _opened(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        try:
            while text.read(1 << 20):
                pass
        except UnicodeDecodeError:
            return "cp1252"
        finally:
            text.detach()
    return "utf-8"


def _csv_head(path: Path, head: bytes, encoding: str) -> TableHead:
    text = head.decode(encoding, errors="replace").removeprefix("\ufeff")
    lines = text.splitlines(keepends=True)
    skipped, separator = 0, ""
    while lines and (not lines[0].strip() or lines[0].strip().lower().startswith("sep=")):
        line = lines.pop(0).strip("\r\n \ufeff")
        skipped += 1
        if line.lower().startswith("sep="):
            separator = line[4:5]
    if not lines:
        raise ValueError("it is empty")
    if not separator:
        separator = max(_SEPARATORS, key=lambda mark: len(_first_row(lines, mark)))
    names = [name.strip() for name in _first_row(lines, separator)]
    if len(names) > limits.MAX_COLUMNS:
        raise ValueError(f"it has {len(names)} columns; at most {limits.MAX_COLUMNS} are read")
    form = f"CSV separated by {_SEPARATORS.get(separator, repr(separator))}, {_ENCODINGS[encoding]}"
    return TableHead(
        path=path,
        names=tuple(names),
        form=form,
        separator=separator,
        encoding=encoding,
        skipped=skipped,
        has_line_feeds=lines[0].endswith("\n"),
    )


def _first_row(lines: Sequence[str], separator: str) -> list[str]:
    return next(csv.reader(lines, delimiter=separator), [])


def _csv_cells(head: TableHead, wanted: Sequence[int]) -> Columns:
    """Read at full speed; where a row has another number of cells than the header, once more, row by row."""
    ragged: list[int] = []

    def note(row: arrow_csv.InvalidRow) -> str:
        ragged.append(row.actual_columns)
        return "skip"

    names = [str(i) for i in range(len(head.names))]
    chosen = [names[i] for i in dict.fromkeys(wanted)]
    first_row = head.skipped + 2
    if len(names) > 1 and chosen:
        with _whole_lines(head) as (file, notes):
            table = arrow_csv.read_csv(
                file,
                read_options=arrow_csv.ReadOptions(
                    column_names=names, skip_rows=head.skipped, skip_rows_after_names=1, encoding=head.encoding
                ),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=head.separator, newlines_in_values=True, invalid_row_handler=note
                ),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(chosen, pa.string()), include_columns=chosen, strings_can_be_null=False
                ),
            )
        if not ragged:
            return Columns(
                cells=tuple(_strings(table.column(names[i])) for i in wanted), first_row=first_row, notes=tuple(notes)
            )
    return _csv_rows(head, wanted, first_row)


@contextmanager
def _whole_lines(head: TableHead) -> Iterator[tuple[BinaryIO, list[str]]]:
    """Open a CSV, with carriage returns that are no line's end as blanks: old free text has them, and every reader breaks a row there.

    Only where the header ends with a line feed: in tables of old systems the carriage return is what ends a line.
    """
    with _opened(head.path) as file:
        if head.encoding.startswith("utf-16") or not head.has_line_feeds or not _count_lone(file):
            file.seek(0)
            yield file, []
            return
        file.seek(0)
        whole, n = _LONE.subn(b" ", file.read())
    yield (
        io.BytesIO(whole),
        [f"{counted(n, 'carriage return')} within lines {'was' if n == 1 else 'were'} read as blanks."],
    )


def _count_lone(file: BinaryIO) -> int:
    """Count the carriage returns without a line feed behind them."""
    lone, last = 0, b""
    while piece := file.read(1 << 20):
        # One that ends a piece belongs to the next.
        lone += piece.count(b"\r") - piece.count(b"\r\n") - (last == b"\r" and piece[:1] == b"\n")
        last = piece[-1:]
    return lone


def _csv_rows(head: TableHead, wanted: Sequence[int], first_row: int) -> Columns:
    """Read row by row: spreadsheets leave out empty cells at the end of a row, or write separators after the last one."""
    cells: list[list[str]] = [[] for _ in wanted]
    n, short, short_first = len(head.names), 0, 0
    with _whole_lines(head) as (file, mended):
        text = io.TextIOWrapper(file, encoding=head.encoding, newline="")
        for _ in range(head.skipped):
            text.readline()
        rows = csv.reader(text, delimiter=head.separator, strict=True)
        next(rows, None)
        for number, row in enumerate(rows, start=first_row):
            if not row:
                continue
            if len(row) > n and any(cell.strip() for cell in row[n:]):
                raise ValueError(
                    f"row {number} has {len(row)} cells and the header {n}; put cells that contain the separator into quotes"
                )
            if len(row) < n:
                short, short_first = short + 1, short_first or number
                row += [""] * (n - len(row))
            for column, place in zip(cells, wanted, strict=True):
                column.append(row[place])
        text.detach()
    notes = list(mended)
    if short:
        notes.append(
            f"{short:,} rows have fewer cells than the header (first: row {short_first}); the missing cells count as empty."
        )
    return Columns(
        cells=tuple(_strings(pa.chunked_array([pa.array(column, pa.string())])) for column in cells),
        first_row=first_row,
        notes=tuple(notes),
    )


def _parquet_cells(head: TableHead, wanted: Sequence[int]) -> tuple[pa.Array, ...]:
    names: Collection[str] = {head.names[i] for i in wanted}
    table = limits.read_flat_table(head.path, names)
    places: dict[int, int] = {}
    for name in names:
        read = [i for i, found in enumerate(table.column_names) if found == name]
        places |= dict(zip([i for i, found in enumerate(head.names) if found == name], read, strict=True))
    return tuple(_strings(table.column(places[i])) for i in wanted)


def _strings(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array of strings; integral numbers are written without decimals, so that 7.0 is patient 7."""
    text = column if pa.types.is_string(column.type) else column.cast(pa.string())
    whole = pc.fill_null(text, "")
    return whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole
