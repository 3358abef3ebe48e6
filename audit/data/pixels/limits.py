"""How large a file may be, and how a file is read that may be anything at all."""

from __future__ import annotations

import errno
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audit.data.strings import shown_string
from audit.errors import ImageError
from audit.remote.addresses import address_of
from audit.remote.elsewhere import fetched

MAX_PIXELS = 70_000_000
"""Pixels that an image may have: a mammogram of 25 micrometres has 7,080 x 9,480, and nothing in radiography has more."""
MAX_BYTES = 500_000_000
"""Bytes that a file may have: the largest allowed image in three colours of 16 bits fits, uncompressed."""
_SHOWN_PATH = 300


class RefusedError(ImageError):
    """A file that is not read, before its path is known to the message.

    Parameters
    ----------
    reason : str
        Predicate of "Image PATH ...".
    remedy : str
        What to do about it, a sentence without its full stop.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


def read_image_bytes(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises
    ------
    ImageError
        If there is no such file, or it is not a regular file, cannot be opened, is empty, or exceeds the limit.
    """
    try:
        if (data := fetched(path, MAX_BYTES)) is not None:
            return _not_empty(data, path)
        # Without O_NONBLOCK, opening a named pipe waits for its writer for ever.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
                raise ImageError(f"Image {named(path)} cannot be opened: it is {what}. Give the path of an image file.")
            if status.st_size > MAX_BYTES:
                raise ImageError(
                    f"Image {named(path)} has {status.st_size:,} bytes; at most {MAX_BYTES:,} are allowed. Scale it down or compress it."
                )
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        if address_of(path) is not None:
            raise ImageError(
                f"Image {named(path)} is not there: no object has this name, or it was deleted since it was listed. Upload it again, or "
                "remove it from the manifest."
            ) from error
        raise ImageError(f"Image {named(path)} does not exist. Check the manifest's path column.") from error
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.EFBIG:
            raise ImageError(
                f"Image {named(path)} has more than the {MAX_BYTES:,} bytes that are allowed. Scale it down or compress it."
            ) from error
        reason = getattr(error, "strerror", None) or "its name is not valid"
        raise ImageError(f"Image {named(path)} cannot be opened: {reason}. Give the path of an image file.") from error
    return _not_empty(data, path)


def _not_empty(data: bytes, path: Path) -> bytes:
    if not data:
        raise ImageError(f"Image {named(path)} is empty (0 bytes). Copy the file again.")
    return data


@contextmanager
def image_errors(path: Path) -> Iterator[None]:
    """Name the path in a refusal, and keep the libraries' own warnings of bad files to themselves."""
    try:
        with _quiet, _room.kept():
            yield
    except RefusedError as error:
        raise ImageError(f"Image {named(path)} {error.reason}. {error.remedy}.") from error


class _Quiet:
    """Silences warnings while any thread decodes: the filters belong to all threads, so the last one puts them back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._n == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._n += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._n -= 1
            if self._n == 0:
                self._filters.__exit__(None, None, None)


class _Room:
    """Lets as many pixels be decoded at once, over all threads, as one image may have."""

    def __init__(self, pixels: int) -> None:
        self._free = pixels
        self._changed = threading.Condition()
        self._mine = threading.local()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Give back at the end what this thread took."""
        outer = getattr(self._mine, "taken", None)
        self._mine.taken = 0
        try:
            yield
        finally:
            with self._changed:
                self._free += self._mine.taken
                self._changed.notify_all()
            self._mine.taken = outer

    def take(self, pixels: int) -> None:
        """Wait for room. Whoever holds some, or asks outside of `kept`, does not wait: two that did could wait for each other."""
        if getattr(self._mine, "taken", None) != 0:
            return
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        self._mine.taken = pixels


_quiet = _Quiet()
_room = _Room(MAX_PIXELS)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image by its header, before anything of its size is allocated; wait while other threads decode large ones.

    Raises
    ------
    RefusedError
        If it has no pixel, or more than allowed.
    """
    if width < 1 or height < 1:
        raise RefusedError(f"has {width} x {height} pixels", "Export it again")
    if width * height > max_pixels:
        raise RefusedError(f"has {width} x {height} pixels; at most {max_pixels:,} are allowed", "Scale it down first")
    _room.take(min(width * height, MAX_PIXELS))


def named(path: Path) -> str:
    """Return a path as messages show it: its end, where the name is, and nothing that a terminal would obey."""
    address = address_of(path)
    text = str(path) if address is None else address.partition("?")[0]  # what follows may be a key
    return shown_string(text if len(text) <= _SHOWN_PATH else "…" + text[-_SHOWN_PATH:], _SHOWN_PATH + 1)


def told(error: BaseException) -> str:
    """Return a foreign error as the end of a sentence, in one bounded line: libraries quote the file's own bytes."""
    return shown_string(" ".join(str(error)[:1000].split()), 160).rstrip(".") or type(error).__name__
