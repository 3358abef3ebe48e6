"""The run folder: written atomically, read back, verified."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from audit.errors import StoreError, shown_string
from audit.files import file_sha256, open_regular, write_atomically
from audit.store.documents import read_json
from audit.store.results import SCHEMA_VERSION
from audit.store.run_record import RunRecord
from audit.store.serialise import plain, to_json
from audit.store.table_schemas import FINITE, NEVER_NULL, OPTIONAL, SCHEMAS
from audit.store.tables import ColumnError, check_columns, check_filled, check_finite, check_parquet
from audit.store.typed import FormatError, RunDocument, typed

_D = TypeVar("_D", bound=RunDocument)


RENDERED = frozenset(
    {
        "run.json", "report.html", "junit.xml", "summary.md", "signoff.json", "audit.sarif", "code-quality.json", "pr-comment.md",
        "diff.html", "recomputed.json",
    }
)  # fmt: skip
"""Made from the other files, at any time, or by a reviewer; so they are not among the files that are hashed."""


class RunFolder:
    """One run's files. A file that is there is whole: nothing is ever written in place.

    Parameters
    ----------
    path : Path
        The folder, existing or not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def has(self, name: str) -> bool:
        """Say whether a file was already written."""
        return (self.path / name).is_file()

    def write_json(self, name: str, document: Mapping[str, Any]) -> None:
        """Write one JSON document, with the schema version added."""
        write_atomically(self.path / name, to_json({"schema_version": SCHEMA_VERSION, **document}).encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON document back.

        Raises
        ------
        StoreError
            If it is missing, damaged, or of another schema version.
        """
        path = self.path / name
        try:
            document = read_json(path)
        except OSError as error:
            if name == RunRecord.FILE and isinstance(error, (FileNotFoundError, NotADirectoryError)):
                raise StoreError(
                    f"{self.path} is not a finished run folder: {self._lack()}. Expected a folder with {RunRecord.FILE}, such as those "
                    "in runs/."
                ) from error
            raise StoreError(
                f"{path} cannot be read ({error.strerror}). Check that {self.path} is a finished run folder."
            ) from error
        except ValueError as error:
            raise StoreError(f"{path} is not valid JSON: {error}.") from error
        if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
            raise StoreError(
                f"{path} does not have schema version {SCHEMA_VERSION}, which this version of audit reads."
            )
        return document

    def _lack(self) -> str:
        """State why the folder cannot be that of a finished run."""
        if self.path.is_dir():
            return f"it has no {RunRecord.FILE}"
        return "it is a file" if self.path.exists() else "it does not exist"

    def write(self, document: RunDocument) -> None:
        """Write a document under its own name."""
        self.write_json(document.FILE, plain(document))

    def read(self, kind: type[_D]) -> _D:
        """Read a document back as its type.

        Raises
        ------
        StoreError
            If it is missing, damaged, of another schema version, or not of its type: the message names the place.
        """
        document = self.read_json(kind.FILE)
        del document["schema_version"]
        try:
            return typed(document, kind)
        except FormatError as error:
            raise StoreError(
                f"{self.path / kind.FILE} does not have the format of this version of audit: {error}. Another version wrote it, or "
                "it was edited. Run the audit again."
            ) from error

    def write_rows(self, name: str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
        """Write a Parquet table."""
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer, compression="zstd")
        write_atomically(self.path / name, buffer.getvalue())

    def read_rows(self, name: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the rows of a Parquet table, a batch at a time.

        Raises
        ------
        StoreError
            If it is missing or damaged, or its columns are not those of such a table.
        """
        for batch in self.read_batches(name, columns):
            yield from batch.to_pylist()

    def read_batches(self, name: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield a Parquet table in batches of a few thousand rows: a million rows are read in columns, not one by one.

        Raises
        ------
        StoreError
            As `read_rows` does.
        """
        path = self.path / name
        schema = SCHEMAS[name.partition("/")[0].partition(".")[0]]
        try:
            # By a handle: pyarrow takes no path that is not text, as a Linux file name need not be.
            with open_regular(path) as handle, pq.ParquetFile(handle) as file:
                check_parquet(file)
                wanted = list(columns) if columns is not None else [n for n in schema.names if n not in OPTIONAL]
                check_columns(file.schema_arrow, pa.schema([schema.field(column) for column in wanted]))
                for batch in file.iter_batches(batch_size=4096, columns=wanted):
                    check_filled(batch, NEVER_NULL)
                    check_finite(batch, FINITE)
                    yield batch
        except ColumnError as error:
            raise StoreError(
                f"{path} does not have the format of this version of audit: {error}. Another version wrote it, or it was edited. Run "
                "the audit again."
            ) from error
        except (OSError, ValueError, pa.ArrowException) as error:
            raise StoreError(f"{path} cannot be read as a Parquet table: {shown_string(str(error), 200)}.") from error

    def merge(self, parts: Sequence[str], name: str, schema: pa.Schema) -> None:
        """Join Parquet parts into one table, a row group each, without holding them all."""
        buffer = io.BytesIO()
        with pq.ParquetWriter(buffer, schema, compression="zstd") as writer:
            for part in parts:
                with open_regular(self.path / part) as handle:
                    writer.write_table(pq.read_table(handle, schema=schema))
        write_atomically(self.path / name, buffer.getvalue())

    def check_links(self) -> None:
        """Reject a folder with a link that leads out of it, or with a pipe: its files are shown in pages, and files are written into it.

        Raises
        ------
        StoreError
            For the first such link or pipe.
        """
        inside = self.path.resolve()
        for folder, folders, files in os.walk(self.path):
            for name in sorted([*folders, *files]):
                entry = Path(folder, name)
                if entry.is_symlink() and not _target(entry).is_relative_to(inside):
                    raise StoreError(
                        f"{entry} is a link that leads out of the run folder. Put the file itself in its place, or run the audit again."
                    )
                # One that was there a moment ago is a temporary file of whoever writes.
                if os.path.lexists(entry) and not entry.is_symlink() and not entry.is_file() and not entry.is_dir():
                    raise StoreError(
                        f"{entry} is a pipe or a device, which no run has. Remove it, and run the audit again."
                    )

    def hashes(self) -> dict[str, str]:
        """Return the SHA-256 of every file behind the results, by its path inside the folder.

        Raises
        ------
        StoreError
            If a link leads out of the folder.
        """
        self.check_links()
        files = sorted(p for p in self.path.rglob("*") if p.is_file() and not p.name.startswith("."))
        return {p.relative_to(self.path).as_posix(): file_sha256(p) for p in files if p.name not in RENDERED}


def _target(link: Path) -> Path:
    """Return the target of a link; for a circular link, the root, which no run folder contains."""
    try:
        return link.resolve()
    except (OSError, RuntimeError):
        return Path("/")


def verify_run(path: Path, *, but: frozenset[str] = frozenset()) -> list[str]:
    """Compare a finished run with the hashes in its run.json.

    Parameters
    ----------
    path : Path
        Its folder.
    but : frozenset of str
        Files that are not compared.

    Returns
    -------
    list of str
        What differs, in words; empty if the run is as it was left.

    Raises
    ------
    StoreError
        If the folder holds no readable run.json, or a link leads out of it.
    """
    run = RunFolder(path)
    expected = run.read(RunRecord).files
    found = run.hashes()
    problems = {name: "is missing" for name in expected if name not in found}
    problems |= {name: "was changed" for name, digest in expected.items() if found.get(name, digest) != digest}
    problems |= {name: "was added" for name in found if name not in expected}
    return sorted(f"{name} {what}" for name, what in problems.items() if name not in but)


def check_run(path: Path, *, but: frozenset[str] = frozenset()) -> None:
    """Reject a finished run that was changed since it ended.

    Parameters
    ----------
    path : Path
        Its folder.
    but : frozenset of str
        Files that may differ.

    Raises
    ------
    StoreError
        If the run is not complete; or a file is missing, was changed or was added, and the message names each.
    """
    if RunFolder(path).read(RunRecord).status != "complete":
        raise StoreError(f"The run {path} is not complete. Repeat its command to continue it.")
    problems = verify_run(path, but=but)
    if problems:
        raise StoreError(
            f"The run {path} was changed since it was finished: {'; '.join(problems)}. Remove the folder, and run the audit again."
        )
