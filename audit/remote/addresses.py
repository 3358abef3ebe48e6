"""Objects behind an address, such as s3://bucket/image.png: read over the network by fsspec, within the limits of local files.

An address travels as a path, s3:/bucket/image.png, so that names and folders are those of any other file.
"""

from __future__ import annotations

import errno
import posixpath
import re
from pathlib import Path
from typing import Any

_SCHEMES = ("s3", "gs", "gcs", "az", "abfs", "abfss", "http", "https")
"""What is read; never what fsspec knows beside these, such as chains of archives, or files of other machines."""
_PIECE = 1 << 24
_ADDRESS = re.compile(rf"(?P<scheme>{'|'.join(_SCHEMES)}):/(?P<slash>/?)(?P<rest>[^/].*)", re.I | re.S)


def is_address(text: str) -> bool:
    """Say whether a text is the address of an object that can be read."""
    found = _ADDRESS.fullmatch(text)
    return found is not None and bool(found["slash"])


def path_of(address: str) -> Path:
    """Return the path that stands for an address.

    Raises
    ------
    ValueError
        If no path can stand for it, or it holds a password or a chain; the words end a sentence.
    """
    if "@" in address.partition("://")[2].partition("/")[0]:
        raise ValueError("it holds a user or password; set them where its library looks for them, as in AWS_PROFILE")
    path = Path(address)
    if "::" in address or address_of(path) != address:
        raise ValueError("it has empty parts, . or .., or is a chain of addresses; write it in full")
    return path


def address_of(path: Path) -> str | None:
    """Return the address that a path stands for; None for a path of this machine."""
    found = _ADDRESS.fullmatch(path.as_posix())
    return None if found is None else f"{found['scheme']}://{posixpath.normpath(found['rest'])}"


def absolute(path: Path) -> Path:
    """Return a path of this machine in full, without links; one that stands for an address as it is."""
    return path.resolve() if address_of(path) is None else path


class ByAddress:
    """The way to objects behind an address (`audit.remote.elsewhere.Elsewhere`)."""

    def fetch(self, path: Path, limit: int) -> bytes | None:
        """Return the content of an object; None for a path of this machine.

        Raises
        ------
        OSError
            If it is not there, is larger, or cannot be reached: by what the library says.
        """
        address = address_of(path)
        if address is None:
            return None
        system, place = _system(address)
        # Whole, in one request: over HTTP as a stream, because not every server gives parts.
        how: dict[str, Any] = {"block_size": 0} if address.startswith("http") else {"cache_type": "none"}
        try:
            with system.open(place, "rb", **how) as file:
                data = _read(file, limit + 1)
        except Exception as error:  # of whichever library reads this kind of address
            if _says_gone(error):
                raise FileNotFoundError(errno.ENOENT, "no object is there", address) from error
            raise OSError(errno.EIO, _told(error), address) from error
        if len(data) > limit:
            raise OSError(errno.EFBIG, f"it is larger than the limit of {limit / 2**20:g} MiB", address)
        return data

    def has(self, path: Path) -> bool | None:
        """Say whether an object is there; one that cannot be asked about is, so that reading it tells why."""
        address = address_of(path)
        if address is None:
            return None
        system, place = _system(address)
        try:
            return bool(system.info(place)["type"] == "file")
        except Exception as error:  # as above
            return not _says_gone(error)


def _system(address: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs

        found: tuple[Any, str] = url_to_fs(address)
    except ImportError as error:
        raise OSError(
            errno.ENOPKG, "reading it needs a further package: pip install 'imageaudit[remote]'", address
        ) from error
    except Exception as error:  # a library that finds no credentials, or another setting, raises types of its own
        raise OSError(errno.EIO, _told(error), address) from error
    return found


def _read(file: Any, most: int) -> bytes:
    """Read at most so many bytes; a stream gives what has arrived, and nothing only at its end."""
    pieces, n = [], 0
    while n < most and (piece := file.read(min(most - n, _PIECE))):
        pieces.append(piece)
        n += len(piece)
    return b"".join(pieces)


def _says_gone(error: Exception) -> bool:
    """Say whether an error says that there is no such object; over HTTP the library says so too of a server that it cannot reach."""
    cause = error.__cause__
    unreachable = isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)
    return isinstance(error, FileNotFoundError) and not unreachable


def _told(error: Exception) -> str:
    """Return what a library says, in a line."""
    error = error.__cause__ if isinstance(error.__cause__, OSError) else error
    return " ".join(str(error)[:1000].split())[:200].rstrip(".") or type(error).__name__
