"""`audit-baseline.json` and its Parquet table: the pinned state that later runs are compared with."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audit.baseline.changes import ImageValues
from audit.data.plan import Identity
from audit.errors import StoreError, shown_string, shown_value
from audit.files import read_regular, write_atomically
from audit.store.documents import read_json
from audit.store.group import ALL, Group
from audit.store.run_record import Sha256
from audit.store.serialise import plain, to_json
from audit.store.tables import ColumnError, check_columns, check_filled, read_flat_table
from audit.store.typed import Document, FormatError, typed

BASELINE_NAME = "audit-baseline.json"
"""Its usual name, at the root of a repository."""
BASELINE_VERSION = 4
"""Rises when the file, or the meaning of a measure in it, changes: then runs are not compared with old files."""
Pin = tuple[str, str, str, str]
"""Condition, measure, output (empty for all), and the plan hash of the run that the values come from."""
_IMAGES_SCHEMA = pa.schema(
    [
        ("condition", pa.dictionary(pa.int32(), pa.string())),
        ("measure", pa.dictionary(pa.int32(), pa.string())),
        (
            "output",
            pa.dictionary(pa.int32(), pa.string()),
        ),  # of a multi-label network, where a rule is about one; else empty
        ("run", pa.dictionary(pa.int32(), pa.string())),  # plan hash of the run that the values were pinned by
        ("image", pa.string()),  # a name made with the key (`audit.data.pseudonyms`)
        ("value", pa.float64()),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """One number that later runs must not make worse."""

    condition: str
    """The edit, or `clean`."""
    measure: str
    """One of those that have a number for each image."""
    group: Group
    """The images that it is about."""
    worse: Literal["higher", "lower", "either"]
    """Direction in which it must not change; either if rules limit both."""
    estimate: float
    """Its mean over the images of the accepted run."""
    low: float | None
    """Lower end of its interval in that run."""
    high: float | None
    """Upper end of the same."""
    n_images: int
    """Images behind it."""
    run: str
    """Plan hash of the run that pinned it; a later run that is not significantly better does not change it."""

    @property
    def place(self) -> tuple[str, str, Group]:
        """Condition, measure and group, which identify it."""
        return self.condition, self.measure, self.group

    @property
    def pin(self) -> Pin:
        """The key of the values behind it."""
        return self.condition, self.measure, self.output, self.run

    @property
    def output(self) -> str:
        """The one output of a multi-label network that it is about; empty where it is about images."""
        return (self.group.value or "") if self.group.kind == "output" else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One line of a baseline's history."""

    date: str
    """Day, in UTC."""
    action: Literal["accept", "prune"]
    """What was done."""
    model: str
    """Name and digest of the network."""
    plan_hash: str
    """Of the accepted run."""
    git_commit: str | None
    """The commit that was checked out."""
    reason: str
    """Why a worse state was accepted; empty where nothing became worse."""
    worse: tuple[str, ...]
    """What became worse, in words."""
    dropped: tuple[str, ...]
    """Figures that are no longer stored."""


@dataclass(frozen=True, kw_only=True)
class AcceptedBaseline:
    """The content of `audit-baseline.json`, with the values of each image."""

    identity: Identity
    """Of the accepted run's plan: data, model, text finder and suite, which a later run must share to be compared."""
    entries: tuple[Accepted, ...]
    """Sorted by condition, measure and group."""
    history: tuple[Change, ...]
    """Oldest first."""
    values: Mapping[Pin, ImageValues]
    """The values of all images, of each run that some entry was pinned by."""

    def pinned(self, condition: str, measure: str, group: Group) -> ImageValues | None:
        """Return what a later run is compared with: a group without its own entry uses the pin of all images.

        None where there is none: an output of a multi-label network has values of its own.
        """
        held = {entry.place: entry for entry in self.entries}
        entry = held.get((condition, measure, group))
        if entry is None and group.kind != "output":
            entry = held.get((condition, measure, ALL))
        return None if entry is None else self.values[entry.pin]


class _BaselineDocument(Document, frozen=True, kw_only=True):
    """The file without its own hash."""

    format: Literal["audit-baseline"] = "audit-baseline"
    schema_version: int = BASELINE_VERSION
    identity: Identity
    entries: tuple[Accepted, ...]
    history: tuple[Change, ...]
    images_sha256: Sha256


def images_path(path: Path) -> Path:
    """Return the path of the table of images: next to the baseline, under the same name."""
    return path.with_suffix(".parquet")


def write_baseline(path: Path, baseline: AcceptedBaseline) -> None:
    """Write the file and its table; the same baseline always gives the same bytes.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    """
    table = _to_parquet(baseline.values)
    document = plain(
        _BaselineDocument(
            identity=baseline.identity,
            entries=tuple(sorted(baseline.entries, key=lambda entry: entry.place)),
            history=baseline.history,
            images_sha256=hashlib.sha256(table).hexdigest(),
        )
    )
    # The table first: a kill between the two leaves a mismatch that is refused, never a pair that is believed.
    write_atomically(images_path(path), table)
    write_atomically(path, to_json({**document, "sha256": _digest(document)}).encode())


def read_baseline(path: Path) -> AcceptedBaseline:
    """Read a baseline back.

    Raises
    ------
    StoreError
        If the file or its table is missing, damaged, of another version, or not as `audit baseline` left it.
    """
    again = "Restore both files from version control, or accept a new run with `audit baseline accept RUN`."
    try:
        document = read_json(path)
    except OSError as error:
        raise StoreError(
            f"The baseline {path} cannot be read ({error.strerror}). Make it with `audit baseline accept RUN`."
        ) from error
    except ValueError as error:
        raise StoreError(f"The baseline {path} is not valid JSON: {error}. {again}") from error
    if not isinstance(document, dict) or document.get("format") != "audit-baseline":
        raise StoreError(f"{path} is not a baseline: its format is not audit-baseline. {again}")
    if document.get("schema_version") != BASELINE_VERSION:
        raise StoreError(
            f"The baseline {path} has schema version {shown_value(document.get('schema_version'))}, but this version of audit reads "
            f"{BASELINE_VERSION}. Delete it and {images_path(path).name}, and accept a new run with `audit baseline accept RUN`."
        )
    stated = document.pop("sha256", None)
    if stated != _digest(document):
        raise StoreError(f"The baseline {path} was edited by hand: its hash does not match its content. {again}")
    try:
        found = typed(document, _BaselineDocument)
    except FormatError as error:
        raise StoreError(
            f"The baseline {path} does not have the format of this version of audit: {error}. {again}"
        ) from error
    try:
        table = read_regular(images_path(path))
    except OSError as error:
        raise StoreError(
            f"The baseline's table {images_path(path)} cannot be read ({error.strerror}). {again}"
        ) from error
    if hashlib.sha256(table).hexdigest() != found.images_sha256:
        raise StoreError(f"The table {images_path(path)} is not the one that {path} was written with. {again}")
    try:
        values = _from_parquet(table)
        lacking = next((entry for entry in found.entries if entry.pin not in values), None)
        if lacking is not None:
            raise ColumnError(
                f"it has no values of {shown_string(lacking.measure)} under {shown_string(lacking.condition)}"
            )
    except (ValueError, OSError, pa.ArrowException) as error:
        raise StoreError(
            f"The table {images_path(path)} does not have the format of this version of audit: {shown_string(str(error), 200)}. {again}"
        ) from error
    return AcceptedBaseline(identity=found.identity, entries=found.entries, history=found.history, values=values)


def keep_needed(values: Mapping[Pin, ImageValues], entries: Iterable[Accepted]) -> dict[Pin, ImageValues]:
    """Return the values that entries are based on."""
    return {pin: values[pin] for pin in sorted({entry.pin for entry in entries})}


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _to_parquet(values: Mapping[Pin, ImageValues]) -> bytes:
    columns: dict[str, list[Any]] = {name: [] for name in _IMAGES_SCHEMA.names}
    for (condition, measure, output, run), told in sorted(values.items()):
        # By name: rows in the order of the manifest would give the ids away to whoever can list them.
        order = np.argsort(told.images, kind="stable")
        columns["condition"] += [condition] * len(order)
        columns["measure"] += [measure] * len(order)
        columns["output"] += [output] * len(order)
        columns["run"] += [run] * len(order)
        columns["image"] += told.images[order].tolist()
        columns["value"] += told.values[order].tolist()
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=_IMAGES_SCHEMA), buffer, compression="zstd")
    return buffer.getvalue()


def _from_parquet(table: bytes) -> dict[Pin, ImageValues]:
    flat = read_flat_table(io.BytesIO(table))
    plain_types = [pa.field(f.name, getattr(f.type, "value_type", f.type)) for f in _IMAGES_SCHEMA]
    check_columns(flat.schema, pa.schema(plain_types))
    check_filled(flat, _IMAGES_SCHEMA.names)
    rows = flat.to_pandas()
    key = ["condition", "measure", "output", "run"]
    if rows.duplicated([*key, "image"]).any():
        raise ColumnError("it has two values of one image")
    if not np.isfinite(rows["value"]).all():
        raise ColumnError("its column value is not a finite number in every row")
    return {
        (str(condition), str(measure), str(output), str(run)): ImageValues(
            images=told["image"].to_numpy(dtype=np.str_), values=told["value"].to_numpy(dtype=np.float64)
        )
        for (condition, measure, output, run), told in rows.groupby(key, observed=True, sort=True)
    }
