"""One picture in many encodings, each of which must give its pixels back. Used by the tests of the reader."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

Grey = np.ndarray
GREY_ONLY = "MONOCHROME2"


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One file, and how far from the picture a reader may be."""

    name: str
    suffix: str
    data: bytes
    tolerance: int = 0


def full_range(image: Grey) -> Grey:
    """Return a picture that uses all of 0..255, so that scaling by its own range changes nothing."""
    wide = image.astype(float)
    return np.rint((wide - wide.min()) * 255 / np.ptp(wide)).astype(np.uint8)


def picture(height: int = 61, width: int = 83) -> Grey:
    """Return a smooth picture with an edge and odd sides."""
    y, x = np.mgrid[0:height, 0:width]
    return full_range(np.hypot(x - 30, y - 20) + 8 * np.sin(x / 5) + 40.0 * ((x > 60) & (y < 15)))


def png_file(header: tuple[int, ...], rows: bytes, *between: tuple[bytes, bytes], end: bool = True) -> bytes:
    """Write a PNG file of one IDAT chunk by hand; `header` is width, height, depth, colour type, interlace."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    width, height, depth, colour, interlace = header
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))]
    parts += [chunk(kind, data) for kind, data in between]
    parts += [chunk(b"IDAT", zlib.compress(rows)), *([chunk(b"IEND", b"")] if end else [])]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_rows(samples: Grey) -> bytes:
    """Return the unfiltered rows of (h, w) or (h, w, c), 8 or 16 bits."""
    wide = samples.dtype.itemsize == 2
    return b"".join(b"\0" + (row.astype(">u2") if wide else row).tobytes() for row in samples)


def dicom_dataset(
    pixels: Grey | None, *, stored: int = 0, syntax: str = ExplicitVRLittleEndian, **tags: Any
) -> Dataset:
    """Return a data set around pixels; tags come after, so that they may contradict it."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = meta.MediaStorageSOPClassUID, "1.2.3.4", "DX"
    if pixels is not None:
        data.Rows, data.Columns = pixels.shape[:2]
        data.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
        if pixels.ndim == 3:
            data.PlanarConfiguration = 0
        data.PhotometricInterpretation = GREY_ONLY if pixels.ndim == 2 else "RGB"
        data.PixelRepresentation = int(pixels.dtype.kind == "i")
        data.BitsAllocated = pixels.dtype.itemsize * 8
        data.BitsStored = stored or data.BitsAllocated
        data.HighBit = data.BitsStored - 1
        little = syntax != ExplicitVRBigEndian
        raw = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<" if little else ">"))).tobytes()
        data.PixelData = raw + b"\0" * (len(raw) % 2)
    for name, value in tags.items():
        setattr(data, name, value)
    return data


def dicom_file(pixels: Grey | None, *, syntax: str = ExplicitVRLittleEndian, **tags: Any) -> bytes:
    """Return a DICOM file."""
    return write_dataset(dicom_dataset(pixels, syntax=syntax, **tags))


def write_dataset(data: Dataset) -> bytes:
    """Return the file of a data set."""
    data["PixelData"].VR = "OW" if data.BitsAllocated > 8 else "OB"
    if data.file_meta.TransferSyntaxUID.is_encapsulated:
        data["PixelData"].is_undefined_length = True
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def packed(pixels: Grey, syntax: str, stream: bytes, **tags: Any) -> bytes:
    """Return a DICOM file that holds a compressed stream."""
    return dicom_file(pixels, syntax=syntax, PixelData=encapsulate([stream]), **tags)


def pillow(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return what Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff_file(samples: Grey, **options: Any) -> bytes:
    """Return what tifffile writes."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, **options)
    return buffer.getvalue()


def table_item(entries: Grey, first: int = 0, bits: int = 16) -> Dataset:
    """Return the item of a look-up table sequence."""
    item = Dataset()
    item.add_new(0x00283002, "US" if first >= 0 else "SS", [len(entries) % 65536, first, bits])
    item.add_new(0x00283006, "OW", entries.astype("<u2").tobytes())
    return item


def palette_tags(entries: Grey, first: int = 0, bits: int = 16) -> dict[str, Any]:
    """Return the tags of a grey palette."""
    raw = entries.astype("<u2" if bits == 16 else np.uint8).tobytes()
    raw += b"\0" * (len(raw) % 2)
    tags: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [len(entries) % 65536, first, bits]
        tags[f"{colour}PaletteColorLookupTableData"] = raw
    return tags


def without_preamble(data: bytes) -> bytes:
    """Return a file from its file meta information on."""
    return data[132:]


def bare(data: bytes) -> bytes:
    """Return a file from its data set on."""
    length = int.from_bytes(data[140:144], "little")
    return data[144 + length :]


def encodings(grey: Grey) -> Iterator[Encoded]:
    """Yield one picture, which uses all of 0..255, in every encoding that the reader has to take."""
    yield from _png_encodings(grey)
    yield from _other_encodings(grey)
    yield from _tiff_encodings(grey)
    yield from _dicom_grey(grey)
    yield from _dicom_tables(grey)
    yield from _dicom_colour(grey)
    yield from _dicom_packed(grey)


def _png_encodings(grey: Grey) -> Iterator[Encoded]:
    def one(name: str, data: bytes) -> Encoded:
        return Encoded(name=f"png {name}", suffix=".png", data=data)

    h, w = grey.shape
    image, wide = Image.fromarray(grey), grey.astype(np.uint16) * 257
    rgb, opaque = np.dstack([grey] * 3), np.full(grey.shape, 255, np.uint8)
    yield one("8", pillow(image, "PNG"))
    yield one("8 optimised", pillow(image, "PNG", optimize=True))
    yield one("palette", pillow(image.convert("P"), "PNG"))
    order = np.random.default_rng(0).permutation(256).astype(np.uint8)
    shuffled = Image.fromarray(np.argsort(order).astype(np.uint8)[grey]).convert("P")
    shuffled.putpalette(np.repeat(order, 3).tobytes())
    yield one("palette in no order", pillow(shuffled, "PNG"))
    yield one("rgb", pillow(Image.fromarray(rgb), "PNG"))
    yield one("rgba", pillow(Image.fromarray(np.dstack([rgb, opaque])), "PNG"))
    yield one("grey and alpha", png_file((w, h, 8, 4, 0), png_rows(np.dstack([grey, opaque]))))
    yield one("16", pillow(Image.fromarray(wide), "PNG"))
    yield one("12 in 16", pillow(Image.fromarray(grey.astype(np.uint16) * 16 + 3), "PNG"))
    yield one("16, black transparent", png_file((w, h, 16, 0, 0), png_rows(wide), (b"tRNS", b"\0\0")))
    yield one("8, black transparent", png_file((w, h, 8, 0, 0), png_rows(grey), (b"tRNS", b"\0\0")))
    yield one("16 grey and alpha", png_file((w, h, 16, 4, 0), png_rows(np.dstack([wide, np.full_like(wide, 65535)]))))
    low = grey.astype(np.uint16) * 16
    yield one("12 in 16 rgb", png_file((w, h, 16, 2, 0), png_rows(np.dstack([low] * 3))))
    yield one("16 rgba", png_file((w, h, 16, 6, 0), png_rows(np.dstack([wide] * 3 + [np.full_like(wide, 65535)]))))
    yield one(
        "16 rgb, black transparent", png_file((w, h, 16, 2, 0), png_rows(np.dstack([wide] * 3)), (b"tRNS", bytes(6)))
    )
    passes = []
    for x, y, across, down in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        part = grey[y::down, x::across]
        passes.append(png_rows(part) if part.size else b"")
    yield one("interlaced", png_file((w, h, 8, 0, 1), b"".join(passes)))
    exif = Image.Exif()
    exif[0x0112] = 6
    yield one("turned by EXIF", pillow(Image.fromarray(np.rot90(grey).copy()), "PNG", exif=exif))


def _other_encodings(grey: Grey) -> Iterator[Encoded]:
    image, rgb = Image.fromarray(grey), np.dstack([grey] * 3)
    yield Encoded(name="bmp 8", suffix=".bmp", data=pillow(image, "BMP"))
    yield Encoded(name="bmp rgb", suffix=".bmp", data=pillow(Image.fromarray(rgb), "BMP"))
    yield Encoded(name="webp lossless", suffix=".webp", data=pillow(Image.fromarray(rgb), "WEBP", lossless=True))
    for name, options in {
        "": {},
        " progressive": {"progressive": True},
        " restarts": {"restart_marker_blocks": 3},
    }.items():
        data = pillow(image, "JPEG", quality=98, **options)
        yield Encoded(name=f"jpeg{name}", suffix=".jpg", data=data, tolerance=4)
    yield Encoded(name="jpeg rgb", suffix=".jpg", data=pillow(Image.fromarray(rgb), "JPEG", quality=98), tolerance=4)
    yield Encoded(
        name="jpeg cmyk",
        suffix=".jpg",
        data=pillow(Image.fromarray(rgb).convert("CMYK"), "JPEG", quality=98),
        tolerance=6,
    )
    exif = Image.Exif()
    exif[0x0112] = 8
    turned = Image.fromarray(np.rot90(grey, -1).copy())
    yield Encoded(name="jpeg turned", suffix=".jpg", data=pillow(turned, "JPEG", quality=98, exif=exif), tolerance=4)


def _tiff_encodings(grey: Grey) -> Iterator[Encoded]:
    def one(name: str, data: bytes, tolerance: int = 0) -> Encoded:
        return Encoded(name=f"tiff {name}", suffix=".tif", data=data, tolerance=tolerance)

    wide = grey.astype(np.uint16) * 257
    image = Image.fromarray(grey)
    dark, white = {"photometric": "minisblack"}, {"photometric": "miniswhite"}
    yield one("8", tiff_file(grey, **dark))
    yield one("8 white is zero", tiff_file(255 - grey, **white))
    yield one("16", tiff_file(wide, **dark))
    yield one("16 white is zero", tiff_file(65535 - wide, **white))
    yield one("16 white is zero, deflate", tiff_file(65535 - wide, compression="zlib", predictor=True, **white))
    yield one("32 white is zero", tiff_file((2**32 - 1 - wide.astype(np.int64) * 65537).astype(np.uint32), **white))
    yield one("float white is zero", tiff_file(-wide.astype(np.float32), **white))
    yield one("signed 16", tiff_file((wide.astype(np.int32) - 32768).astype(np.int16), **dark))
    yield one("signed 8", tiff_file((grey.astype(np.int16) - 128).astype(np.int8), **dark))
    yield one("float", tiff_file(grey.astype(np.float32) / 7, **dark))
    yield one("double", tiff_file(grey.astype(np.float64) * 1e9 - 5, **dark))
    yield one("half", tiff_file(grey.astype(np.float16), **dark))
    yield one("big endian 16 in tiles", tiff_file(wide, byteorder=">", tile=(16, 16), **dark))
    yield one("BigTIFF", tiff_file(wide, bigtiff=True, **dark))
    yield one("rgb 16", tiff_file(np.dstack([wide] * 3), photometric="rgb"))
    yield one("rgb 12 in 16", tiff_file(np.dstack([wide // 16] * 3), photometric="rgb"), 1)
    yield one("rgb 16 in planes", tiff_file(np.stack([wide] * 3), photometric="rgb", planarconfig="separate"))
    opaque = np.full_like(wide, 65535)
    yield one(
        "grey and alpha 16",
        tiff_file(np.dstack([wide, opaque]), extrasamples=["unassalpha"], planarconfig="contig", **dark),
    )
    yield one("rgba 16", tiff_file(np.dstack([wide] * 3 + [opaque]), photometric="rgb", extrasamples=["unassalpha"]))
    for compression in ("tiff_lzw", "packbits", "tiff_deflate"):
        yield one(f"8 {compression}", pillow(image, "TIFF", compression=compression))
        yield one(f"16 {compression}", pillow(Image.fromarray(wide), "TIFF", compression=compression))
    yield one("jpeg", pillow(image, "TIFF", compression="jpeg", quality=98), 4)
    yield one("cmyk", pillow(Image.fromarray(np.dstack([grey] * 3)).convert("CMYK"), "TIFF"))
    for orientation, back in {3: np.rot90(grey, 2), 6: np.rot90(grey), 5: grey.T}.items():
        tags = [(274, "H", 1, orientation, True)]
        yield one(f"8 orientation {orientation}", tiff_file(back.copy(), extratags=tags, **dark))
        yield one(f"16 orientation {orientation}", tiff_file(back.astype(np.uint16) * 257, extratags=tags, **dark))
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(grey, photometric="minisblack")
        writer.write(grey[::4, ::4].copy(), photometric="minisblack", subfiletype=1)
    yield one("with a marked thumbnail", buffer.getvalue())


def _dicom(name: str, data: bytes, tolerance: int = 0) -> Encoded:
    return Encoded(name=f"dicom {name}", suffix=".dcm", data=data, tolerance=tolerance)


def _dicom_grey(grey: Grey) -> Iterator[Encoded]:
    wide, tall = grey.astype(np.uint16) * 16, grey.astype(np.uint16) * 257
    yield _dicom("8", dicom_file(grey))
    yield _dicom("12", dicom_file(wide, stored=12))
    yield _dicom("16", dicom_file(tall))
    yield _dicom("16 signed", dicom_file((tall.astype(np.int32) - 32768).astype(np.int16)))
    yield _dicom("12 signed", dicom_file((wide.astype(np.int16) - 2048) & 0x0FFF, stored=12, PixelRepresentation=1))
    yield _dicom("12 in the high bits", dicom_file(wide << 4, stored=12, HighBit=15))
    yield _dicom("8 inverted", dicom_file(255 - grey, PhotometricInterpretation="MONOCHROME1"))
    yield _dicom("12 inverted", dicom_file(4095 - wide, stored=12, PhotometricInterpretation="MONOCHROME1"))
    shape = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
    yield _dicom("12 inverted, said twice", dicom_file(4095 - wide, stored=12, **shape))
    yield _dicom("12 identity", dicom_file(wide, stored=12, PresentationLUTShape="IDENTITY"))
    yield _dicom("12 inverse shape", dicom_file(4095 - wide, stored=12, PresentationLUTShape="INVERSE"))
    yield _dicom("12 rescaled", dicom_file(wide, stored=12, RescaleSlope="0.5", RescaleIntercept="-1024"))
    yield _dicom("12 negative slope", dicom_file(4095 - wide, stored=12, RescaleSlope="-10", RescaleIntercept="3000"))
    yield _dicom("8 negative slope", dicom_file(255 - grey, RescaleSlope="-1", RescaleIntercept="255"))
    yield _dicom("8 full window", dicom_file(grey, WindowCenter=128, WindowWidth=256))
    window = {"WindowCenter": 127.5, "WindowWidth": 255, "VOILUTFunction": "LINEAR_EXACT"}
    yield _dicom("8 exact window", dicom_file(grey, **window))
    yield _dicom("12 window", dicom_file(wide + 15, stored=12, WindowCenter=2055.5, WindowWidth=4081))
    yield _dicom("12 windows", dicom_file(wide, stored=12, WindowCenter=[2040.5, 9], WindowWidth=[4081, 1]))
    two = {"WindowCenter": 1000.5, "WindowWidth": 2041, "RescaleSlope": 0.5, "RescaleIntercept": -20}
    yield _dicom("12 window after slope", dicom_file(wide, stored=12, **two))
    yield _dicom("12 inverted window", dicom_file(4095 - wide, stored=12, PhotometricInterpretation="MONOCHROME1",
                                                  WindowCenter=2055.5, WindowWidth=4081))  # fmt: skip
    floating = dicom_dataset(grey.astype(np.uint32), PixelData=None)
    del floating.PixelData, floating.BitsStored, floating.HighBit, floating.PixelRepresentation
    floating.FloatPixelData = (grey.astype(np.float32) / 3).tobytes()
    buffer = io.BytesIO()
    floating.save_as(buffer, enforce_file_format=True)
    yield _dicom("float", buffer.getvalue())
    for name, syntax in {"implicit": ImplicitVRLittleEndian, "big endian": ExplicitVRBigEndian}.items():
        yield _dicom(f"12 {name}", dicom_file(wide, stored=12, syntax=syntax))
        yield _dicom(f"8 {name}", dicom_file(grey, syntax=syntax))
        yield _dicom(f"12 {name} without meta", bare(dicom_file(wide, stored=12, syntax=syntax)))
    yield _dicom("12 deflated", dicom_file(wide, stored=12, syntax=DeflatedExplicitVRLittleEndian))
    yield _dicom("12 without preamble", without_preamble(dicom_file(wide, stored=12)))
    yield _dicom("12 without meta", bare(dicom_file(wide, stored=12)))
    yield _dicom("12 from its magic word on", dicom_file(wide, stored=12)[128:])
    group = Dataset()
    value, frame = Dataset(), Dataset()
    value.RescaleSlope, value.RescaleIntercept = 2, -100
    frame.WindowCenter, frame.WindowWidth = 3980.5, 8161
    group.PixelValueTransformationSequence, group.FrameVOILUTSequence = [value], [frame]
    yield _dicom("12 window of its functional group",
                 dicom_file(wide, stored=12, NumberOfFrames=1, PerFrameFunctionalGroupsSequence=[group]))  # fmt: skip
    plane = dicom_dataset(wide | ((grey > 200).astype(np.uint16) << 13), stored=12)
    for element, vr, given in ((0x10, "US", grey.shape[0]), (0x11, "US", grey.shape[1]), (0x40, "CS", "G"),
                               (0x50, "SS", [1, 1]), (0x100, "US", 16), (0x102, "US", 13)):  # fmt: skip
        plane.add_new(0x60000000 + element, vr, given)
    yield _dicom("12 with an overlay in bit 13", write_dataset(plane))


def _dicom_tables(grey: Grey) -> Iterator[Encoded]:
    wide = grey.astype(np.uint16) * 16
    order = np.random.default_rng(1).permutation(256)
    index = np.argsort(order)[grey]
    yield _dicom("palette", dicom_file(index.astype(np.uint8), **palette_tags(order * 257)))
    yield _dicom("palette of 8 bits", dicom_file(index.astype(np.uint8), **palette_tags(order, bits=8)))
    yield _dicom("palette of 8 bits in 16", dicom_file(index.astype(np.uint8), **palette_tags(order)))
    spread = np.repeat(np.arange(256), 4)
    yield _dicom("palette of 1,024 entries of 8 bits", dicom_file(grey.astype(np.uint16) * 4 + 2 + 7, stored=12,
                                                                  **palette_tags(spread, first=7, bits=8)))  # fmt: skip
    signed = dicom_dataset((index - 128).astype(np.int8), **palette_tags(order * 257))
    for colour in (0x1101, 0x1102, 0x1103):
        del signed[0x00280000 + colour]
        signed.add_new(0x00280000 + colour, "SS", [256, -128, 16])
    yield _dicom("palette of signed values", write_dataset(signed))
    segments = np.array([0, 1, 0, 1, 255, 65535], "<u2").tobytes()
    tags: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name in ("Red", "Green", "Blue"):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"Segmented{name}PaletteColorLookupTableData"] = segments
    yield _dicom("palette in segments", dicom_file(grey, **tags))
    ramp = np.arange(4096)
    yield _dicom(
        "modality table", dicom_file(4095 - wide, stored=12, ModalityLUTSequence=[table_item(ramp[::-1] * 16)])
    )
    bright = np.minimum(np.arange(4096) // 16, 255)
    yield _dicom(
        "table of values of interest", dicom_file(wide, stored=12, VOILUTSequence=[table_item(bright, bits=8)])
    )
    yield _dicom("table of values of interest, 16 bits",
                 dicom_file(wide + 5, stored=13, VOILUTSequence=[table_item(np.repeat(np.arange(256) * 257, 16), first=5)],
                            WindowCenter=1, WindowWidth=9))  # fmt: skip
    yield _dicom("table of signed values of interest",
                 dicom_file(wide.astype(np.int16) - 2048, stored=12, PixelData=(wide.astype(np.int16) - 2048).tobytes(),
                            VOILUTSequence=[table_item(np.repeat(np.arange(256) * 257, 16), first=-2048)]))  # fmt: skip
    yield _dicom("presentation table",
                 dicom_file(255 - grey, WindowCenter=128, WindowWidth=256,
                            PresentationLUTSequence=[table_item(np.arange(256)[::-1] * 257)]))  # fmt: skip


def _dicom_colour(grey: Grey) -> Iterator[Encoded]:
    rgb = np.dstack([grey] * 3)
    twelve = np.rint(grey * (4095 / 255)).astype(np.uint16)
    yield _dicom("rgb", dicom_file(rgb))
    yield _dicom(
        "rgb in planes", dicom_file(rgb, PlanarConfiguration=1, PixelData=_even(np.moveaxis(rgb, 2, 0).tobytes()))
    )
    yield _dicom("rgb 12", dicom_file(np.dstack([twelve] * 3), stored=12))
    yield _dicom("rgb 16", dicom_file(np.dstack([grey.astype(np.uint16) * 257] * 3)))
    ybr = np.dstack([grey, np.full_like(grey, 128), np.full_like(grey, 128)])
    yield _dicom("ybr", dicom_file(ybr, PhotometricInterpretation="YBR_FULL"))


def _even(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)


def _dicom_packed(grey: Grey) -> Iterator[Encoded]:
    wide = grey.astype(np.uint16) * 16
    for name, pixels, options in (("8", grey, {}), ("12", wide, {"stored": 12}), ("rgb", np.dstack([grey] * 3), {})):
        data = dicom_dataset(pixels, **options)
        data.compress(RLELossless)
        yield _dicom(f"RLE {name}", write_dataset(data))
    padded = 255 - grey
    data = dicom_dataset(padded, PhotometricInterpretation="MONOCHROME1")
    data.compress(RLELossless)
    yield _dicom("RLE inverted", write_dataset(data))
    yield _dicom("JPEG", packed(grey, JPEGBaseline8Bit, pillow(Image.fromarray(grey), "JPEG", quality=98)), 4)
    colour = pillow(Image.fromarray(np.dstack([grey] * 3)), "JPEG", quality=98, subsampling=0)
    three = {"PhotometricInterpretation": "YBR_FULL_422"}
    yield _dicom("JPEG colour", packed(np.dstack([grey] * 3), JPEGBaseline8Bit, colour, **three), 4)
    stream = pillow(Image.fromarray(grey), "JPEG2000", irreversible=False, no_jp2=True)
    yield _dicom("JPEG 2000", packed(grey, JPEG2000Lossless, stream))
    deep = pillow(Image.fromarray(wide * 16), "JPEG2000", irreversible=False, no_jp2=True)
    yield _dicom("JPEG 2000, 16 bits", packed(wide * 16, JPEG2000Lossless, deep))
    # Streams of more bits than the header states, and signed values in an unsigned stream, are common.
    loose = pillow(Image.fromarray(wide), "JPEG2000", irreversible=False, no_jp2=True)
    yield _dicom("JPEG 2000, 12 bits in a stream of 16", packed(wide, JPEG2000Lossless, loose, stored=12))
    below = ((wide.astype(np.int32) - 2048) & 0x1FFF).astype(np.uint16)
    unsigned = pillow(Image.fromarray(below), "JPEG2000", irreversible=False, no_jp2=True)
    yield _dicom(
        "JPEG 2000, signed in an unsigned stream",
        packed(below, JPEG2000Lossless, unsigned, stored=13, PixelRepresentation=1),
    )


def radiography_encodings() -> Iterator[tuple[str, Grey, Encoded]]:
    """Yield the compressions that need the extra `dicom`: transfer syntax, picture, and file."""
    from tests.image_streams import STREAMS

    grey = picture(37, 50)
    for name, (syntax, bits, tolerance, stream) in STREAMS.items():
        pixels = grey if bits == 8 else grey.astype(np.uint16) * 16
        yield syntax, grey, _dicom(name, packed(pixels, syntax, stream, stored=bits), tolerance)
