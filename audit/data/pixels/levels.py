"""Decoded pixels as an image of 8 bits: wide values by their own range, transparency on black, colours kept or reduced, turned upright."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audit.data.pixels.colour import coloured_share, in_colour
from audit.data.pixels.facts import ImageFacts, SeenImage, StoredImage
from audit.data.pixels.grey import bands, luma, oriented, own_range, render, stretch, value_range
from audit.data.pixels.limits import RefusedError

_PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")
_GREY = ("1", "L")
_WIDE = ("I", "I;16", "I;16B", "I;16L", "F")
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")

TRANSPARENT = "Some pixels are fully transparent; they are read as black."
TURNED = "The orientation tag was applied: the image is rotated or mirrored relative to its stored rows."
UNKNOWN_ORIENTATION = "The EXIF data are damaged, so the orientation could not be read; the image was left as stored."
CMYK = "The colours are inks (CMYK); they were converted without a colour profile."
EXTRA = "An extra channel of unknown meaning was ignored."
CONSTANT = "All pixels have the same value."


def from_pillow(
    image: Image.Image, facts: ImageFacts, orientation: int | None, colour: bool, *, turned: bool = False
) -> SeenImage:
    """Convert what Pillow decoded; values of up to 8 bits keep their meaning.

    Parameters
    ----------
    image : Image
        Decoded, in any mode.
    facts : ImageFacts
        What is known of the file.
    orientation : int or None
        That of the EXIF data, 1 to 8; None where they are damaged.
    colour : bool
        Whether (h, w, 3) is returned in place of (h, w).
    turned : bool
        Whether the orientation was already applied.

    Raises
    ------
    RefusedError
        If the mode is not understood, or all pixels are transparent.
    """
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


def from_values(
    values: NDArray[Any],
    alpha: NDArray[Any] | None,
    facts: ImageFacts,
    orientation: int | None,
    colour: bool,
    *,
    premultiplied: bool = False,
) -> SeenImage:
    """Scale wide values by their own range, transparency laid on zero before and colour reduced after, unless it is asked for.

    Parameters
    ----------
    values : array (h, w) or (h, w, 3)
        As they are stored.
    alpha : array (h, w), optional
        Their opacity.
    facts, orientation, colour
        As for `from_pillow`.
    premultiplied : bool
        Whether the values were already multiplied by their opacity.

    Raises
    ------
    RefusedError
        If the kind of transparency is unknown, or all pixels are transparent.
    """
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
