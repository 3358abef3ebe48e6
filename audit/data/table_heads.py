"""What a table is, before its rows are read: CSV or Parquet, its encoding, separator and columns."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from audit.data.strings import shown_string
from audit.errors import CohortError
from audit.files import open_regular, stands_for
from audit.store import tables as limits

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


def read_head(path: Path) -> TableHead:
    """Find out what a table is, and read its header.

    Raises
    ------
    CohortError
        If it is no table, or too large.
    """
    with refusals(path):
        with open_regular(path) as file:
            head = file.read(_HEAD_BYTES)
        if head.startswith(b"PAR1"):
            with open_regular(path) as file, pq.ParquetFile(file) as parquet:
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
            with opened(path) as packed:
                head = packed.read(_HEAD_BYTES)
        else:
            limits.check_size(path)
        encoding = _encoding(path, head)
        return _csv_head(path, head, encoding)


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn whatever reading a table raises into one sentence.

    Raises
    ------
    CohortError
        If the file cannot be read, or is no table.
    """
    try:
        yield
    except (OSError, ValueError, EOFError, csv.Error, pa.ArrowException) as error:
        said = shown_string(" ".join(str(error)[:1000].split()), 300).rstrip(".")
        raise CohortError(f"{path} cannot be read as a table: {said}. Expected CSV or Parquet.") from error


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a CSV, unpacked if it is packed by gzip; a few bytes can stand for terabytes, so that is bounded.

    Raises
    ------
    ValueError
        If it is too large once unpacked.
    """
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
    with opened(path) as file:
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
