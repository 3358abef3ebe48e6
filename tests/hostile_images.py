"""Images with their parts changed and their checksums made true again: chunks of PNG, segments of JPEG, tags of TIFF, elements of DICOM."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.tag import Tag

NUMBERS = (0, 1, 2, 7, 255, 256, 32_767, 65_535, 2**31 - 1, 2**31, 2**32 - 1)
PNG_KINDS = (
    b"IHDR",
    b"PLTE",
    b"tRNS",
    b"gAMA",
    b"iCCP",
    b"sBIT",
    b"eXIf",
    b"acTL",
    b"fcTL",
    b"zTXt",
    b"iTXt",
    b"IDAT",
    b"IEND",
    b"pHYs",
)
EXIF = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"
DICOM_TEXTS = (
    "", "x" * 70_000, "\x1b[2J", "\u202egnp", "MONOCHROME9", "PALETTE COLOR", "YBR_FULL_422", "nan", "1e400", "-0", "1\\2\\3\\4", "abc",
    "0", "SIGMOID", "LINEAR_EXACT", "1.2.840.10008.1.2.4.999", "../x", "99999999999999999999",
)  # fmt: skip
DICOM_TAGS = (
    0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280034, 0x00280100, 0x00280101, 0x00280102, 0x00280103,
    0x00280106, 0x00280107, 0x00280120, 0x00280121, 0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00281055, 0x00281056, 0x00281101,
    0x00281102, 0x00281103, 0x00281201, 0x00281202, 0x00281203, 0x00283000, 0x00283010, 0x00282110, 0x00282112, 0x00080005, 0x00080016,
    0x00080060, 0x00180015, 0x00185101, 0x00189318, 0x20500010, 0x20500020, 0x60000010, 0x60000011, 0x60000022, 0x60000050, 0x60000100,
    0x60000102, 0x60003000, 0x7FE00001, 0x7FE00008, 0x7FE00009, 0x7FE00010, 0x00020010, 0x52009229, 0x52009230,
)  # fmt: skip


def changed_image(data: bytes, rng: random.Random) -> tuple[bytes, str] | None:
    """Return an image with a part changed, and what was done; None of a kind that has no known parts."""
    for begin, change in _KINDS.items():
        if data.startswith(begin):
            return change(data, rng)
    return _dicom(data, rng) if data[128:132] == b"DICM" else None


def _png(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    parts: list[tuple[bytes, bytes]] = []
    at = 8
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        parts.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    i = rng.randrange(len(parts))
    kind, body = parts[i]
    match rng.randrange(8):
        case 0:
            parts[i], told = (rng.choice(PNG_KINDS), body), "renamed"
        case 1:
            told = "removed"
            del parts[i]
        case 2:
            parts[i:i], told = [parts[i]] * rng.choice((1, 1, 500)), "repeated"
        case 3:
            rng.shuffle(parts)
            told = "shuffled"
        case 4:
            header = bytearray(parts[0][1])
            at = rng.choice((0, 4, 8, 9, 10, 11, 12))
            header[at : at + (4 if at < 8 else 1)] = (
                struct.pack(">I", rng.choice(NUMBERS))
                if at < 8
                else bytes([rng.choice((0, 1, 2, 3, 4, 5, 6, 8, 16, 255))])
            )
            parts[0], kind, told = (parts[0][0], bytes(header)), b"IHDR", f"byte {at}"
        case 5:
            new, made = rng.choice(PNG_KINDS), rng.randbytes(rng.choice((0, 1, 2, 6, 26, 768, 5000)))
            if new in (b"zTXt", b"iCCP", b"iTXt"):
                made = b"a\0\0" + zlib.compress(b"\0" * rng.choice((10, 300_000_000)), 1)
            if new == b"eXIf":
                made = EXIF[6:] + struct.pack(">HHI", rng.choice((3, 6, 8, 9, 0, 65_535)), 0, rng.choice((0, 8, 2**31)))
            parts.insert(rng.randrange(1, len(parts) + 1), (new, made))
            kind, told = new, "added"
        case 6 if kind == b"IDAT":
            told = "pixels"
            raw = bytearray(zlib.decompressobj().decompress(body, 4_000_000) or b"x")
            raw[rng.randrange(len(raw))] = rng.choice((5, 9, 255))
            parts[i] = (kind, zlib.compress(bytes(raw) * rng.choice((1, 1, 2, 50))))
        case _:
            parts[i], told = (kind, _changed(body, rng)), "body"
    out = data[:8] + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part)) for name, part in parts
    )
    return out, f"{kind.decode('ascii', 'replace')} {told}"


def _jpeg(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    segments: list[tuple[int, bytes]] = []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        segments.append((data[at + 1], data[at + 4 : at + 2 + length]))
        at += 2 + length
    scan = data[at:]
    i = rng.randrange(len(segments))
    marker, body = segments[i]
    match rng.randrange(7):
        case 0:
            told = "removed"
            del segments[i]
        case 1:
            segments[i:i], told = [segments[i]] * rng.choice((1, 400)), "repeated"
        case 2:
            segments[i], told = (
                (rng.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xC4, 0xDB, 0xDD, 0xE1, 0xEE, 0xFE)), body),
                "renamed",
            )
        case 3:
            told = "scan"
            scan = _changed(scan, rng)
        case 4:
            segments.insert(
                0, (0xE1, EXIF + struct.pack(">HHI", rng.choice((3, 6, 8, 9, 65_535)), 0, rng.choice((0, 8))))
            )
            told = "orientation"
        case 5:
            segments.insert(0, (0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([rng.choice((0, 1, 2, 255))])))
            told = "colours"
        case _:
            segments[i], told = (marker, _changed(body, rng)), "body"
    out = b"".join(b"\xff" + bytes([m]) + struct.pack(">H", min(65_535, len(b) + 2)) + b for m, b in segments)
    return data[:2] + out + scan, f"{marker:02x} {told}"


def _tiff(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    sign = "<" if data[:2] == b"II" else ">"
    out = bytearray(data)
    (at,) = struct.unpack(sign + "I", data[4:8])
    (n,) = struct.unpack(sign + "H", data[at : at + 2])
    place = at + 2 + 12 * rng.randrange(n)
    (tag,) = struct.unpack(sign + "H", data[place : place + 2])
    match rng.randrange(5):
        case 0:
            told = "type"
            out[place + 2 : place + 4] = struct.pack(sign + "H", rng.choice((0, 1, 2, 3, 4, 5, 11, 12, 13, 16, 65_535)))
        case 1:
            told = "count"
            out[place + 4 : place + 8] = struct.pack(sign + "I", rng.choice((*NUMBERS, 3, 4)))
        case 2:
            told = "number"
            tags = (254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 284, 317, 320, 322, 338, 339, 347)
            out[place : place + 2] = struct.pack(sign + "H", rng.choice(tags))
        case 3:
            told = "next page"
            end = at + 2 + 12 * n
            out[end : end + 4] = struct.pack(sign + "I", rng.choice((at, 8, len(data), 2**31)))
        case _:
            told = "value"
            out[place + 8 : place + 12] = struct.pack(sign + "I", rng.choice(NUMBERS))
    return bytes(out), f"tag {tag} {told}"


def _dicom(data: bytes, rng: random.Random) -> tuple[bytes, str] | None:
    with pydicom.config.disable_value_validation():
        dataset = pydicom.dcmread(io.BytesIO(data))
        tag = Tag(rng.choice([rng.choice(DICOM_TAGS), *(e.tag for e in dataset if rng.random() < 0.3)]))
        told, holder = f"{tag}", dataset.file_meta if tag.group == 2 else dataset
        match rng.randrange(5):
            case 0:
                holder.pop(tag, None)
                told += " removed"
            case 1 if "PixelData" in dataset:
                dataset.PixelData = _changed(dataset.PixelData, rng)
                told = "pixels"
            case 2:
                _put(holder, tag, None, rng)
                told += " empty"
            case _:
                _put(holder, tag, rng.choice((*DICOM_TEXTS, *NUMBERS, 0.5, [1, 2, 3], [], b"\xff" * 9, Dataset)), rng)
                told += " hostile"
        buffer = io.BytesIO()
        try:
            pydicom.dcmwrite(buffer, dataset, enforce_file_format=False)
        except Exception:  # what pydicom cannot write in this way is no case of it
            return None
    return buffer.getvalue(), told


def _put(holder: Dataset, tag: Any, value: Any, rng: random.Random) -> None:
    """Set an element, of the kind of value that it must have or, at times, of another."""
    vr = pydicom.datadict.dictionary_VR(tag) if pydicom.datadict.dictionary_has_tag(tag) else "LO"
    vr = {"US or SS": "US", "OB or OW": "OW", "US or OW": "OW", "US or SS or OW": "US"}.get(vr, vr)
    if rng.random() < 0.2:
        vr = rng.choice(("LO", "US", "DS", "IS", "FD", "OB", "SQ", "UN", "CS"))
    if value is Dataset:
        vr, value = "SQ", [Dataset() for _ in range(rng.choice((0, 1, 300)))]
    numeric = vr in ("US", "SS", "UL", "SL", "FD", "FL")
    if numeric and not isinstance(value, (int, float, list)):
        value = rng.choice(NUMBERS) % 65_536
    elif vr == "US" and isinstance(value, (int, float)):
        value = int(value) % 65_536
    elif vr not in ("SQ", "OB", "OW", "UN") and not numeric and not isinstance(value, str):
        value = str(value)
    elif vr in ("OB", "OW", "UN") and not isinstance(value, bytes):
        value = rng.randbytes(rng.choice((0, 1, 7, 512)))
    try:
        holder.add_new(tag, vr, value)
    except Exception:  # a value that the library does not hold is no case of it
        return


def _changed(body: bytes, rng: random.Random) -> bytes:
    """Return bytes of a part with some changed, cut off, or many added."""
    found = bytearray(body or b"\0")
    match rng.randrange(5):
        case 0:
            return bytes(found[: rng.randrange(len(found))])
        case 1:
            return bytes(found) + rng.randbytes(rng.choice((1, 2, 999)))
        case 2:
            return b""
        case _:
            for _ in range(rng.choice((1, 1, 4))):
                found[rng.randrange(len(found))] = rng.choice((0, 1, 8, 127, 128, 255))
            return bytes(found)


_KINDS: Mapping[bytes, Callable[[bytes, random.Random], tuple[bytes, str]]] = {
    b"\x89PNG\r\n\x1a\n": _png,
    b"\xff\xd8": _jpeg,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
}
