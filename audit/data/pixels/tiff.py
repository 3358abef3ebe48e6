"""TIFF: which page is the image, whether its strips are complete, and the depths that Pillow does not distinguish."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.data.pixels import jpeg, opencv
from audit.data.pixels.limits import RefusedError, check_size, told

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_THUMBNAIL, _MASK = 1, 4
_MAX_PAGES = 64
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_PHOTOMETRIC = {0: "white is zero", 1: "black is zero", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr"}
_FLOAT, _SIGNED, _UNSIGNED, _UNDEFINED = 3, 2, 1, 4
_COMPRESSION = {1: "none", 5: "LZW", 7: "JPEG", 8: "deflate", 32773: "PackBits", 32946: "deflate"}
# What tifffile unpacks without further packages.
PLAIN = {1, 8, 32773, 32946}
_JPEG = 7
_TABLES = 347
_ORIENTATION = 274


@dataclass(frozen=True, kw_only=True, slots=True)
class TiffPage:
    """The one page of a TIFF file that is its image."""

    index: int
    """Number of the page in the file, for Pillow."""
    n_pages: int
    """Pages in the file, thumbnails counted in."""
    width: int
    """Columns, as stored."""
    height: int
    """Rows, as stored."""
    depth: int
    """Bits of a sample."""
    samples: int
    """Samples of a pixel."""
    sample_format: int
    """1 unsigned, 2 signed, 3 floating point."""
    photometric: int
    """0 white is zero, 1 black is zero, 2 RGB, 3 palette, ..."""
    compression: int
    """The tag's number."""
    orientation: int
    """1 to 8; 1 is as stored."""
    alpha: int | None
    """None: no alpha; 0: a channel of unknown meaning; 1: colours are multiplied by it; 2: they are not."""
    page: Any = field(repr=False)
    """The page in tifffile's terms."""

    @property
    def deep(self) -> bool:
        """Whether its values are not unsigned of at most 8 bits."""
        return self.depth > 8 or self.sample_format != _UNSIGNED

    @property
    def name(self) -> str:
        """The photometric interpretation in words."""
        return _PHOTOMETRIC.get(self.photometric, f"photometric interpretation {self.photometric}")

    @property
    def packed(self) -> str:
        """The compression in words."""
        return _COMPRESSION.get(self.compression, f"TIFF compression {self.compression}")


def open_page(data: bytes, max_pixels: int) -> TiffPage:
    """Find the page that is the image, and check that its data are in the file.

    Raises
    ------
    RefusedError
        If there are several pages that are no thumbnails, the image is too large, or its data are missing.
    """
    import tifffile  # with scikit-image's; a tenth of a second that most cohorts need not pay

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        pages: list[Any] = []
        for page in tifffile.TiffFile(io.BytesIO(data)).pages:
            pages.append(page)
            if len(pages) > _MAX_PAGES:
                break
        full = [i for i, page in enumerate(pages) if not int(page.subfiletype) & (_THUMBNAIL | _MASK)]
    except Exception as error:  # tifffile meets damage with a dozen kinds of exception
        raise RefusedError(f"is damaged: {told(error)}", "Copy the file again") from error
    if len(full) != 1:
        raise RefusedError(
            f"is a TIFF of {len(full) or len(pages)} pages; expected one image per file",
            "Save the page with the image as a separate file",
        )
    try:
        found = _describe(full[0], len(pages), pages[full[0]])
    except Exception as error:  # tags of the wrong type or count
        raise RefusedError(f"is damaged: {told(error)}", "Copy the file again") from error
    check_size(found.width, found.height, max_pixels)
    _check_data(data, found)
    return found


def _describe(index: int, n_pages: int, page: Any) -> TiffPage:
    bits = page.bitspersample
    formats = page.tags.get(339)
    values = formats.value if formats is not None else _UNSIGNED
    kinds = {
        _UNSIGNED if int(v) == _UNDEFINED else int(v) for v in (values if isinstance(values, tuple) else (values,))
    }
    extra = [int(v) for v in page.extrasamples]
    orientation = page.tags.get(_ORIENTATION)
    if isinstance(bits, tuple) or len(kinds) > 1:
        raise ValueError("its samples have different depths")
    return TiffPage(
        index=index,
        n_pages=n_pages,
        width=int(page.imagewidth),
        height=int(page.imagelength) * int(page.imagedepth),
        depth=int(bits),
        samples=int(page.samplesperpixel),
        sample_format=kinds.pop(),
        photometric=int(page.photometric),
        compression=int(page.compression),
        orientation=int(orientation.value) if orientation is not None else 1,
        alpha=extra[0] if extra else None,
        page=page,
    )


def _check_data(data: bytes, found: TiffPage) -> None:
    """Refuse a page whose strips or tiles are not in the file: decoders leave them black."""
    page = found.page
    offsets, counts = tuple(page.dataoffsets), tuple(page.databytecounts)
    expected = int(np.prod([int(n) for n in page.chunked], dtype=np.int64))
    there = len(offsets) == len(counts) == expected and all(
        0 < offset < len(data) and 0 < count <= len(data) - offset
        for offset, count in zip(offsets, counts, strict=True)
    )
    if there and found.compression == 1:
        there = sum(counts) >= found.width * found.height * found.samples * found.depth // 8
    if not there:
        raise RefusedError("is damaged: its TIFF data are incomplete", "Copy the file again")
    if found.compression == _JPEG:
        _check_jpeg(data, found, offsets, counts)


def _check_jpeg(data: bytes, found: TiffPage, offsets: tuple[int, ...], counts: tuple[int, ...]) -> None:
    """Probe every strip's own JPEG stream, whose tables stand in a tag."""
    from PIL import Image

    def decode(stream: bytes) -> NDArray[np.uint8]:
        with Image.open(io.BytesIO(stream), formats=["JPEG"]) as image:
            return np.asarray(image)

    tables = found.page.tags.get(_TABLES)
    prefix = bytes(tables.value)[:-2] if tables is not None else b"\xff\xd8"
    for offset, count in zip(offsets, counts, strict=True):
        stream = prefix + data[offset + 2 : offset + count]
        header = jpeg.read_header(stream)
        check_size(header.width, header.height, max(1, found.width * found.height * 4 + 1_000_000))
        if header.missing:
            raise jpeg.cut()
        jpeg.check_whole(stream, header, decode, decode(stream))


def decode_deep(data: bytes, found: TiffPage) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Decode a page of wide or signed values as they are stored.

    Returns
    -------
    tuple
        Values, (h, w) or (h, w, 3), and alpha (h, w) or None.

    Raises
    ------
    RefusedError
        If its kind is not known, or its data are damaged.
    """
    colours = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3}.get(found.photometric)
    kind = {_UNSIGNED: "u", _SIGNED: "i", _FLOAT: "f"}.get(found.sample_format)
    if colours is None or kind is None or found.samples - colours not in (0, 1) or found.depth not in (8, 16, 32, 64):
        raise RefusedError(
            f"is a TIFF of {found.name}, {found.samples} samples of {found.depth} bits, which is not read",
            "Convert it to 8-bit or 16-bit grey",
        )
    if found.compression in PLAIN:
        try:
            values = np.asarray(found.page.asarray())
        except Exception as error:  # tifffile and zlib meet damage with a dozen kinds of exception
            raise RefusedError(f"is damaged: {told(error)}", "Copy the file again") from error
        values = np.moveaxis(values, 0, -1) if values.ndim == 3 and found.page.axes.startswith("S") else values
    else:
        decoded = opencv.decode(data) if found.index == 0 else None
        values = np.zeros(0) if decoded is None else np.asarray(decoded)
        values = values[:, :, [2, 1, 0, *range(3, found.samples)]] if values.ndim == 3 and colours == 3 else values
        if found.orientation != 1:
            values = np.zeros(0)  # OpenCV turns some kinds by themselves and others not
    values = values.squeeze() if values.ndim > 2 and found.samples == 1 else values
    shape = (found.height, found.width) if found.samples == 1 else (found.height, found.width, found.samples)
    if values.shape != shape or values.dtype.kind != kind or values.dtype.itemsize * 8 != found.depth:
        raise RefusedError(
            f"is a TIFF of {found.name}, {found.samples} samples of {found.depth} bits, compressed as {found.packed}, which is not "
            "read",
            "Save it without compression, or as 16-bit grey PNG",
        )
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if found.samples == colours:
        return values, None
    return (values[:, :, 0] if colours == 1 else values[:, :, :3]), values[:, :, -1]
