"""Look-up tables of DICOM: modality, values of interest, presentation and palette, whole or in segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.decoders import CONVERT
from audit.data.pixels.grey import Values
from audit.data.pixels.limits import RefusedError

_ALL = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """One table."""

    first: int
    """Value that the first entry belongs to; smaller values get it too."""
    bits: int
    """Bits of an entry, as declared."""
    entries: NDArray[np.int64]
    """What each value becomes; values beyond the last get the last."""

    @property
    def top(self) -> int:
        """The greatest value that an entry may have."""
        return (1 << self.bits) - 1

    def look_up(self, values: Values) -> Values:
        """Return the entries of values."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[index.astype(np.int64)], dtype=np.float64)


def read_table(item: Any, descriptor: str, data: str, *, signed: bool, little: bool, segmented: bool = False) -> Table:
    """Read a table by the names of its descriptor and its data.

    Parameters
    ----------
    item : Dataset
        The sequence item, or the data set itself for palettes.
    descriptor, data : str
        Keywords of the two elements.
    signed : bool
        Whether the values that are looked up may be negative: the first value is stored in their type.
    little : bool
        Byte order of the file.
    segmented : bool
        Whether the data are segments (PS3.3 C.7.9.2).

    Raises
    ------
    RefusedError
        If the table contradicts its descriptor.
    """
    try:
        n, first, bits = (int(v) for v in item[descriptor].value)
        values = item[data].value
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedError("is a DICOM file with a look-up table that cannot be read", CONVERT) from error
    n = n % _ALL or _ALL
    # The descriptor's type says nothing reliable of the sign; the pixels' own type does.
    first = (first & 0xFFFF) - (_ALL if signed and first & 0x8000 else 0)
    if not 8 <= bits <= 16:
        raise RefusedError(f"is a DICOM file with a look-up table of {bits} bits", CONVERT)
    if isinstance(values, bytes):
        wide = bits > 8 if segmented else len(values) >= 2 * n
        order = "<u2" if little else ">u2"
        values = np.frombuffer(values[: len(values) // 2 * 2] if wide else values, dtype=order if wide else np.uint8)
    entries = np.atleast_1d(np.asarray(values)).astype(np.int64) & 0xFFFF
    if segmented:
        entries = _expand(entries.tolist(), n)
    if len(entries) < n:
        raise RefusedError(
            f"is a DICOM file with a look-up table of {len(entries)} entries, but {n} are declared", CONVERT
        )
    entries = entries[:n]
    if bits <= 8 and entries.max() > 255:
        raise RefusedError("is a DICOM file with a look-up table whose entries exceed its bits", CONVERT)
    return Table(first=first, bits=bits, entries=np.minimum(entries, (1 << bits) - 1))


def _expand(words: list[int], most: int) -> NDArray[np.int64]:
    """Expand discrete and linear segments to at most `most` entries, so that no small table becomes a large one.

    Indirect segments are refused: the standard counts their offset in bytes, some writers and readers in entries.
    """
    found: list[int] = []
    at = 0
    try:
        while at + 1 < len(words) and len(found) < most:
            opcode, length = words[at], words[at + 1]
            if opcode == 0:
                found.extend(words[at + 2 : at + 2 + length])
                at += 2 + length
            elif opcode == 1 and found:
                found.extend(np.rint(np.linspace(found[-1], words[at + 2], length + 1)[1:]).astype(int).tolist())
                at += 3
            else:
                raise RefusedError("is a DICOM file with a palette with invalid segments", CONVERT)
    except IndexError as error:
        raise RefusedError("is a DICOM file with a palette with invalid segments", CONVERT) from error
    return np.asarray(found, dtype=np.int64)
