"""The answers of a product that cannot be loaded, in the table that its user filled in: read, checked, looked up by an image's pixels."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from audit.data.table_heads import TableHead, read_head
from audit.data.tables import read_columns
from audit.data.tasks import Task
from audit.errors import UsageError, shown_names, shown_string
from audit.models.logits import Answers, as_logits
from audit.store.numbers import counted

KEY_DIGITS = 32
"""Hexadecimal digits of the SHA-256 of an image's pixels that name it."""
SUM_TOLERANCE = 0.01
"""How far the probabilities of a row may be from a sum of 1: products print two or three digits."""
_NAMES = ("image", "path", "file", "id")
_KEY = re.compile(rf"(?:.*[\\/])?([0-9a-f]{{{KEY_DIGITS}}})(?:\.\w{{1,8}})?", re.IGNORECASE)
"""The name of an image, with folders and an ending as a product or a spreadsheet may write them."""


@dataclass(frozen=True, kw_only=True)
class AnswerTable:
    """Answers, by the names of the images."""

    keys: NDArray[np.bytes_] = field(repr=False)
    """Names of the images that were answered (n), sorted."""
    logits: NDArray[np.float32] = field(repr=False)
    """Their answers (n, k), as logits."""
    n_outputs: int
    """Columns of answers in the table."""
    n_open: int
    """Rows without an answer."""
    n_foreign: int
    """Rows whose image has no name that an emission gives."""

    def places(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Return the row of each of some names; -1 where it has no answer."""
        if not len(self.keys):
            return np.full(len(names), -1)
        wanted = np.array(names, dtype=f"S{KEY_DIGITS}")
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[at] == wanted, at, -1)

    @property
    def sha256(self) -> str:
        """SHA-256 of the answers, whatever the order of the rows and the form of the file."""
        return hashlib.sha256(self.keys.tobytes() + self.logits.tobytes()).hexdigest()


def read_answers(
    table: Path, classes: Sequence[str], answers: Answers, task: Task | None = "single-label"
) -> AnswerTable:
    """Read the answers of a product.

    Parameters
    ----------
    table : Path
        A column `image` and one for each class; of two classes that of the second suffices. A row without any number has no answer yet.
    classes : sequence of str
        Classes, in the order of the logits.
    answers : {"logits", "probabilities"}
        What the numbers are.
    task : {"single-label", "binary", "multi-label"}, optional
        What they mean: of a multi-label product each is a probability of its own.

    Raises
    ------
    UsageError
        If a column is missing, an image was answered twice, or an answer is not a number, not finite, or no probability.
    CohortError
        If it cannot be read as a table.
    """
    if not table.is_file():
        what = "is a folder; name the table in it" if table.is_dir() else "does not exist"
        raise UsageError(f"The table of answers {table} {what}. `audit run --emit FOLDER` writes one to fill in.")
    head = read_head(table)
    apart = task == "multi-label"
    image, columns = _columns(head, classes, one_suffices=len(classes) == 2 and not apart)
    read = read_columns(head, [image, *columns])
    named, *cells = ([str(cell).strip() for cell in column.to_pylist()] for column in read.cells)
    known = [found[1].lower() if (found := _KEY.fullmatch(name)) else "" for name in named]
    filled = [i for i, name in enumerate(known) if name and any(column[i] for column in cells)]
    where = _Rows(table=table, names=named, first=read.first_row)
    values = np.array([[where.number(i, column[i]) for column in cells] for i in filled], dtype=np.float64)
    values = values.reshape(len(filled), len(columns))
    _check_values(values, filled, where, answers, apart=apart)
    keys = np.array([known[i] for i in filled], dtype=f"S{KEY_DIGITS}")
    order = np.argsort(keys, kind="stable")
    twice = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    if len(twice):
        first, second = sorted(filled[order[twice[0] + i]] for i in (0, 1))
        raise UsageError(
            f"{table} answers {counted(len(set(keys[order][twice].tolist())), 'image')} more than once, the first in row "
            f"{first + read.first_row} and in {where.of(second)}. Keep one row for each image."
        )
    logits = (
        as_logits(torch.from_numpy(values[order]), answers, task).numpy()
        if len(filled)
        else np.zeros((0, len(classes)))
    )
    return AnswerTable(
        keys=keys[order],
        logits=np.asarray(logits, dtype=np.float32),
        n_outputs=len(columns),
        n_open=sum(map(bool, known)) - len(filled),
        n_foreign=known.count(""),
    )


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """The rows of a table, for messages."""

    table: Path
    names: Sequence[str]
    first: int

    def of(self, i: int) -> str:
        return f"row {i + self.first} ({shown_string(self.names[i], 60)})"

    def number(self, i: int, cell: str) -> float:
        if not cell:
            raise UsageError(
                f"{_capital(self.of(i))} of {self.table} has no number for one of the classes. Fill in all of them, or none if the image "
                "was not answered yet."
            )
        try:
            return float(cell)
        except ValueError:
            raise UsageError(
                f"{_capital(self.of(i))} of {self.table} must hold numbers, with a point before the decimals; found {shown_string(cell)}."
            ) from None


def _columns(head: TableHead, classes: Sequence[str], *, one_suffices: bool) -> tuple[int, list[int]]:
    """Return the place of the images' column, and those of the classes."""
    names = [name.strip().casefold() for name in head.names]
    image = next((names.index(name) for name in _NAMES if name in names), None)
    wanted = [name.strip().casefold() for name in classes]
    if one_suffices and wanted[0] not in names:  # a single probability, that of the second class
        wanted = wanted[1:]
    if image is None or any(names.count(name) != 1 for name in wanted):
        raise UsageError(
            f"{head.path} must have a column image and one for each class ({shown_names(classes)}), found "
            f"{', '.join(map(shown_string, head.names[:20]))}."
        )
    return image, [names.index(name) for name in wanted]


def _check_values(
    values: NDArray[np.float64], filled: Sequence[int], where: _Rows, answers: Answers, *, apart: bool
) -> None:
    """Refuse answers that are none, and name the first."""
    with np.errstate(over="ignore"):
        wrong = np.any(~np.isfinite(values.astype(np.float32)), axis=1)
    if wrong.any():
        raise UsageError(_first(wrong, filled, where, "holds a number that is not finite", "Correct the answers."))
    outside = np.any((values < 0) | (values > 1), axis=1)
    off = np.abs(values.sum(axis=1) - 1) > SUM_TOLERANCE
    if answers == "logits":
        if values.shape[1] > 1 and len(values) and not outside.any() and not off.any():
            raise UsageError(
                f"The answers of {where.table} were declared as logits, but all lie between 0 and 1 and sum to 1: they are probabilities. "
                "Omit --answers logits."
            )
        return
    if outside.any():
        raise UsageError(
            _first(
                outside,
                filled,
                where,
                "must hold probabilities from 0 to 1",
                "For logits, repeat with --answers logits.",
                values,
            )
        )
    if apart:
        if values.shape[1] > 1 and len(values) and not off.any():
            raise UsageError(
                f"The answers of {where.table} were declared to be multi-label, but each row sums to 1: they are those of a softmax. Use "
                "--task single-label."
            )
        return
    if values.shape[1] > 1 and off.any():
        raise UsageError(
            _first(
                off, filled, where, f"must hold probabilities that sum to 1 (within {SUM_TOLERANCE:g})",
                "Name all classes with --classes. For outputs that do not exclude each other (sigmoids), use --task multi-label.",
                values,
            )
        )  # fmt: skip


def _first(
    wrong: NDArray[np.bool_],
    filled: Sequence[int],
    where: _Rows,
    what: str,
    remedy: str,
    values: NDArray[np.float64] | None = None,
) -> str:
    at = int(np.flatnonzero(wrong)[0])
    found = "" if values is None else f", found {', '.join(f'{v:g}' for v in values[at][:8])}"
    n = int(wrong.sum()) - 1
    more = f" The same applies to {counted(n, 'further row')}." if n else ""
    return f"{_capital(where.of(filled[at]))} of {where.table} {what}{found}.{more} {remedy}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
