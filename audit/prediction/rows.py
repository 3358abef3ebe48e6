"""The predictions of a finished run, row by row, held against the network's classes: whoever edits a run may write any name there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from audit.data.findings import names_in
from audit.errors import StoreError, shown_string
from audit.store.folder import RunFolder


def prediction_parts(run: RunFolder) -> list[str]:
    """Return the names of the tables that hold a run's predictions, in their order."""
    return [f"predictions/{part.name}" for part in sorted((run.path / "predictions").glob("part-*.parquet"))]


def prediction_rows(
    run: RunFolder,
    classes: Collection[str],
    columns: Sequence[str],
    *,
    parts: Sequence[str] | None = None,
    multi_label: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield predictions of a run.

    Parameters
    ----------
    run : RunFolder
        The run.
    classes : collection of str
        Of its network.
    columns : sequence of str
        Columns to read.
    parts : sequence of str, optional
        Tables to read; all if omitted.
    multi_label : bool
        Whether labels and predictions are lists of classes.

    Raises
    ------
    StoreError
        If a table is missing or damaged, a prediction has another number of outputs than the network, or names a class that the
        network does not have.
    """
    n, known = len(classes), frozenset(classes)
    outputs = [name for name in columns if name in ("logits", "probabilities")]
    names = [name for name in columns if name in ("predicted", "label")]
    for part in prediction_parts(run) if parts is None else parts:
        for row in run.read_rows(part, columns):
            for name in outputs:
                if len(row[name]) != n:
                    raise _edited(run, part, f"{len(row[name])} {name}, but the network has {n} outputs")
            for name in names:
                parts_of = names_in(row[name]) if multi_label else [row[name]]
                if not known.issuperset(parts_of):
                    raise _edited(
                        run, part, f"the class {shown_string(str(row[name]))}, which the network does not have"
                    )
            yield row


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictionBatch:
    """Some thousand predictions, in columns."""

    record_ids: pa.DictionaryArray
    """Name of each image."""
    conditions: pa.DictionaryArray
    """Its condition."""
    draws: NDArray[np.int64]
    """(n,) its draw."""
    applied: NDArray[np.bool_]
    """(n,) whether the condition was applied."""
    donors: pa.DictionaryArray
    """Name of the image that the edit was taken from; empty where it was taken from none."""
    logits: NDArray[np.float32]
    """(n, k)."""

    def by_condition(self) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """Yield each condition, and the rows that are predictions under it."""
        codes = self.conditions.indices.to_numpy()
        for code, name in enumerate(self.conditions.dictionary.to_pylist()):
            yield str(name), np.flatnonzero(codes == code)


def prediction_batches(run: RunFolder, part: str, n_outputs: int) -> Iterator[PredictionBatch]:
    """Yield the predictions of one table in columns, each with as many logits as the network has outputs.

    Raises
    ------
    StoreError
        If the table is missing or damaged, or a prediction has another number of logits.
    """
    columns = ["record_id", "condition", "draw", "applied", "donor", "logits"]
    for batch in run.read_batches(part, columns):
        ids, conditions, draws, applied, donors, logits = batch.columns
        lengths = logits.value_lengths().to_numpy(zero_copy_only=False)
        if (lengths != n_outputs).any():
            raise _edited(
                run, part, f"{lengths[lengths != n_outputs][0]} logits, but the network has {n_outputs} outputs"
            )
        yield PredictionBatch(
            record_ids=ids.dictionary_encode(),
            conditions=conditions.dictionary_encode(),
            draws=draws.to_numpy(zero_copy_only=False).astype(np.int64),
            applied=applied.to_numpy(zero_copy_only=False),
            donors=donors.dictionary_encode(),
            logits=logits.flatten().to_numpy(zero_copy_only=False).reshape(-1, n_outputs).astype(np.float32),
        )


def position_of(names: pa.DictionaryArray, position: Mapping[str, int]) -> NDArray[np.int64]:
    """Return the place of each name; -1 for one that has none."""
    places = np.array([position.get(name, -1) for name in names.dictionary.to_pylist()], dtype=np.int64)
    codes = names.indices.to_numpy(zero_copy_only=False)
    # A cell without a name has no code.
    known = np.flatnonzero(~np.isnan(codes)) if codes.dtype.kind == "f" else np.arange(len(codes))
    found = np.full(len(codes), -1, dtype=np.int64)
    found[known] = places[codes[known].astype(np.int64)]
    return found


def _edited(run: RunFolder, part: str, what: str) -> StoreError:
    return StoreError(f"{run.path / part} has a prediction with {what}. The run was edited. Run the audit again.")
