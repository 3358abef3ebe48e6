"""Standard output and error that cannot change an exit code: a reader that left, a full disk, a locale without the letters.

A verdict is the exit code, so nothing that happens to a stream may replace it. What a stream cannot take is dropped, and said once
where somebody can still read it; letters that its encoding lacks are written in others.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from typing import TextIO, cast

_ASCII = {
    "−": "-", "–": "-", "—": "-", "×": "x", "±": "+/-", "≤": "<=", "≥": ">=", "…": "...", "·": "*", "•": "*",
    "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "●": "*", "○": "o", "◆": "*", "→": "->", "μ": "u", "µ": "u", " ": " ",
}  # fmt: skip
"""What our own sentences and tables hold beyond ASCII; rich draws its bars and boxes in ASCII by itself."""
_HANDLER = "audit-spelled-out"


class Sink(io.RawIOBase):
    """Writes to a file descriptor until that fails once, then to nowhere.

    Parameters
    ----------
    descriptor : int
        Where to; it is not closed.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.lost: OSError | None = None
        """Why what was written since went nowhere; None while everything arrived."""

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Say whether a person may be looking."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Say yes, for ever."""
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write what the descriptor takes; all of it, in name, once it took no more."""
        while self.lost is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.lost = error
        return len(data)


def guard_streams() -> None:
    """Put guarded streams in the place of standard output and error, unless somebody else has replaced these already.

    A descriptor that is closed is filled: otherwise the next file that is opened would take its number, and be written into.
    """
    codecs.register_error(_HANDLER, _spell_out)
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    sys.stdout = _guarded(sys.stdout, sys.__stdout__, 1)
    sys.stderr = _guarded(sys.stderr, sys.__stderr__, 2)


def lost_output() -> OSError | None:
    """Return why standard output did not take everything; None where it did, or where its reader had read enough."""
    sys.stdout.flush()
    sink = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    lost = sink.lost if isinstance(sink, Sink) else None
    return None if lost is None or lost.errno == errno.EPIPE else lost


def flush_streams(*, complained: bool) -> None:
    """Write out what is waiting; say on standard error if standard output was lost to anything but its reader's will.

    Parameters
    ----------
    complained : bool
        The command has said already why it failed, and nothing is to follow.
    """
    lost = lost_output()
    if lost is not None and not complained:
        sys.stderr.write(
            f"audit: Standard output could not be written ({lost.strerror}), so it is not complete. The exit code is still valid.\n"
        )
    sys.stderr.flush()


def _guarded(stream: TextIO | None, original: TextIO | None, descriptor: int) -> TextIO:
    if stream is not None and stream is not original:  # a test, or whoever embeds us, reads it in another way
        return stream
    encoding = "utf-8" if stream is None else stream.encoding
    sink = Sink(os.open(os.devnull, os.O_WRONLY) if stream is None else descriptor)
    by_line = descriptor == 2 or sink.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(cast("io.RawIOBase", sink)), encoding=encoding, errors=_HANDLER, line_buffering=by_line
    )


def _spell_out(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode what an encoding lacks: our own signs by ASCII's, others, and bytes of file names that are no text, by number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    spelled = "".join(_ASCII.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in lacking)
    return spelled, error.end
