"""Where Parquet is read: what a table will take once it is expanded is told before it is."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit.errors import shown_string
from audit.files import open_regular

MAX_ROWS = 100_000_000
"""Of one table; a prediction of every image under every condition is a row."""
MAX_STORED_BYTES = 8 * 1024**3
"""Of one table before it is expanded; a run's own tables are read a few thousand rows at a time."""
MAX_COLUMNS = 1_000
"""Of one table."""
MAX_TABLE_BYTES = 1024**3
"""Of a table that is read whole, expanded."""
MAX_CSV_BYTES = 512 * 1024**2
"""Of a manifest in CSV; a million images take some 150 MB."""
_BATCH = 65_536


def check_size(path: Path) -> None:
    """Refuse a CSV that is too large to be read whole.

    Raises
    ------
    ValueError
        If it is.
    OSError
        If it is not there.
    """
    with open_regular(path) as file:
        n_bytes = file.seek(0, os.SEEK_END)
    if n_bytes > MAX_CSV_BYTES:
        raise ValueError(f"it has {n_bytes} bytes; a CSV of at most {MAX_CSV_BYTES} bytes is read")


def check_parquet(file: pq.ParquetFile) -> None:
    """Refuse a table by what its own footer says, before a row of it is read.

    Raises
    ------
    ValueError
        If it has too many rows, columns or bytes.
    """
    about = file.metadata
    n_bytes = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
    if about.num_rows > MAX_ROWS or about.num_columns > MAX_COLUMNS or n_bytes > MAX_STORED_BYTES:
        raise ValueError(
            f"it has {about.num_rows} rows, {about.num_columns} columns and {n_bytes} bytes; at most {MAX_ROWS} rows, "
            f"{MAX_COLUMNS} columns and {MAX_STORED_BYTES} bytes are read"
        )


class ColumnError(ValueError):
    """A table lacks a column, or has one of another type or with holes; the message says which."""


def check_columns(found: pa.Schema, expected: pa.Schema) -> None:
    """Refuse a table of a run or baseline whose columns are missing or of other types.

    Raises
    ------
    ColumnError
        For the first that is.
    """
    for field in expected:
        places = found.get_all_field_indices(field.name)
        if len(places) != 1:
            raise ColumnError(
                f"it has {'no' if not places else len(places)} column{'s' if places else ''} {field.name}"
            )
        kind = found.field(places[0]).type
        if kind != field.type:
            raise ColumnError(f"its column {field.name} must be of type {field.type}, found {shown_string(str(kind))}")


def check_filled(rows: pa.RecordBatch | pa.Table, names: Collection[str]) -> None:
    """Refuse rows with nothing in a column that always holds something, or in one of its lists.

    Raises
    ------
    ColumnError
        For the first such column.
    """
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        if name not in names:
            continue
        if column.null_count:
            raise ColumnError(f"its column {name} is empty in {column.null_count} rows")
        while pa.types.is_list(column.type):
            column = column.flatten()
            if column.null_count:
                raise ColumnError(f"its column {name} has lists with {column.null_count} empty places")


def check_finite(rows: pa.RecordBatch, names: Collection[str]) -> None:
    """Refuse rows with NaN or infinity in a column that always holds numbers, or in one of its lists.

    Raises
    ------
    ColumnError
        For the first such column.
    """
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        if name in names:
            while pa.types.is_list(column.type):
                column = column.flatten()
            if not pc.all(pc.is_finite(column)).as_py() and len(column):
                raise ColumnError(f"its column {name} is not a finite number everywhere")


def read_flat_table(source: Path | BinaryIO, columns: Collection[str] | None = None) -> pa.Table:
    """Read a table of plain columns from someone else.

    A few bytes can stand for a text repeated ten million times. Texts are therefore read as a dictionary of the different
    ones, and only expanded when all of them together are small enough.

    Parameters
    ----------
    source : Path or binary file
        A Parquet file.
    columns : collection of str, optional
        Names of the columns to read; all if omitted. A name that occurs twice gives both.

    Raises
    ------
    ValueError
        If it is too large, or a column contains lists or records.
    OSError, pyarrow.ArrowException
        If it cannot be read.
    """
    with pq.ParquetFile(source) as file:
        check_parquet(file)
        schema = [field for field in file.schema_arrow if columns is None or field.name in columns]
        nested = next((field.name for field in schema if pa.types.is_nested(field.type)), None)
        if nested is not None:
            raise ValueError(f"its column {nested!r} contains lists or records")
        texts = [field.name for field in schema if _is_text(field.type)]
    if not isinstance(source, Path):
        source.seek(0)
    total, batches = 0, []
    with pq.ParquetFile(source, read_dictionary=texts) as file:
        names = None if columns is None else list(columns)
        for batch in file.iter_batches(batch_size=_BATCH, columns=names):
            total += sum(_expanded_bytes(column) for column in batch.columns)
            if total > MAX_TABLE_BYTES:
                raise ValueError(f"its rows take more than {MAX_TABLE_BYTES} bytes when expanded")
            batches.append(batch)
        table = pa.Table.from_batches(batches, schema=pa.schema(schema) if not batches else batches[0].schema)
    table.validate(full=True)  # a damaged file may hold texts that are none
    plain = [
        pa.field(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type, f.nullable)
        for f in table.schema
    ]
    return table.cast(pa.schema(plain))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_string(kind))


def _expanded_bytes(column: pa.Array) -> int:
    if not isinstance(column, pa.DictionaryArray):
        return int(column.nbytes)
    if not _is_text(column.dictionary.type):
        return int(column.nbytes) + 8 * len(column)
    lengths = pc.binary_length(column.dictionary).cast(pa.int64())
    return int(pc.sum(lengths.take(column.indices)).as_py() or 0) + 8 * len(column)
