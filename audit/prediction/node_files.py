"""Files of the machine that started a run, for the nodes of its cluster: a node that shares its disk reads for itself, another one asks."""

from __future__ import annotations

import errno
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from audit.files import is_file, read_regular
from audit.remote.addresses import address_of
from audit.remote.elsewhere import is_kept_here

_INSTALLED = (Path(sys.prefix), Path(__file__).parents[1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Stamp:
    """What two machines that see the same file agree on."""

    size: int
    """Bytes."""
    modified_ns: int
    """When it was changed last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the first machine says of one of its files."""

    same: bool = False
    """The asking node has the same file, and reads its own."""
    data: bytes = b""
    """The content, where it does not."""
    error: tuple[int, str] | None = None
    """Number and words of the reason why it cannot be read."""


class FirstMachine:
    """Runs on the machine that started the run, and reads its files for nodes."""

    def read(self, path: Path, seen: Stamp | None, limit: int) -> Answer:
        """Return the content of a file, unless the node sees the very same one.

        Parameters
        ----------
        path : Path
            The file.
        seen : Stamp or None
            What the node sees under this path; None if nothing.
        limit : int
            Bytes that it may have.
        """
        try:
            if seen is not None and stamp_of(path) == seen:
                return Answer(same=True)
            return Answer(data=read_regular(path, limit))
        except (OSError, ValueError) as error:
            return Answer(
                error=(getattr(error, "errno", None) or errno.EINVAL, getattr(error, "strerror", "") or str(error))
            )

    def has(self, path: Path) -> bool:
        """Say whether there is such a regular file."""
        return is_file(path)


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a regular file; None where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return Stamp(size=status.st_size, modified_ns=status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


class ByFirstMachine:
    """The way of a node to the files of the first machine (`audit.remote.elsewhere.Elsewhere`).

    Parameters
    ----------
    folder : Path
        Working folder of the first machine, which its relative paths start from.
    read, has : callable
        Ask the first machine, as its methods of these names are called.
    """

    def __init__(
        self, folder: Path, read: Callable[[Path, Stamp | None, int], Answer], has: Callable[[Path], bool]
    ) -> None:
        self._folder, self._read, self._has = folder, read, has

    def fetch(self, path: Path, limit: int) -> bytes | None:
        """Return the content of a file; None if the node has the same.

        Raises
        ------
        OSError
            As the first machine met it.
        """
        if _is_own(path):
            return None
        found = self._read(self._folder / path, stamp_of(self._folder / path), limit)
        if found.error is not None:
            raise OSError(found.error[0], found.error[1], str(path))
        return None if found.same and path.is_absolute() else self._same(path, limit) if found.same else found.data

    def has(self, path: Path) -> bool | None:
        """Say whether the first machine has such a file."""
        return None if _is_own(path) else self._has(self._folder / path)

    def _same(self, path: Path, limit: int) -> bytes:
        """Read a file that both machines see, whose path is relative to the first one's folder."""
        return read_regular(self._folder / path, limit)


def _is_own(path: Path) -> bool:
    """Say whether a path is a node's own, and never asked for: an address, of installed packages, or a model that was sent."""
    return (
        address_of(path) is not None or is_kept_here(path) or any(path.is_relative_to(folder) for folder in _INSTALLED)
    )
