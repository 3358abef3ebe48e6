"""What the published layouts share: a data set found on disk, its tables, its images, and a class from its findings."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audit.data.ages import says_nothing
from audit.data.table_heads import read_head
from audit.data.tables import read_columns
from audit.errors import CohortError

DEFAULT_CLASSES = ("normal", "pneumonia")
"""Classes that findings are turned into where no network says which it knows."""
NO_FINDING = "No Finding"
"""How every layout writes that nothing was found."""
_NORMAL = frozenset({"normal", "nofinding", "nofindings", "healthy"})
_COVID = frozenset({"covid", "covid19", "sarscov2"})
_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".dicom"})
_MOST_FOLDERS = 200
"""A folder of patients has thousands of folders: data sets are not looked for in them."""


@dataclass(frozen=True, kw_only=True)
class FoundSet:
    """The images of a data set that are on disk, as columns of a manifest."""

    folder: Path
    """What the paths are relative to."""
    columns: Mapping[str, Sequence[str]]
    """Column of a manifest -> its cells."""
    told_by: Mapping[str, str]
    """Column -> where the data set says it."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Why images of its tables are left out, with counts."""
    graded: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Finding -> its cells as published, 1, 0, -1 or blank; empty where the data set only lists what was found."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a publisher arranges a data set."""

    name: str
    """For the command line."""
    title: str
    """For people."""
    sign: Callable[[Path], str]
    """Returns what a folder is recognised by; empty if it does not hold the data set."""
    read: Callable[[Path, Sequence[str]], FoundSet]
    """Reads a recognised folder; labels are among the given classes."""


def candidates(root: Path) -> list[Path]:
    """Return the folders in which a data set may lie: the root, and those at most two levels below."""
    level, found = [root], [root]
    for _ in range(2):
        level = [folder / name for folder in level for name in _folders(folder)]
        found += level
    return found[:_MOST_FOLDERS]


def only_child(root: Path) -> list[Path]:
    """Return the root, and the folders that are the only one in theirs, as archives unpack to."""
    found = [root]
    while len(found) < 3 and len(inside := _folders(found[-1])) == 1:
        found.append(found[-1] / inside[0])
    return found


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        names = sorted(
            entry.name for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__MACOSX"))
        )
    return names if len(names) <= _MOST_FOLDERS else []


def first_match(folder: Path, *patterns: str) -> str:
    """Return the last name in a folder that fits the first of the patterns that any fits; empty if none does."""
    for pattern in patterns:
        if found := sorted(path.relative_to(folder).as_posix() for path in folder.glob(pattern)):
            return found[-1]
    return ""


def header_of(path: Path) -> tuple[str, ...]:
    """Return the columns of a table; none where it is no table."""
    try:
        return read_head(path).names
    except CohortError:
        return ()


def read_named(path: Path, wanted: Sequence[str], optional: Sequence[str] = ()) -> dict[str, list[str]]:
    """Read columns of a publisher's table by their names.

    Raises
    ------
    CohortError
        If it cannot be read, or lacks one of `wanted`.
    """
    head = read_head(path)
    absent = [name for name in wanted if name not in head.names]
    if absent:
        raise CohortError(
            f"{path} has no column {', '.join(map(repr, absent))}; it has {', '.join(map(repr, head.names[:8]))}, ... Check that the "
            "right file and version were downloaded."
        )
    names = [*wanted, *(name for name in optional if name in head.names)]
    columns = read_columns(head, [head.names.index(name) for name in names])
    return {
        name: [text.strip() for text in cells.to_pylist()] for name, cells in zip(names, columns.cells, strict=True)
    }


def images_below(folder: Path) -> dict[str, str]:
    """Return file name -> path relative to the folder, of every image at or below it; the first in sorted order wins."""
    found: dict[str, str] = {}
    for path in image_paths(folder):
        found.setdefault(path.rpartition("/")[2], path)
    return found


def image_paths(folder: Path) -> Iterator[str]:
    """Return the path of every image below a folder, relative to it, in sorted order."""
    # Large images often lie on another disk, behind a link; one that leads back is not followed.
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(place)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        inside = Path(place).relative_to(folder).as_posix()
        for name in sorted(names):
            if os.path.splitext(name)[1].lower() in _IMAGES and not name.startswith("."):  # noqa: PTH122  # a Path each takes seconds
                yield name if inside == "." else f"{inside}/{name}"


def label_of(findings: Collection[str], classes: Sequence[str]) -> str:
    """Return the only class that is among the findings; empty where there is none, or several."""
    found = {_folded(finding) for finding in findings}
    nothing = bool(found) and found <= _NORMAL
    fitting = [
        name
        for name in classes
        if (
            nothing
            if _folded(name) in _NORMAL
            else bool(found & (_COVID if _folded(name) in _COVID else {_folded(name)}))
        )
    ]
    return fitting[0] if len(fitting) == 1 else ""


def labels_of(findings: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Return a label for every cell of findings, which are separated by bars."""
    known = {cell: label_of([part for part in cell.split("|") if part], classes) for cell in set(findings)}
    return [known[cell] for cell in findings]


def patients_of(name: str, cells: Sequence[str]) -> list[str]:
    """Return patients under the name of their data set; empty where a cell names nobody, for these are not one person."""
    return ["" if says_nothing(cell) else f"{name}-{cell}" for cell in cells]


def positives(table: Mapping[str, Sequence[str]], names: Sequence[str]) -> list[str]:
    """Return the findings of every row whose column says 1, separated by bars."""
    return [
        "|".join(name for name, cell in zip(names, cells, strict=True) if cell in ("1", "1.0"))
        for cells in zip(*(table[name] for name in names), strict=True)
    ]


def taken(columns: Mapping[str, Sequence[str]], keep: Sequence[bool]) -> dict[str, list[str]]:
    """Return the rows to keep of every column."""
    return {name: [cell for cell, here in zip(cells, keep, strict=True) if here] for name, cells in columns.items()}


def _folded(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())
