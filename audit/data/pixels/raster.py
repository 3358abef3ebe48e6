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
from audit.data.pixels.colour import coloured_share, in_colour
from audit.data.pixels.facts import ImageFacts, SeenImage, StoredImage
from audit.data.pixels.grey import bands, luma, oriented, own_range, render, stretch, value_range
from audit.data.pixels.limits import RefusedError, check_size, told
from audit.files import stands_for

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
_ALLOWED = "PNG, JPEG, TIFF, BMP, WebP or DICOM"
_PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")
_GREY = ("1", "L")
_WIDE = ("I", "I;16", "I;16B", "I;16L", "F")
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_ORIENTATION = 0x0112
_BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I": 32, "F": 32}
_PILLOW = f"Pillow {__version__}"

TRANSPARENT = "Some pixels are fully transparent; they are read as black."
TURNED = "The orientation tag was applied: the image is rotated or mirrored relative to its stored rows."
UNKNOWN_ORIENTATION = "The EXIF data are damaged, so the orientation could not be read; the image was left as stored."
THUMBNAILS = "The file also contains smaller copies of the image; they were ignored."
CMYK = "The colours are inks (CMYK); they were converted without a colour profile."
EXTRA = "An extra channel of unknown meaning was ignored."
CONSTANT = "All pixels have the same value."


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
        return _shallow(image, facts, orientation, colour)
    if header.colour == 0:
        values: NDArray[Any] = np.array(image)
        clear = image.info.get("transparency")
        alpha = None if clear is None else np.where(values == clear, np.uint16(0), np.uint16(65535))
    else:
        values, alpha = png.decode_deep(data, header)
        facts = replace(facts, decoder=opencv.NAME)
    return _deep(values, alpha, facts, orientation, colour)


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
    seen = _shallow(first, facts, orientation, colour)
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
    return _shallow(image, facts, orientation, colour)


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
        seen = _deep(values, alpha, facts, page.orientation, colour, premultiplied=page.alpha == 1)
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
            seen = _shallow(image, facts, page.orientation, colour, turned=True)
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


def _shallow(
    image: Image.Image, facts: ImageFacts, orientation: int | None, colour: bool, *, turned: bool = False
) -> SeenImage:
    """Convert what Pillow decoded; values of up to 8 bits keep their meaning."""
    notes: list[str] = []
    pixels: StoredImage
    if image.mode in _WITH_ALPHA or ("transparency" in image.info and image.mode not in _WIDE):
        pixels, share, coloured = _on_black(image, colour)
        facts = replace(facts, transparent_share=share, coloured_share=coloured)
        notes += [TRANSPARENT] if share else []
    elif image.mode in _WIDE:
        grey, scaled = own_range(np.asarray(image), inverted=facts.inverted)
        pixels = in_colour(grey) if colour else grey
        facts = replace(facts, scaled_from=scaled)
    elif image.mode in _PLAIN:
        notes += [CMYK] if image.mode == "CMYK" else [EXTRA] if image.mode == "RGBX" else []
        if image.mode not in _GREY:
            rgb = np.asarray(image.convert("RGB"))
            facts = replace(facts, coloured_share=coloured_share(rgb))
            pixels = np.array(rgb) if colour else np.array(image.convert("L"), dtype=np.uint8)
        else:
            pixels = np.array(image if image.mode == "L" else image.convert("L"), dtype=np.uint8)
            pixels = in_colour(pixels) if colour else pixels
    else:
        raise RefusedError(f"has the colour mode {image.mode}, which is not read", "Convert it to 8-bit grey")
    return _finish(pixels if turned else oriented(pixels, orientation or 1), facts, orientation, notes)


def _on_black(image: Image.Image, colour: bool) -> tuple[StoredImage, float, float | None]:
    """Lay an image with transparency on black, a band of rows at a time; return it and the shares of clear and of coloured pixels."""
    rgb = np.empty((image.height, image.width, 3), dtype=np.uint8)
    pixels = rgb if colour else np.empty((image.height, image.width), dtype=np.uint8)
    clear = 0
    for band in bands(pixels.shape):
        bottom = min(band.stop, image.height)
        part = image.crop((0, band.start, image.width, bottom))
        part.info = image.info
        rgba = part.convert("RGBA")
        laid = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
        rgb[band] = np.asarray(laid)[..., :3]
        if not colour:
            pixels[band] = np.asarray(laid.convert("L"))
        clear += int(np.count_nonzero(np.asarray(rgba.getchannel("A")) == 0))
    return pixels, _share(clear, image.height * image.width), coloured_share(rgb)


def _share(clear: int, size: int) -> float:
    if clear == size:
        raise RefusedError("is fully transparent", "Export it without the alpha channel")
    return clear / size


def _deep(
    values: NDArray[Any],
    alpha: NDArray[Any] | None,
    facts: ImageFacts,
    orientation: int | None,
    colour: bool,
    *,
    premultiplied: bool = False,
) -> SeenImage:
    """Scale wide values by their own range, transparency laid on zero before and colour reduced after, unless it is asked for."""
    notes: list[str] = []
    if alpha is not None:
        if alpha.dtype.kind != "u":
            raise RefusedError("has an unknown kind of transparency", "Convert it to 8-bit grey")
        share = _share(int(np.count_nonzero(alpha == 0)), alpha.size)
        facts = replace(facts, transparent_share=share)
        notes += [TRANSPARENT] if share else []
        if not premultiplied:
            values = _faded(values, alpha)
    pixels: StoredImage
    if values.ndim == 2:
        pixels, scaled = own_range(values, inverted=facts.inverted)
        pixels = in_colour(pixels) if colour else pixels
    else:
        scaled = value_range(values, lambda v: v)
        rgb = render(values, stretch(*scaled))
        facts = replace(facts, coloured_share=coloured_share(rgb))
        pixels = rgb if colour else luma(rgb)
    facts = replace(facts, scaled_from=scaled)
    return _finish(oriented(pixels, orientation or 1), facts, orientation, notes)


def _faded(values: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Multiply values by their opacity."""
    most = float(np.iinfo(alpha.dtype).max)
    faded = np.array(values)
    for band in bands(values.shape):
        opacity = alpha[band].astype(np.float64) / most
        part = values[band] * (opacity if values.ndim == 2 else opacity[:, :, None])
        faded[band] = np.rint(part) if values.dtype.kind in "iu" else part
    return faded


def _finish(pixels: StoredImage, facts: ImageFacts, orientation: int | None, notes: list[str]) -> SeenImage:
    if orientation is None:
        notes.append(UNKNOWN_ORIENTATION)
    elif orientation != 1:
        facts = replace(facts, orientation=orientation)
        notes.append(TURNED)
    if pixels.min() == pixels.max():
        notes.append(CONSTANT)
    return SeenImage(pixels=pixels, facts=facts, notes=tuple(notes))


_PARTS = {"PNG": _png, "JPEG": _jpeg, "MPO": _jpeg, "BMP": _other, "WEBP": _other}
