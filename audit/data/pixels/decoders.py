"""Which decoder unpacks which DICOM transfer syntax, and which of them are installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit.data.pixels.limits import RefusedError
from audit.data.strings import shown_string

EXTENDED = "1.2.840.10008.1.2.4.51"
LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
BASELINE = "1.2.840.10008.1.2.4.50"
KEEPS_ALL_BITS = (*LOSSLESS, "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201")
"""Lossless, so that bits which no grey level uses come through too, if the stream has that many."""
CONVERT = "Convert it to an uncompressed DICOM file or to PNG with your viewer"
_INSTALL = f"Run `pip install 'imageaudit[dicom]'`, or {CONVERT[0].lower()}{CONVERT[1:]}"

# By preference: those first that refuse a stream which ends early. pylibjpeg's JPEG-LS pads it, and is left out.
_PLUGINS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "1.2.840.10008.1.2.5": ("RLE", ("pydicom",)),
    BASELINE: ("JPEG baseline", ("pillow", "pylibjpeg", "gdcm")),
    EXTENDED: ("JPEG extended, 12 bits", ("pylibjpeg",)),
    LOSSLESS[0]: ("JPEG lossless", ("pylibjpeg", "gdcm")),
    LOSSLESS[1]: ("JPEG lossless, first-order prediction", ("pylibjpeg", "gdcm")),
    "1.2.840.10008.1.2.4.80": ("JPEG-LS lossless", ("pyjpegls", "gdcm")),
    "1.2.840.10008.1.2.4.81": ("JPEG-LS near-lossless", ("pyjpegls", "gdcm")),
    "1.2.840.10008.1.2.4.90": ("JPEG 2000 lossless", ("pylibjpeg", "pillow", "gdcm")),
    "1.2.840.10008.1.2.4.91": ("JPEG 2000", ("pylibjpeg", "pillow", "gdcm")),
    "1.2.840.10008.1.2.4.201": ("HTJ2K lossless", ("pylibjpeg",)),
    "1.2.840.10008.1.2.4.202": ("HTJ2K lossless RPCL", ("pylibjpeg",)),
    "1.2.840.10008.1.2.4.203": ("HTJ2K", ("pylibjpeg",)),
}


def decoder_of(uid: str) -> Any:
    """Return pydicom's decoder of a transfer syntax.

    Raises
    ------
    RefusedError
        If pydicom has none.
    """
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    try:
        return get_decoder(UID(uid))
    except (NotImplementedError, ValueError) as error:
        raise RefusedError(
            f"is a DICOM file of transfer syntax {shown_string(uid, 64)!r}, which is not read",
            CONVERT,
        ) from error


def plugin_for(uid: str, *, eight_bits: bool) -> str | None:
    """Return the plug-in that decodes a transfer syntax; None where pixels are not packed.

    Raises
    ------
    RefusedError
        If no decoder is installed.
    """
    decoder = decoder_of(uid)
    if decoder.is_native:
        return None
    known = _PLUGINS.get(uid)
    if known is None:
        raise RefusedError(
            f"is a DICOM file of transfer syntax {shown_string(uid, 64)!r}, which is not read",
            CONVERT,
        )
    name, wanted = known
    if uid == EXTENDED and eight_bits:
        wanted = ("pillow", *wanted)
    for plugin in wanted:
        if plugin in decoder.available_plugins:
            return plugin
    raise RefusedError(f"is compressed as {name} ({uid}), for which no decoder is installed", _INSTALL)


def compression_name(uid: str) -> str:
    """Return a transfer syntax in words."""
    from pydicom.uid import UID

    return _PLUGINS[uid][0] if uid in _PLUGINS else str(UID(uid).name)


def installed() -> tuple[dict[str, str], list[str]]:
    """Return the packed transfer syntaxes that can be read, with the plug-in that does, and those that cannot."""
    there, missing = {}, []
    for uid, (name, _) in _PLUGINS.items():
        try:
            there[name] = plugin_for(uid, eight_bits=False) or ""
        except RefusedError:
            missing.append(name)
    return there, missing
