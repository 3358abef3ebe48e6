"""Overlay planes of a DICOM file: in elements of their own, or in bits of the pixels that no grey level uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.limits import told
from audit.data.strings import shown_string

_GROUPS = range(0x6000, 0x6100, 2)
_DATA, _BIT, _ALLOCATED, _ORIGIN, _LABEL, _ROWS, _COLUMNS = 0x3000, 0x0102, 0x0100, 0x0050, 0x1500, 0x0010, 0x0011

OWN_DATA = "its own data"
WITHIN_PIXELS = "unused bits of the pixels"
NOWHERE = "not in the file"
WITHOUT_DATA = "An overlay is declared, but its bits are not in the file; its text was not searched."
UNREADABLE_BITS = (
    "An overlay lies in unused bits of compressed pixels, where it cannot be read; its text was not searched."
)
DAMAGED = "An overlay plane is damaged; the text finder rejects this image."
UNDECLARED = "Bits of the pixels that no grey level uses are set, and no overlay declares them; they were ignored."


@dataclass(frozen=True, kw_only=True, slots=True)
class Plane:
    """One overlay plane."""

    group: int
    """Its group, 0x6000 and on."""
    label: str
    """What the file calls it."""
    where: str
    """In words, where its bits are."""
    top: int
    """Row of its first pixel in the image, from 0."""
    left: int
    """Column of its first pixel in the image, from 0."""
    bits: NDArray[np.uint8]
    """(h, w), not 0 where it prints."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Planes:
    """All overlay planes of a file, and what could not be read."""

    planes: tuple[Plane, ...]
    """Those that were read, by group."""
    notes: tuple[str, ...]
    """What a reader should know of the others."""
    damaged: tuple[str, ...] = ()
    """Group and fault of each plane whose data cannot be read, as a sentence goes on."""


def overlay_planes(dataset: Any, raw: NDArray[Any] | None) -> Planes:
    """Read every overlay plane (PS3.3 C.9.2).

    Parameters
    ----------
    dataset : Dataset
        The file.
    raw : array, optional
        Its pixels (h, w) with all bits that are allocated; None where they were packed, so that no such bit is there.
    """
    found, notes, damaged = [], [], []
    for group, where in places(dataset).items():
        bit = _number(dataset, group, _BIT)
        if where == OWN_DATA:
            try:
                found.append(_own(dataset, group))
            except Exception as error:  # pydicom raises a dozen kinds; each means the same to the user
                damaged.append(f"{group:04x} cannot be read: {told(error)}")
                notes.append(DAMAGED)
        elif where == NOWHERE:
            notes.append(WITHOUT_DATA)
        elif raw is None or raw.ndim != 2 or bit >= raw.dtype.itemsize * 8:
            notes.append(UNREADABLE_BITS)
        else:
            found.append(_embedded(dataset, group, bit, raw))
    if raw is not None and not found and not notes and _unused_bits_set(dataset, raw):
        notes.append(UNDECLARED)
    return Planes(planes=tuple(found), notes=tuple(dict.fromkeys(notes)), damaged=tuple(damaged))


def places(dataset: Any) -> dict[int, str]:
    """Return the groups that declare an overlay, and where each one's bits are; pixels need not have been read."""
    found = {}
    for group in _GROUPS:
        if (group, _DATA) in dataset:
            found[group] = OWN_DATA
        elif (group, _BIT) in dataset or (group, _ROWS) in dataset:
            bit = _number(dataset, group, _BIT)
            # A plane of its own has one bit allocated, at position 0; one in the pixels has as many as these.
            alone = bit == 0 and _number(dataset, group, _ALLOCATED) <= 1
            found[group] = NOWHERE if alone or _is_grey(dataset, bit) else WITHIN_PIXELS
    return found


def _number(dataset: Any, group: int, element: int) -> int:
    return int(dataset[group, element].value or 0) if (group, element) in dataset else 0


def _own(dataset: Any, group: int) -> Plane:
    rows, columns = (int(dataset[group, e].value) for e in (_ROWS, _COLUMNS))
    # Before pydicom allocates what the header claims.
    if rows < 1 or columns < 1 or rows * columns > 8 * len(dataset[group, _DATA].value):
        raise ValueError(f"it has fewer bits than its {columns} x {rows} pixels")
    bits = np.asarray(dataset.overlay_array(group), dtype=np.uint8)
    top, left = (int(v) - 1 for v in dataset[group, _ORIGIN].value)
    plane = bits[0] if bits.ndim == 3 else bits
    return Plane(group=group, label=_label(dataset, group), where=OWN_DATA, top=top, left=left, bits=plane)


def _embedded(dataset: Any, group: int, bit: int, raw: NDArray[Any]) -> Plane:
    unsigned = raw.view(f"u{raw.dtype.itemsize}")
    bits = (unsigned >> unsigned.dtype.type(bit) & unsigned.dtype.type(1)).astype(np.uint8)
    return Plane(group=group, label=_label(dataset, group), where=f"bit {bit} of the pixels", top=0, left=0, bits=bits)


def _label(dataset: Any, group: int) -> str:
    return shown_string(str(dataset[group, _LABEL].value or "")).strip() if (group, _LABEL) in dataset else ""


def _stored_bits(dataset: Any) -> tuple[int, int]:
    allocated = int(dataset.BitsAllocated)
    stored = int(dataset.get("BitsStored") or allocated)
    return int(dataset.get("HighBit") if dataset.get("HighBit") is not None else stored - 1) + 1 - stored, stored


def _is_grey(dataset: Any, bit: int) -> bool:
    first, stored = _stored_bits(dataset)
    return first <= bit < first + stored


def _unused_bits_set(dataset: Any, raw: NDArray[Any]) -> bool:
    """Return whether bits other than the stored ones are set; above signed values they may repeat the sign."""
    if raw.dtype.kind == "i":
        return False
    first, stored = _stored_bits(dataset)
    width = raw.dtype.itemsize * 8
    unused = ((1 << width) - 1) ^ (((1 << stored) - 1) << first)
    return bool(unused) and bool(np.any(raw & raw.dtype.type(unused)))
