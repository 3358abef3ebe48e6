"""The columns of any table that people keep, CSV or Parquet, as text: what cannot be read is named."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from audit.data.table_heads import TableHead, opened, refusals
from audit.files import open_regular
from audit.store import tables as limits
from audit.store.numbers import counted

_LONE = re.compile(rb"\r(?!\n)")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns that were asked for."""

    cells: tuple[pa.Array, ...] = field(repr=False)
    """One array of strings a column, as they are written; without nulls, as an empty cell is an empty string."""
    first_row: int
    """Number of the first record's row, as spreadsheets count."""
    notes: tuple[str, ...] = ()
    """What was mended, in words."""


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
    with refusals(head.path):
        if not head.separator:
            return Columns(cells=_parquet_cells(head, wanted), first_row=2)
        return _csv_cells(head, wanted)


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
    with opened(head.path) as file:
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
    with open_regular(head.path) as file:
        table = limits.read_flat_table(file, names)
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
