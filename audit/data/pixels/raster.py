"""PNG, JPEG, TIFF, BMP and WebP to grey, or to colours where they are asked for. Ordinary 8-bit files go through Pillow alone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, __version__

from audit.data.pixels import jpeg, opencv, png, tiff
from audit.data.pixels.facts import ImageFacts, SeenImage
from audit.data.pixels.levels import EXTRA, from_pillow, from_values
from audit.data.pixels.limits import RefusedError, check_size, told
from audit.files import stands_for

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
_ALLOWED = "PNG, JPEG, TIFF, BMP, WebP or DICOM"
_ORIENTATION = 0x0112
_BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I": 32, "F": 32}
_PILLOW = f"Pillow {__version__}"

THUMBNAILS = "The file also contains smaller copies of the image; they were ignored."


def look_raster(data: bytes, max_pixels: int, *, colour: bool = False) -> SeenImage:
    """Decode a file that is no DICOM, to grey (h, w) or to colours (h, w, 3).

    Raises
    ------
    RefusedError
        If it is not an image of a known format, damaged, too large, or of a kind that is not understood.
    """
    if what := stands_for(data):
        reason, _, remedy = what.partition("; ")
        raise RefusedError(f"is {reason}", remedy[0].upper() + remedy[1:])
    with _refusing(max_pixels):
        if data[:4] in tiff.MAGIC:
            return _tiff(data, max_pixels, colour)
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            check_size(image.width, image.height, max_pixels)
            return _PARTS[image.format or ""](data, image, colour)


@contextmanager
def _refusing(max_pixels: int) -> Iterator[None]:
    """Turn whatever the libraries raise into a refusal."""
    try:
        yield
    except RefusedError:
        raise
    except UnidentifiedImageError:
        raise RefusedError(
            f"is not an image (expected {_ALLOWED}; its content is none of these)",
            "Remove it from the manifest or convert it",
        ) from None
    except Image.DecompressionBombError:
        raise RefusedError(f"has too many pixels; at most {max_pixels:,} are allowed", "Scale it down first") from None
    except Exception as error:  # Pillow's plug-ins meet damage with any kind of exception, struct.error among them
        raise RefusedError(f"is damaged: {told(error)}", "Copy the file again") from error


def _facts(data: bytes, image: Image.Image) -> ImageFacts:
    kind = {"MPO": "JPEG", "WEBP": "WebP"}.get(image.format or "", image.format or "")
    facts = ImageFacts(
        format=kind,
        depth=_BITS.get(image.mode, 8),
        samples=len(image.getbands()),
        photometric_interpretation={"L": "grey", "1": "grey", "P": "palette"}.get(image.mode, image.mode),
        compression={"BMP": "none", "WebP": "WebP"}.get(kind, kind),
        decoder=_PILLOW,
    )
    if kind == "PNG":
        header = png.read_header(data)
        return replace(
            facts,
            depth=header.depth,
            samples=header.channels,
            photometric_interpretation=header.name,
            compression="deflate",
        )
    if kind == "JPEG":
        tables = getattr(image, "quantization", None) or {}
        step = float(np.mean(tables[min(tables)])) if tables else None
        return replace(facts, compression=jpeg.read_header(data).name, quantisation=step)
    if kind == "BMP":
        return replace(facts, compression="RLE" if image.info.get("compression") in (1, 2) else "none")
    return facts


def _png(data: bytes, image: Image.Image, colour: bool) -> SeenImage:
    header = png.read_header(data)
    facts = _facts(data, image)
    _one_frame(image)
    orientation = _orientation(image)
    png.check_whole(data, header)
    image.load()
    if header.depth < 16:
        return from_pillow(image, facts, orientation, colour)
    if header.colour == 0:
        values: NDArray[Any] = np.array(image)
        clear = image.info.get("transparency")
        alpha = None if clear is None else np.where(values == clear, np.uint16(0), np.uint16(65535))
    else:
        values, alpha = png.decode_deep(data, header)
        facts = replace(facts, decoder=opencv.NAME)
    return from_values(values, alpha, facts, orientation, colour)


def _jpeg(data: bytes, image: Image.Image, colour: bool) -> SeenImage:
    header = jpeg.read_header(data)
    facts = replace(_facts(data, image), frames=int(getattr(image, "n_frames", 1)))
    if image.mode == "CMYK" and not header.adobe:
        raise RefusedError(
            "is a JPEG of four colours without Adobe's marker, so it is unknown whether it is a negative",
            "Convert it to 8-bit grey",
        )
    if header.missing:
        raise jpeg.cut()
    orientation = _orientation(image)
    # A multi-picture file begins with its main picture; the others are previews of it.
    first = _decode_jpeg(data)
    jpeg.check_whole(data, header, lambda stream: np.asarray(_decode_jpeg(stream)), np.asarray(first))
    seen = from_pillow(first, facts, orientation, colour)
    return replace(seen, notes=(*seen.notes, THUMBNAILS)) if facts.frames > 1 else seen


def _decode_jpeg(stream: bytes) -> Image.Image:
    with Image.open(io.BytesIO(stream), formats=("JPEG",)) as image:
        image.load()
        return image


def _other(data: bytes, image: Image.Image, colour: bool) -> SeenImage:
    _one_frame(image)
    facts = _facts(data, image)
    orientation = _orientation(image)
    image.load()
    return from_pillow(image, facts, orientation, colour)


def _tiff_facts(page: tiff.TiffPage) -> ImageFacts:
    return ImageFacts(
        format="TIFF",
        depth=page.depth,
        samples=page.samples,
        photometric_interpretation=page.name,
        compression=page.packed,
        decoder=_PILLOW,
        signed=page.sample_format != 1,
        frames=page.n_pages,
        inverted=page.photometric == 0,
    )


def _tiff(data: bytes, max_pixels: int, colour: bool) -> SeenImage:
    page = tiff.open_page(data, max_pixels)
    facts = _tiff_facts(page)
    if page.deep and page.depth in (8, 16, 32, 64):
        values, alpha = tiff.decode_deep(data, page)
        notes = (EXTRA,) if page.alpha == 0 else ()
        if page.alpha == 0:
            alpha = None
        facts = replace(facts, decoder="tifffile" if page.compression in tiff.PLAIN else opencv.NAME)
        seen = from_values(values, alpha, facts, page.orientation, colour, premultiplied=page.alpha == 1)
        seen = replace(seen, notes=(*seen.notes, *notes))
    else:
        try:
            image = Image.open(io.BytesIO(data), formats=("TIFF",))
        except UnidentifiedImageError:
            raise RefusedError(
                f"is a TIFF of {page.name}, {page.samples} samples of {page.depth} bits, compressed as {page.packed}, which is not read",
                "Save it as 8-bit or 16-bit grey PNG",
            ) from None
        with image:
            image.seek(page.index)
            check_size(image.width, image.height, max_pixels)
            image.load()  # which applies the orientation
            seen = from_pillow(image, facts, page.orientation, colour, turned=True)
    return replace(seen, notes=(*seen.notes, THUMBNAILS)) if page.n_pages > 1 else seen


def _one_frame(image: Image.Image) -> None:
    frames = int(getattr(image, "n_frames", 1))
    if frames != 1:
        raise RefusedError(
            f"is animated, with {frames} frames; expected one image per file", "Save one frame as a separate file"
        )


def _orientation(image: Image.Image) -> int | None:
    """Return the orientation that an image asks for; None if its EXIF data cannot be read, which leaves its pixels as good."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow meets damage with any kind of exception
        return None
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


_PARTS = {"PNG": _png, "JPEG": _jpeg, "MPO": _jpeg, "BMP": _other, "WEBP": _other}
