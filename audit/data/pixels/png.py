"""PNG: whether all rows are there, and the kinds of 16 bits that Pillow would halve."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.data.pixels import opencv
from audit.data.pixels.limits import RefusedError

_SIGNATURE = 8
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_NAMES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey and alpha", 6: "RGB and alpha"}
# x and y of the first pixel and the steps of the seven passes of an interlaced file (PNG 8.2).
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_PIECE = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class PngHeader:
    """What the header chunk of a PNG file says."""

    width: int
    """Columns."""
    height: int
    """Rows."""
    depth: int
    """Bits of a sample."""
    colour: int
    """Colour type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha."""
    interlaced: bool
    """Whether the rows come in seven passes."""

    @property
    def name(self) -> str:
        """The colour type in words."""
        return _NAMES.get(self.colour, f"colour type {self.colour}")

    @property
    def channels(self) -> int:
        """Samples of a pixel."""
        return _CHANNELS.get(self.colour, 1)

    def n_bytes(self) -> int:
        """Return how many bytes the rows and their filter marks have, unpacked."""
        bits = self.depth * self.channels
        passes = _PASSES if self.interlaced else ((0, 0, 1, 1),)
        total = 0
        for x, y, across, down in passes:
            columns, rows = -(-(self.width - x) // across), -(-(self.height - y) // down)
            if columns > 0 and rows > 0:
                total += rows * (1 + -(-columns * bits // 8))
        return total


def read_header(data: bytes) -> PngHeader:
    """Return the header of a PNG file; Pillow has checked that it is there."""
    at = data.index(b"IHDR", _SIGNATURE) + 4
    return PngHeader(
        width=int.from_bytes(data[at : at + 4], "big"),
        height=int.from_bytes(data[at + 4 : at + 8], "big"),
        depth=data[at + 8],
        colour=data[at + 9],
        interlaced=bool(data[at + 12]),
    )


def _cut() -> RefusedError:
    return RefusedError("is damaged: its PNG data are incomplete", "Copy the file again")


def check_whole(data: bytes, header: PngHeader) -> None:
    """Refuse a file whose rows are not all there: Pillow accepts any number of them, and no end chunk.

    Raises
    ------
    RefusedError
        If rows or the end chunk are missing.
    """
    expected, found, at = header.n_bytes(), 0, _SIGNATURE
    inflate = zlib.decompressobj()
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if kind == b"IEND":
            break
        if at + 12 + length > len(data):
            raise _cut()
        if kind == b"IDAT" and found < expected:
            piece = data[at + 8 : at + 8 + length]
            while piece and found < expected:
                try:
                    found += len(inflate.decompress(piece, min(_PIECE, expected - found)))
                except zlib.error:
                    raise _cut() from None
                piece = inflate.unconsumed_tail
        at += 12 + length
    else:
        raise _cut()
    if found < expected:
        raise _cut()


def decode_deep(data: bytes, header: PngHeader) -> tuple[NDArray[np.uint16], NDArray[np.uint16] | None]:
    """Decode 16 bits of RGB, or of anything with alpha, which Pillow would cut to 8.

    Returns
    -------
    tuple
        Colour (h, w, 3) in RGB order, and alpha (h, w) or None.

    Raises
    ------
    RefusedError
        If OpenCV cannot decode it.
    """
    found = opencv.decode(data)
    if found is None or found.dtype != np.uint16 or found.ndim != 3 or found.shape[:2] != (header.height, header.width):
        raise RefusedError(f"is a PNG of {header.name}, 16 bits, that cannot be decoded", "Convert it to 8-bit grey")
    pixels: NDArray[np.uint16] = found
    return pixels[:, :, 2::-1], pixels[:, :, 3] if pixels.shape[2] == 4 else None
