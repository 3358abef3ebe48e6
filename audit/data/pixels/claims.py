"""What a packed DICOM frame claims of itself, held against its header before a decoder allocates it."""

from __future__ import annotations

from dataclasses import dataclass

from audit.data.pixels import jpeg
from audit.data.pixels.decoders import BASELINE, CONVERT, EXTENDED, LOSSLESS
from audit.data.pixels.limits import RefusedError

WALKED = (BASELINE, EXTENDED, *LOSSLESS)
"""Transfer syntaxes whose JPEG markers show whether the picture is complete."""
_CODESTREAM = b"\xff\x4f\xff\x51"
_JPEGS = "1.2.840.10008.1.2.4."


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """What a frame says of itself."""

    header: jpeg.JpegHeader | None
    """Its markers, if it is a JPEG stream."""
    precision: int
    """Bits of a sample."""


def check_claims(stream: bytes, uid: str, wanted: tuple[int, int, int], allocated: int) -> Claims:
    """Refuse a frame that claims another size than its data set.

    Parameters
    ----------
    stream : bytes
        The packed frame.
    uid : str
        Its transfer syntax.
    wanted : tuple of int
        Columns, rows and samples of the data set.
    allocated : int
        Bits allocated for a sample.

    Raises
    ------
    RefusedError
        If it claims another size, more bits, or lacks a part.
    """
    if stream[:2] == b"\xff\xd8":
        header = jpeg.read_header(stream)
        if header.missing and (uid in WALKED or header.frame == jpeg.JPEG_LS):
            raise jpeg.cut()
        if header.precision > allocated:
            raise RefusedError(f"is a DICOM file whose JPEG has {header.precision} bits, more than allocated", CONVERT)
        found = Claims(header=header, precision=header.precision)
        claimed = (header.width, header.height, len(header.sampling))
    elif _CODESTREAM in stream[:1024]:
        at = stream.index(_CODESTREAM) + 8
        right, bottom, left, top = (int.from_bytes(stream[at + k : at + k + 4], "big") for k in (0, 4, 8, 12))
        claimed = (right - left, bottom - top, int.from_bytes(stream[at + 32 : at + 34], "big"))
        found = Claims(header=None, precision=(stream[at + 34] & 0x7F) + 1 if len(stream) > at + 34 else 0)
    elif uid.startswith(_JPEGS):
        raise RefusedError("is a DICOM file whose pixels are not compressed as its transfer syntax states", CONVERT)
    else:
        return Claims(header=None, precision=allocated)
    if claimed != wanted:
        raise RefusedError(
            f"is a DICOM file whose compressed pixels are {claimed[0]} x {claimed[1]} with {claimed[2]} samples, but its header "
            f"states {wanted[0]} x {wanted[1]} with {wanted[2]}",
            CONVERT,
        )
    return found
