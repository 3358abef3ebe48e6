"""What every publisher's folder shares: finding it, reading its table, and the selection that comes out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audit.data.layouts.found import candidates
from audit.data.records import Record
from audit.data.table_heads import read_head
from audit.data.tables import read_columns
from audit.data.vocabulary import known_sex
from audit.errors import CohortError, shown_string


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The records that a builder takes from a publisher's folder."""

    records: tuple[Record, ...]
    """What is taken."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Why images are not taken, with counts."""
    notes: tuple[str, ...] = ()
    """What was not understood, in words."""
    must_test: frozenset[str] = frozenset()
    """Ids that belong into the test split (labelled by radiologists)."""


def find_folder(root: Path, what: str, *layouts: str) -> Path:
    """Return the first folder at or below `root` (two levels) that holds one of `layouts`, a glob relative to it.

    Raises
    ------
    CohortError
        If the root or the layout is not there.
    """
    if not root.is_dir():
        raise CohortError(f"The folder {root} does not exist. Use the folder into which {what} was unpacked.")
    for layout in layouts:
        for folder in candidates(root):
            if next(folder.glob(layout), None) is not None:
                return folder
    raise CohortError(
        f"{root} does not look like {what}: {' or '.join(layouts)} is expected in it, or at most two folders below. "
        f"It contains {', '.join(sorted(p.name for p in root.iterdir())[:6]) or 'nothing'}."
    )


def read_table(path: Path, columns: Collection[str]) -> list[dict[str, str]]:
    """Read the rows of a publisher's CSV as strings, names and values stripped, and check that `columns` are there.

    Raises
    ------
    CohortError
        If it cannot be read or lacks a column.
    """
    head = read_head(path)
    missing = sorted(set(columns) - set(head.names))
    if missing:
        raise CohortError(
            f"{path} has no column {', '.join(map(repr, missing))}; it has {shown_string(', '.join(map(repr, head.names[:8])), 200)}, ... "
            "Check that the right file and version were downloaded."
        )
    cells = [
        [text.strip() for text in column.to_pylist()] for column in read_columns(head, range(len(head.names))).cells
    ]
    return [dict(zip(head.names, row, strict=True)) for row in zip(*cells, strict=True)]


def sex(text: str) -> str:
    """Read a sex as F, M or empty."""
    known = known_sex(text)
    return known if known in ("F", "M") else ""


def files_by_name(folder: Path, pattern: str) -> dict[str, Path]:
    """Return file name -> path for everything below `folder` that matches; the first in sorted order wins."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob(pattern)):
        found.setdefault(path.name, path)
    return found
