"""The predictions of a finished run, row by row, held against the network's classes: whoever edits a run may write any name there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

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


def _edited(run: RunFolder, part: str, what: str) -> StoreError:
    return StoreError(f"{run.path / part} has a prediction with {what}. The run was edited. Run the audit again.")
