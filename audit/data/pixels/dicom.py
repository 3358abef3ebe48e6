"""DICOM files to data sets and stored values: with or without preamble, and never larger than they may be."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.data.pixels import jpeg
from audit.data.pixels.claims import WALKED, Claims, check_claims
from audit.data.pixels.decoders import CONVERT, KEEPS_ALL_BITS, decoder_of, plugin_for
from audit.data.pixels.grey import bands
from audit.data.pixels.limits import MAX_BYTES, RefusedError, check_size, told
from audit.data.strings import shown_string

_MAGIC_AT = 128
_MAGIC = b"DICM"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_FIRST_GROUPS = (0x0002, 0x0008)
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_ALLOCATED = (1, 8, 16, 32, 64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """The stored values of one DICOM image."""

    values: NDArray[Any]
    """(h, w) or, of three colours, (h, w, 3); only the bits that are stored, sign applied."""
    raw: NDArray[Any] | None
    """The same with all bits that are allocated, where packing has kept them; overlays may be among them."""
    photometric: str
    """Photometric interpretation after decoding."""
    bits: int
    """Bits stored; of floating point 32 or 64."""
    plugin: str
    """Decoder in words."""


def is_dicom(data: bytes) -> bool:
    """Say whether bytes are a DICOM file: by its magic word, or by a first element as every data set begins with."""
    if data[_MAGIC_AT : _MAGIC_AT + 4] == _MAGIC or data[:4] == _MAGIC:
        return True
    explicit = len(data) > 8 and data[4:6].isalpha() and data[4:6].isupper()
    if int.from_bytes(data[0:2], "little") in _FIRST_GROUPS and int.from_bytes(data[2:4], "little") <= 0x0100:
        return explicit or 0 < int.from_bytes(data[4:8], "little") < min(1024, len(data))
    return explicit and int.from_bytes(data[0:2], "big") in _FIRST_GROUPS and int.from_bytes(data[2:4], "big") <= 0x0100


def open_dataset(data: bytes, *, pixels: bool) -> Any:
    """Parse a DICOM file.

    Parameters
    ----------
    data : bytes
        The file.
    pixels : bool
        Whether to read the elements from the pixel data on.

    Raises
    ------
    RefusedError
        If it cannot be parsed, or unpacks to more than a file may have.
    """
    # Imported here: most cohorts hold no DICOM, and pydicom costs a third of a second.
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if data[:4] == _MAGIC:
        data = bytes(_MAGIC_AT) + data
    uid, start = _transfer_syntax(data)
    if uid == _DEFLATED:
        _check_deflated(data[start:])
    try:
        dataset: Any = pydicom.dcmread(io.BytesIO(data), force=True, stop_before_pixels=not pixels)
        if not getattr(dataset, "file_meta", None):
            dataset.file_meta = FileMetaDataset()
        if not dataset.file_meta.get("TransferSyntaxUID"):
            implicit, little = dataset.original_encoding
            plain = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            dataset.file_meta.TransferSyntaxUID = UID(ImplicitVRLittleEndian if implicit else plain)
        if "Rows" not in dataset and not any(name in dataset for name in _PIXELS):
            raise RefusedError("is a DICOM file without an image", "Remove it from the manifest")
    except RefusedError:
        raise
    except Exception as error:  # pydicom raises a dozen kinds; each means the same to the user
        raise RefusedError(f"is a DICOM file that cannot be decoded: {told(error)}", CONVERT) from error
    return dataset


def _transfer_syntax(data: bytes) -> tuple[str, int]:
    """Read group 2 by hand, which is never packed; return its transfer syntax and where it ends."""
    at = _MAGIC_AT + 4 if data[_MAGIC_AT : _MAGIC_AT + 4] == _MAGIC else 0
    uid = ""
    while data[at : at + 2] == b"\x02\x00":
        if data[at + 4 : at + 6] in _LONG:
            begin, length = at + 12, int.from_bytes(data[at + 8 : at + 12], "little")
        else:
            begin, length = at + 8, int.from_bytes(data[at + 6 : at + 8], "little")
        if data[at + 2 : at + 4] == b"\x10\x00":
            uid = data[begin : begin + min(length, 64)].decode("ascii", "replace").strip("\0 ")
        at = begin + length
    return uid, at


def _check_deflated(packed: bytes) -> None:
    inflate, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    try:
        while packed:
            total += len(inflate.decompress(packed, 1 << 24))
            packed = inflate.unconsumed_tail
            if total > MAX_BYTES:
                raise RefusedError(f"unpacks to more than {MAX_BYTES:,} bytes", "Scale it down first")
    except zlib.error as error:
        raise RefusedError(f"is a DICOM file that cannot be decoded: {told(error)}", CONVERT) from error


def number(dataset: Any, keyword: str, default: int | None = None) -> int:
    """Return an integer element.

    Raises
    ------
    RefusedError
        If it is missing without a default, or is not one integer.
    """
    value = dataset.get(keyword)
    if value is None or value == "":
        if default is not None:
            return default
        raise RefusedError(f"is a DICOM file without {keyword}", CONVERT)
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise RefusedError(f"is a DICOM file whose {keyword} is not one number", CONVERT) from error


def check_header(dataset: Any, max_pixels: int) -> None:
    """Refuse by the header what would be too large, is several images, or contradicts itself.

    Raises
    ------
    RefusedError
        Before anything is decoded.
    """
    if not any(name in dataset for name in _PIXELS):
        raise RefusedError("is a DICOM file without pixel data", "Remove it from the manifest")
    frames = number(dataset, "NumberOfFrames", 1) or 1
    if frames != 1:
        raise RefusedError(
            f"is a DICOM file with {frames} frames; expected one image per file", "Save one frame as a separate file"
        )
    check_size(number(dataset, "Columns"), number(dataset, "Rows"), max_pixels)
    samples, allocated = number(dataset, "SamplesPerPixel", 1), number(dataset, "BitsAllocated")
    if samples not in (1, 3) or allocated not in _ALLOCATED:
        raise RefusedError(f"is a DICOM file of {samples} samples of {allocated} bits, which is not read", CONVERT)
    stored = number(dataset, "BitsStored", allocated)
    high = number(dataset, "HighBit", stored - 1)
    if "PixelData" in dataset and not (1 <= stored <= high + 1 <= allocated):
        raise RefusedError(
            f"is a DICOM file of {stored} bits up to bit {high} in {allocated}, which is contradictory", CONVERT
        )


def stored_values(dataset: Any, max_pixels: int) -> Stored:
    """Decode the pixels of a data set as they are stored.

    Raises
    ------
    RefusedError
        If they are packed as nothing here unpacks, damaged, or not what the header says.
    """
    check_header(dataset, max_pixels)
    uid = str(dataset.file_meta.TransferSyntaxUID)
    photometric = str(dataset.get("PhotometricInterpretation", "")).strip()
    allocated = number(dataset, "BitsAllocated")
    bits = number(dataset, "BitsStored", allocated)
    plugin = plugin_for(uid, eight_bits=bits <= 8)
    claims = Claims(header=None, precision=allocated)
    stream = b""
    if plugin:
        stream = _frame(dataset)
        wanted = (number(dataset, "Columns"), number(dataset, "Rows"), number(dataset, "SamplesPerPixel", 1))
        claims = check_claims(stream, uid, wanted, allocated)
    decoder = decoder_of(uid)
    # Colours are converted to RGB by what the stream really holds: many a file says RGB and packs YCbCr.
    options: dict[str, Any] = {"raw": number(dataset, "SamplesPerPixel", 1) == 1, "index": 0}
    if plugin:
        options["decoding_plugin"] = plugin
    else:
        options["view_only"] = True  # no copy: nothing here writes into what was read
    try:
        decoded, properties = decoder.as_array(dataset, correct_unused_bits=False, **options)
        if claims.header is not None and uid in WALKED:
            jpeg.check_whole(stream, claims.header, lambda s: _decode_again(dataset, s, decoder, options), decoded)
    except RefusedError:
        raise
    except Exception as error:  # pydicom and its decoders raise a dozen kinds; each means the same to the user
        raise RefusedError(f"is a DICOM file that cannot be decoded: {told(error)}", CONVERT) from error
    values = np.asarray(decoded)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    samples = number(dataset, "SamplesPerPixel", 1)
    shape = (number(dataset, "Rows"), number(dataset, "Columns"), 3)[: 2 if samples == 1 else 3]
    if values.shape != shape:
        raise RefusedError("is a DICOM file whose pixels do not have the size that its header states", CONVERT)
    packed = plugin is not None and plugin != "pydicom"
    raw = None
    if values.dtype.kind in "iu" and allocated > 1:
        raw = values if not packed or (uid in KEEPS_ALL_BITS and claims.precision == allocated) else None
        shift = 0 if packed else number(dataset, "HighBit", bits - 1) + 1 - bits
        kept = _only_stored(values, bits, shift, signed=values.dtype.kind == "i")
        if _carries_on(values >> values.dtype.type(shift) if shift else values, kept):
            raise RefusedError(
                f"is a DICOM file whose pixel values exceed the {bits} bits that BitsStored states",
                "Correct BitsStored and HighBit, or export it again",
            )
        values = kept
    elif values.dtype.kind == "f":
        bits = values.dtype.itemsize * 8
    return Stored(
        values=values,
        raw=raw,
        photometric=str(properties.get("photometric_interpretation", photometric)).strip(),
        bits=bits,
        plugin="pydicom" if plugin in (None, "pydicom") else f"pydicom with {plugin}",
    )


def _only_stored(values: NDArray[Any], bits: int, shift: int, *, signed: bool) -> NDArray[Any]:
    """Cut everything but `bits` above `shift` away, and carry the sign on."""
    width = values.dtype.itemsize * 8
    if bits == width:
        return values
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    kept = np.empty(values.shape, dtype=values.dtype)
    for band in bands(values.shape):
        # To the top and back again: on a signed type the way back repeats the sign.
        top = values[band].view(unsigned) << unsigned.type(width - bits - shift)
        kept[band] = (top.view(values.dtype) if signed else top) >> values.dtype.type(width - bits)
    return kept


def _carries_on(whole: NDArray[Any], kept: NDArray[Any]) -> bool:
    """Say whether the bits above those stored belong to the grey levels, so that what is kept jumps where an image goes on smoothly.

    Overlays and other marks in these bits do the opposite: with them the values jump, and without them they do not.
    """
    if whole is kept or whole.ndim != 2:
        return False
    with_them = without = 0
    for band in bands(whole.shape):
        if np.array_equal(whole[band], kept[band]):
            continue
        # In floating point: differences of neither type fit into it.
        one, other = np.diff(whole[band].astype(np.float64)), np.diff(kept[band].astype(np.float64))
        changes = one != other
        smooth = np.abs(one[changes]) < np.abs(other[changes])
        with_them, without = with_them + int(smooth.sum()), without + int((~smooth).sum())
    return with_them > without


def _frame(dataset: Any) -> bytes:
    from pydicom.encaps import get_frame

    try:
        return bytes(get_frame(dataset.PixelData, 0, number_of_frames=1))
    except Exception as error:  # pydicom raises a dozen kinds; each means the same to the user
        raise RefusedError(f"is a DICOM file that cannot be decoded: {told(error)}", CONVERT) from error


def _decode_again(dataset: Any, stream: bytes, decoder: Any, options: dict[str, Any]) -> NDArray[Any]:
    """Decode another stream with the same header."""
    import copy

    from pydicom.encaps import encapsulate

    probe = copy.copy(dataset)
    probe.PixelData = encapsulate([stream + b"\0" * (len(stream) % 2)])
    decoded, _ = decoder.as_array(probe, correct_unused_bits=False, **options)
    return np.asarray(decoded)


def word(dataset: Any, keyword: str) -> str:
    """Return a code string in capitals, or nothing; of several values the first."""
    value = dataset.get(keyword)
    first = value[0] if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else value
    return shown_string(str(first or "").strip().upper(), 64)
