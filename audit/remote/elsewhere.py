"""Files that do not lie on this machine: whoever can get them is asked before a file is looked for here."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from audit.remote.addresses import ByAddress


class Elsewhere(Protocol):
    """One way to files that are not on this machine."""

    def fetch(self, path: Path, limit: int) -> bytes | None:
        """Return the content of a file; None if it is to be read on this machine.

        Parameters
        ----------
        path : Path
            The file.
        limit : int
            Bytes that it may have; no more are read.

        Raises
        ------
        OSError
            If it cannot be read, is no regular file, or is larger (EFBIG).
        """

    def has(self, path: Path) -> bool | None:
        """Say whether there is such a file; None if it is to be looked for on this machine."""


_ways: list[Elsewhere] = [ByAddress()]
_kept_here: list[Path] = []


def read_by_way_of(way: Elsewhere) -> None:
    """Ask for every file that this process reads from now on in this way first."""
    _ways.insert(0, way)


def keep_here(folder: Path) -> None:
    """Say that a folder is this machine's own: of files that were sent to it, which no other machine has under that name."""
    _kept_here.append(folder)


def is_kept_here(path: Path) -> bool:
    """Say whether a path lies in a folder of `keep_here`."""
    return any(path.is_relative_to(folder) for folder in _kept_here)


def fetched(path: Path, limit: int) -> bytes | None:
    """Return the content of a file that lies elsewhere; None for one of this machine.

    Raises
    ------
    OSError
        As of `Elsewhere.fetch`.
    """
    return next((data for way in _ways if (data := way.fetch(path, limit)) is not None), None)


def is_elsewhere(path: Path) -> bool | None:
    """Say whether there is such a file elsewhere; None for a path of this machine."""
    return next((there for way in _ways if (there := way.has(path)) is not None), None)
