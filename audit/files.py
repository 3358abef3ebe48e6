"""Atomic writing: a file appears complete or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import tempfile
from contextlib import suppress
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Literal

from audit.errors import StoreError
from audit.remote.elsewhere import fetched, is_elsewhere

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

_SUFFIX = ".part"
_unfinished: set[str] = set()
"""Temporary files of this process that are being written."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` by way of a temporary file beside it, synced, then renamed.

    Raises
    ------
    StoreError
        If the folder cannot be written or the disk is full; nothing of the old file is lost.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        handle, temporary = _temporary(path)
        _unfinished.add(str(temporary))
        with os.fdopen(handle, "wb") as file:  # closed, and so unlocked, last
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                # mkstemp makes files private; what a run leaves behind is for others to read.
                temporary.chmod(0o644)
                if fcntl is None:  # nor does Windows rename what is open
                    file.close()
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            finally:
                _unfinished.discard(str(temporary))
    except OSError as error:
        raise StoreError(f"Cannot write {path}: {error.strerror or error}. Choose a writable folder.") from error


def remove_unfinished() -> None:
    """Remove the temporary files that this process is writing, before it ends without unwinding."""
    for name in tuple(_unfinished):
        with suppress(OSError):
            Path(name).unlink()


def _temporary(path: Path) -> tuple[int, Path]:
    """Make the temporary file of a file; it is locked for as long as its writer lives."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_SUFFIX)
        if fcntl is None:
            return handle, Path(name)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # another process took it for abandoned before it was locked


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files of a file that a kill left: nobody holds their lock."""
    if fcntl is None:
        return
    begin = f".{path.name}."
    with os.scandir(path.parent) as entries:
        left = [
            e.path
            for e in entries
            if e.name.startswith(begin) and e.name.endswith(_SUFFIX) and e.is_file(follow_symlinks=False)
        ]
    for name in left:
        with suppress(OSError):  # still being written, or just gone
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                Path(name).unlink()
            finally:
                os.close(handle)


def is_file(path: Path) -> bool:
    """Say whether a path that a file names is a regular file; one that no system takes, being too long, is none."""
    if (there := is_elsewhere(path)) is not None:
        return there
    try:
        return path.is_file()
    except OSError:
        return False


def why_unreadable(path: Path) -> str:
    """Return why a path is no regular file, as the end of a sentence that begins with it: a pipe does exist, but nobody reads it."""
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except OSError as error:
        return f"cannot be reached ({error.strerror})"
    except ValueError:
        return "is not a valid path"
    return "is a folder, not a file" if stat.S_ISDIR(kind) else "is a pipe or a device, not a regular file"


MAX_FILE_BYTES = 1024**3
"""Of a file that is read whole, where nothing smaller is asked: the weights of the largest network take some hundred megabytes."""
MAX_TEXT_BYTES = 64 * 1024**2
"""Of a list or another plain text; a million file names take some 30 megabytes."""


def read_regular(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """Read a file of a folder that somebody else may have packed.

    A pipe would be waited for for ever, and a device such as `/dev/zero` has no end: neither is opened.

    Parameters
    ----------
    path : Path
        The file; links are followed.
    limit : int
        Bytes that it may have.

    Raises
    ------
    OSError
        If it cannot be read, is something else than a regular file, or is larger.
    """
    if (data := fetched(path, limit)) is not None:
        return data
    with _open_here(path) as file:
        if os.fstat(file.fileno()).st_size > limit:
            raise OSError(errno.EFBIG, f"it is larger than the limit of {limit / 2**20:g} MiB", str(path))
        return file.read(limit)


def read_text_file(path: Path, *, errors: Literal["strict", "replace"] = "replace") -> str:
    """Read a plain text in UTF-8.

    Parameters
    ----------
    path : Path
        The file.
    errors : "strict" or "replace"
        What is done with bytes that are no text.

    Raises
    ------
    OSError
        As of `read_regular`.
    UnicodeDecodeError
        If it is no text, and `errors` is strict.
    """
    return read_regular(path, MAX_TEXT_BYTES).decode("utf-8-sig", errors)


def open_regular(path: Path) -> BufferedReader:
    """Open a file as `read_regular` does.

    Raises
    ------
    OSError
        If it cannot be opened, or is something else than a regular file.
    """
    data = fetched(path, MAX_FILE_BYTES)
    return _open_here(path) if data is None else BufferedReader(BytesIO(data))


def _open_here(path: Path) -> BufferedReader:
    kind = path.stat().st_mode
    if not stat.S_ISREG(kind):
        number = errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL
        raise OSError(number, os.strerror(number) if number == errno.EISDIR else "it is a pipe or a device", str(path))
    return path.open("rb")


_STANDS_FOR = (
    (
        re.compile(rb"version https://git-lfs"),
        "a Git LFS pointer, not the file itself; fetch the file with `git lfs pull`",
    ),
    (
        re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|head|body)\b", re.I),
        "a web page, not the file itself; download the file again",
    ),
    (
        re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?<Error>"),
        "the error message of a server, not the file itself; download the file again",
    ),
    (
        re.compile(rb"\0\x05\x16\x07"),
        "a resource fork that macOS writes (AppleDouble), not the file itself; leave out files whose names begin with ._",
    ),
)


def stands_for(head: bytes) -> str:
    """Return what stands in a file's place where the file itself was never copied, and what to do; empty if it seems to be itself.

    Parameters
    ----------
    head : bytes
        The beginning of the file.
    """
    return next((what for sign, what in _STANDS_FOR if sign.match(head[:1024])), "")


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written, before anything is computed for it; it is made where it is not there.

    Raises
    ------
    StoreError
        If no file can be made in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(
            f"Cannot write to the folder {folder}: {error.strerror or error}. Choose a writable folder."
        ) from error


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a regular file, read in pieces."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
