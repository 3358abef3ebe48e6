"""Paths of images as tables of other machines write them: back-slashes, drive letters, blanks, addresses of the web."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from audit.data.strings import shown_string
from audit.errors import CohortError
from audit.remote.addresses import address_of, is_address, path_of
from audit.store.numbers import counted

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_ELSEWHERE = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_SHOWN = 120


def local_paths(manifest: Path, folder: Path, cells: Sequence[str], first_row: int) -> tuple[list[str], list[str]]:
    """Make the paths of a table those of this machine.

    Parameters
    ----------
    manifest : Path
        The table, for messages.
    folder : Path
        What its paths are relative to.
    cells : sequence of str
        Its column of paths, as written.
    first_row : int
        Row of the first.

    Returns
    -------
    tuple of (list of str, list of str)
        A path for every row, and what was done to them, in words.

    Raises
    ------
    CohortError
        If one is empty, or of another machine.
    """
    paths = [cell.strip() for cell in cells]
    if not all(paths):
        raise CohortError(
            f"Row {paths.index('') + first_row} of {manifest} has an empty path. Name the image, or remove the row."
        )
    notes: list[str] = []
    # Whole columns are looked through first: of most tables no single path needs anything.
    joined = "\n".join(paths)
    if joined != "\n".join(cells):
        _keep_blanks(folder, cells, paths)
    if os.sep != "\\" and ("\\" in joined or ":" in joined):
        _from_windows(manifest, folder, paths, first_row, notes)
    return paths, notes


def placed(folder: Path, path: str) -> Path:
    """Return where the image of a cell lies: behind its address, or from the table's folder."""
    return path_of(path) if is_address(path) else folder / path


def check_addresses(
    manifest: Path, paths: Sequence[str], first_row: int, remote: Sequence[str], what: str = "image"
) -> list[str]:
    """Refuse addresses of a column that are not read; a table from elsewhere must not send this machine anywhere.

    Parameters
    ----------
    manifest : Path
        The table; where it is read by address itself, its store is one that may be read.
    paths : sequence of str
        The column.
    first_row : int
        Row of the first.
    remote : sequence of str
        Addresses below which objects may be read.
    what : str
        What the column names.

    Returns
    -------
    list of str
        How many are read over the network, in words; empty if none is.

    Raises
    ------
    CohortError
        If one is of a kind that is not read, holds a password, or lies elsewhere.
    """
    if "://" not in "\n".join(paths):
        return []
    found = [i for i, path in enumerate(paths) if _ADDRESS.match(path) and not is_address(path)]
    if found:
        raise CohortError(
            f"{counted(len(found), 'row')} of {manifest} {'contains a URL' if len(found) == 1 else 'contain URLs'} of a kind that is not "
            f"read, first row {found[0] + first_row}: {shown_string(paths[found[0]], _SHOWN)!r}. Images are read from this machine, and "
            "from s3://, gs://, az:// and https:// (lower case): copy them to one of these."
        )
    own = address_of(manifest)
    allowed = [*remote, *([] if own is None else [_store(own)])]
    kinds: dict[str, None] = {}
    n = 0
    for i, path in enumerate(paths):
        if is_address(path):
            n, kinds[path.partition(":")[0]] = n + 1, None
            try:
                path_of(path)
            except ValueError as error:
                raise CohortError(
                    f"Row {i + first_row} of {manifest} has a URL that is not read, {shown_string(path, _SHOWN)!r}: {error}."
                ) from error
            if not any(_is_below(path, there) for there in allowed):
                raise CohortError(
                    f"Row {i + first_row} of {manifest} names {what} {shown_string(path, _SHOWN)!r}, which would be read over the network. "
                    f"If you trust the table, allow its store: --remote {shown_string(_store(path), _SHOWN)}."
                )
    return [f"{counted(n, f'{what} is', f'{what}s are')} read over the network ({', '.join(kinds)})."] if n else []


def _store(address: str) -> str:
    """Return the bucket or host of an address."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def _is_below(address: str, place: str) -> bool:
    return address == place or address.startswith(place.rstrip("/") + "/")


def _keep_blanks(folder: Path, cells: Sequence[str], paths: list[str]) -> None:
    """Keep the blanks around a path where a file is so called."""
    for i, (cell, path) in enumerate(zip(cells, paths, strict=True)):
        if cell != path and not _exists(folder, path) and _exists(folder, cell):
            paths[i] = cell


def _from_windows(manifest: Path, folder: Path, paths: list[str], first_row: int, notes: list[str]) -> None:
    turned = dropped = 0
    prefix: list[str] | None = None
    for i, path in enumerate(paths):
        if _ELSEWHERE.match(path):
            parts = [part for part in re.split(r"[\\/]+", path) if part]
            if prefix is None or parts[: len(prefix)] != prefix:
                prefix = _foreign_part(folder, parts)
            if prefix is None:
                raise CohortError(
                    f"Row {i + first_row} of {manifest} has a path of another machine, {shown_string(path, _SHOWN)!r}, and no end of it is "
                    f"a file below the table's folder. Write paths relative to the table, or move the table next to its images."
                )
            paths[i] = "/".join(parts[len(prefix) :])
            dropped += 1
        elif "\\" in path and not _exists(folder, path):
            paths[i] = path.replace("\\", "/")
            turned += 1
    if turned:
        notes.append(
            f"{counted(turned, 'path')} with back-slashes {'was' if turned == 1 else 'were'} read with slashes."
        )
    if dropped:
        notes.append(
            f"{counted(dropped, 'path')} with a drive letter or server {'was' if dropped == 1 else 'were'} read relative to the table's "
            "folder, without the first folders."
        )


def _foreign_part(folder: Path, parts: list[str]) -> list[str] | None:
    """Return how much of a path's beginning has to go, so that a file is found; as little as possible."""
    return next((parts[:k] for k in range(1, len(parts)) if _exists(folder, "/".join(parts[k:]))), None)


def _exists(folder: Path, path: str) -> bool:
    try:
        return os.path.lexists(os.path.join(folder, path))  # noqa: PTH118  # a Path of each of 200,000 takes seconds
    except ValueError:
        return False
