"""JPEG streams: what their headers claim, and whether the picture is complete.

Decoders fill a scan that ends early with grey and go on. So the markers are walked, which tells scans and restart intervals
that are missing; and of the last scan either libjpeg-turbo is asked for its warnings, or, for the processes that it does not
decode here, the end is probed: bytes put behind a whole scan change nothing, bytes put behind one that was cut are decoded in
place of the pixels that are missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from audit.data.pixels.limits import RefusedError, told

_MAX_SCANS = 100
"""A progressive file has about ten; thousands of them are how a small file keeps a decoder busy for hours."""
# No byte is 0xFF, so that no decoder takes part of it for a marker. What is missing reads as zeros, so one begins with ones.
_PROBES = (bytes((37 * k + 11) % 251 for k in range(96)), bytes((0xFE, 0xDB, 0xAA, 0x6D) * 24))
_WARNING = "Corrupt JPEG data"
_EARLY = ("premature end", "Premature end")
_PADDING = "extraneous bytes"
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7}
_NAMES = {
    0xC0: "JPEG baseline",
    0xC1: "JPEG extended",
    0xC2: "JPEG progressive",
    0xC3: "JPEG lossless",
    0xF7: "JPEG-LS",
}
JPEG_LS = 0xF7
"""Marker of its frame."""
_LIBJPEG = (0xC0, 0xC1, 0xC2)
_BLOCK = 8
_COEFFICIENTS = 64


@dataclass(kw_only=True, slots=True)
class JpegHeader:
    """What the markers of one JPEG stream say."""

    frame: int = 0
    """Marker of the frame: 0xC0 baseline, 0xC2 progressive, 0xC3 lossless, 0xF7 JPEG-LS."""
    precision: int = 0
    """Bits of a sample."""
    width: int = 0
    """Columns."""
    height: int = 0
    """Rows."""
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Component -> its horizontal and vertical sampling factor."""
    adobe: bool = False
    """Whether Adobe's marker is there, which says how four colours are stored."""
    missing: bool = False
    """Whether a scan, a restart interval, coefficients or the end marker are missing."""
    n_scans: int = 0
    """Scans."""
    end: int = 0
    """Where the end marker stands; where the stream ends, if it has none."""

    @property
    def name(self) -> str:
        """The process in words."""
        return _NAMES.get(self.frame, f"JPEG process {self.frame - 0xC0}")


def cut() -> RefusedError:
    """Return the error for a stream that ends early."""
    return RefusedError("is damaged: its JPEG data are incomplete", "Copy the file again")


def read_header(data: bytes) -> JpegHeader:
    """Walk the markers of a JPEG stream up to its end marker.

    Raises
    ------
    RefusedError
        If there is no frame header, or a marker's length makes no sense.
    """
    found = JpegHeader()
    position, interval = 2, 0
    scans: list[tuple[int, ...]] = []
    sent: dict[int, list[int]] = {}
    while True:
        match = _MARKER.search(data, position)
        if match is None:
            found.missing, found.end = True, len(data)
            break
        marker = data[match.start() + 1]
        if marker == 0xD9:
            found.end = match.start()
            break
        position = match.end()
        if marker in (0x01, 0xD8):
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        body = data[position + 2 : position + length]
        if length < 2 or len(body) < length - 2:
            raise cut()
        position += length
        if marker in _FRAMES and not found.frame:
            _frame(found, marker, body)
            if marker == JPEG_LS:
                # Its scans are stuffed in another way, so that they cannot be walked. Its decoders are strict by themselves, but for
                # a stream without an end marker they take seconds; stuffed data hold no such bytes.
                found.end = len(data)
                found.missing = b"\xff\xd9" not in data[position:]
                return found
        elif marker == 0xDD:
            interval = int.from_bytes(body[:2], "big")
        elif marker == 0xEE and body.startswith(b"Adobe"):
            found.adobe = True
        elif marker == 0xDA:
            components = tuple(body[1 + 2 * k] for k in range(body[0])) if body and len(body) >= 4 + 2 * body[0] else ()
            following = _MARKER.search(data, position)
            stop = following.start() if following else len(data)
            restarts = len(_RESTART.findall(data, position, stop))
            scans.append(components)
            found.n_scans += 1
            if len(scans) > _MAX_SCANS:
                raise RefusedError(f"has more than {_MAX_SCANS} JPEG scans", "Save it again as baseline JPEG or PNG")
            found.missing |= restarts < _expected_restarts(found, components, interval)
            for component in components:
                levels = sent.setdefault(component, [-1] * _COEFFICIENTS)
                first, last, low = body[-3], body[-2], body[-1] & 15
                levels[first : last + 1] = [low] * len(levels[first : last + 1])
            position = stop
    if not found.frame:
        raise RefusedError("is damaged: it has no JPEG frame header", "Copy the file again")
    found.missing |= not set(found.sampling) <= {c for components in scans for c in components}
    if found.frame == 0xC2:
        found.missing |= any(level != 0 for levels in sent.values() for level in levels)
    return found


def _frame(found: JpegHeader, marker: int, body: bytes) -> None:
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        raise cut()
    found.frame, found.precision = marker, body[0]
    found.height, found.width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    for k in range(body[5]):
        name, factors = body[6 + 3 * k], body[7 + 3 * k]
        found.sampling[name] = (factors >> 4 or 1, factors & 15 or 1)


def _expected_restarts(found: JpegHeader, components: tuple[int, ...], interval: int) -> int:
    """Return how many restart markers a scan must have."""
    if not interval or not found.sampling or not set(components) <= set(found.sampling):
        return 0
    across = max(h for h, _ in found.sampling.values())
    down = max(v for _, v in found.sampling.values())
    block = 1 if found.frame == 0xC3 else _BLOCK
    if len(components) == 1:
        # A scan of one component counts that component's own blocks, not the interleaved units.
        h, v = found.sampling[components[0]]
        units = _parts(_parts(found.width * h, across), block) * _parts(_parts(found.height * v, down), block)
    else:
        units = _parts(found.width, across * block) * _parts(found.height, down * block)
    return max(0, _parts(units, interval) - 1)


def _parts(whole: int, size: int) -> int:
    return -(-whole // size)


def check_whole(data: bytes, header: JpegHeader, decode: Callable[[bytes], Any], decoded: Any) -> None:
    """Refuse a stream whose picture is not all there.

    Parameters
    ----------
    data : bytes
        The stream.
    header : JpegHeader
        Its markers.
    decode : callable
        Decodes a stream to an array.
    decoded : array
        What `data` decodes to.

    Raises
    ------
    RefusedError
        If a scan ends early.
    """
    if header.missing:
        raise cut()
    if header.frame > 0xC3:
        # Arithmetic coding leaves trailing zeros out, which a probe would replace; of JPEG-LS see `read_header`.
        return
    if header.frame in _LIBJPEG and header.precision == 8 and _judged_by_warnings(data, header):
        return
    # Before fill bytes too, of which the last would otherwise make a marker of the probe's first.
    end = len(data[: header.end].rstrip(b"\xff"))
    if not all(np.array_equal(decoded, decode(data[:end] + probe + data[end:])) for probe in _PROBES):
        raise cut()


def _judged_by_warnings(data: bytes, header: JpegHeader) -> bool:
    """Say whether libjpeg-turbo has seen the whole stream without a warning that matters.

    It stops at its first warning. One that is about padding says all of a stream with one scan, where the end of the scan comes
    before; otherwise the stream is not judged.

    Raises
    ------
    RefusedError
        If it warns that data are missing or corrupt.
    """
    try:
        import simplejpeg
    except ImportError:  # a platform without its wheel: the probes judge
        return False
    try:
        simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError as error:
        warning = str(error)
        if any(words in warning for words in _EARLY):
            raise cut() from error
        if _PADDING in warning:
            return header.n_scans == 1
        if warning.startswith(_WARNING):
            raise RefusedError(f"is damaged: {told(error)}", "Copy the file again") from error
        return False
    return True
