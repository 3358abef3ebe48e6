"""DICOM stored values to grey: padding, modality, values of interest, presentation, polarity, colour (PS3.3 C.7.6.3, C.11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.colour import coloured_share, in_colour
from audit.data.pixels.decoders import CONVERT, compression_name
from audit.data.pixels.dicom import Stored, number, open_dataset, stored_values, word
from audit.data.pixels.dicom_steps import interest_step, is_little, modality_step, numbers, presentation_step
from audit.data.pixels.facts import ImageFacts, SeenImage, StoredImage
from audit.data.pixels.grey import Values, bands, luma, render, stretch, value_range
from audit.data.pixels.levels import CONSTANT
from audit.data.pixels.limits import RefusedError, told
from audit.data.pixels.planes import overlay_planes
from audit.data.pixels.tables import read_table
from audit.data.strings import shown_string

PADDED = "Padding outside the image was excluded from the range of grey levels and is read as black."
SHUTTER = "A display shutter is declared; it was not applied, so the picture includes the area that it would cover."
NARROW_PALETTE = "The palette declares 16-bit values but contains 8-bit values; they were read as 8-bit."
_COLOURS = ("Red", "Green", "Blue")


def look_dicom(data: bytes, max_pixels: int, *, colour: bool = False) -> SeenImage:
    """Decode a DICOM file to grey (h, w), or to colours (h, w, 3).

    Raises
    ------
    RefusedError
        If it is damaged, too large, several images, or declares something that is not understood.
    """
    dataset = open_dataset(data, pixels=True)
    try:
        if word(dataset, "PixelPresentation") in ("MIXED", "COLOR"):
            raise RefusedError("is a DICOM file with mixed grey levels and colours, which is not read", CONVERT)
        stored = stored_values(dataset, max_pixels)
        facts = replace(_facts(dataset), depth=stored.bits, decoder=stored.plugin)
        if stored.photometric in ("MONOCHROME1", "MONOCHROME2"):
            seen = _monochrome(dataset, stored, facts)
            seen = replace(seen, pixels=in_colour(seen.pixels)) if colour else seen
        elif stored.photometric == "PALETTE COLOR":
            seen = _palette(dataset, stored, facts, colour)
        elif stored.photometric == "RGB" and stored.values.ndim == 3:
            seen = _colour(stored, facts, colour)
        else:
            raise RefusedError(
                f"is a DICOM file of photometric interpretation {shown_string(stored.photometric)!r}, which is not read",
                CONVERT,
            )
        planes = overlay_planes(dataset, stored.raw)
    except RefusedError:
        raise
    except Exception as error:  # elements of the wrong type or count come up as a dozen kinds of exception
        raise RefusedError(f"is a DICOM file that cannot be decoded: {told(error)}", CONVERT) from error
    notes = [*seen.notes, *planes.notes, *([SHUTTER] if "ShutterShape" in dataset else [])]
    if seen.pixels.min() == seen.pixels.max():
        notes.append(CONSTANT)
    overlays = tuple(f"{p.group:04x}: {p.where}" for p in planes.planes)
    return replace(seen, facts=replace(seen.facts, overlays=overlays), notes=tuple(notes))


def _facts(dataset: Any) -> ImageFacts:
    uid = str(dataset.file_meta.TransferSyntaxUID)
    return ImageFacts(
        format="DICOM",
        depth=number(dataset, "BitsStored", number(dataset, "BitsAllocated")),
        samples=number(dataset, "SamplesPerPixel", 1),
        photometric_interpretation=word(dataset, "PhotometricInterpretation"),
        compression=compression_name(uid),
        decoder="pydicom",
        transfer_syntax=shown_string(uid, 64),
        signed=number(dataset, "PixelRepresentation", 0) == 1,
    )


def _monochrome(dataset: Any, stored: Stored, facts: ImageFacts) -> SeenImage:
    values = stored.values
    integers = values.dtype.kind in "iu"
    signed = values.dtype.kind == "i"
    modality = modality_step(dataset, signed=signed)
    # What the modality step makes of the least and the greatest value that the stored bits can hold.
    low, high = -(1 << stored.bits - 1) if signed else 0, (1 << stored.bits - int(signed)) - 1
    ends = (0.0, modality.top) if modality.top is not None else modality.rule(np.array([low, high], dtype=np.float64))
    interest = interest_step(dataset, signed=min(ends) < 0)
    padding, padded = _padding(dataset, values, stored.bits)
    scaled = None
    if interest.says is not None:
        to_grey = _after(interest.rule, modality.rule)
    elif stored.bits <= 8 and integers:
        # Eight bits have an absolute meaning: the range is that of the type, never that of this image.
        scaled = (float(min(ends)), float(max(ends)))
        to_grey = _after(stretch(*scaled), modality.rule)
    else:
        scaled = value_range(values, modality.rule, padding)
        to_grey = _after(stretch(*scaled), modality.rule)
    presentation, inverted = presentation_step(dataset, stored.photometric)
    pixels = render(values, _after(presentation.rule, to_grey))
    if inverted:
        pixels = np.uint8(255) - pixels
    notes = [*modality.notes, *interest.notes, *presentation.notes]
    if padding is not None and padding.any():
        pixels[padding] = 0
        notes.append(PADDED)
    facts = replace(
        facts,
        photometric_interpretation=stored.photometric,
        rescale=modality.says,
        window=interest.says,
        presentation=presentation.says,
        scaled_from=scaled,
        padding=padded,
        inverted=inverted,
    )
    return SeenImage(pixels=pixels, facts=facts, notes=tuple(notes))


def _after(outer: Callable[[Values], Values], inner: Callable[[Values], Values]) -> Callable[[Values], Values]:
    return lambda values: outer(inner(values))


def _padding(
    dataset: Any, values: NDArray[Any], bits: int
) -> tuple[NDArray[np.bool_] | None, tuple[float, float] | None]:
    """Return which pixels are no part of the image, and the stored values that say so."""
    kind = {"f4": "Float", "f8": "DoubleFloat"}.get(values.dtype.str[1:], "")
    value, limit = numbers(dataset, f"{kind}PixelPaddingValue"), numbers(dataset, f"{kind}PixelPaddingRangeLimit")
    if not value:
        return None, None
    ends = [value[0], (limit or value)[0]]
    if values.dtype.kind in "iu":
        # The element's type need not be that of the pixels, nor its bits those stored: 63536 is -2000 of 16 or 12 signed bits.
        span = 1 << bits
        first = -(span >> 1) if values.dtype.kind == "i" else 0
        ends = [float((int(e) - first) % span + first) for e in ends]
    low, high = min(ends), max(ends)
    padding = np.empty(values.shape, dtype=np.bool_)
    for band in bands(values.shape):
        padding[band] = (values[band] >= low) & (values[band] <= high)
    if padding.all():
        raise RefusedError("contains only padding", "Remove it from the manifest")
    return padding, (low, high)


def _palette(dataset: Any, stored: Stored, facts: ImageFacts, colour: bool) -> SeenImage:
    """Apply a palette, then the luma of its colours unless they are asked for."""
    values = stored.values
    signed = values.dtype.kind == "i"
    segmented = "SegmentedRedPaletteColorLookupTableData" in dataset
    tables = [
        read_table(
            dataset,
            f"{colour}PaletteColorLookupTableDescriptor",
            f"{'Segmented' if segmented else ''}{colour}PaletteColorLookupTableData",
            signed=signed,
            little=is_little(dataset),
            segmented=segmented,
        )
        for colour in _COLOURS
    ]
    top = float(max(table.top for table in tables))
    narrow = top > 255 and max(int(table.entries.max()) for table in tables) <= 255
    if narrow:
        top = 255.0
    info = np.iinfo(values.dtype)
    every = np.arange(info.min, info.max + 1, dtype=np.float64) if info.bits <= 16 else None
    if every is None:
        raise RefusedError("is a DICOM file with a palette for 32-bit values, which is not read", CONVERT)
    rgb = np.stack([np.rint(table.look_up(every) * (255.0 / top)) for table in tables], axis=-1).astype(np.uint8)
    seen = np.empty((*values.shape, 3), dtype=np.uint8)
    for band in bands(values.shape):
        seen[band] = rgb[values[band].astype(np.int32) - int(info.min)]
    facts = replace(facts, coloured_share=coloured_share(seen))
    pixels: StoredImage = seen if colour else luma(seen)
    padding, padded = _padding(dataset, values, stored.bits)
    notes = [NARROW_PALETTE] if narrow else []
    if padding is not None and padding.any():
        pixels[padding] = 0
        notes.append(PADDED)
    return SeenImage(pixels=pixels, facts=replace(facts, padding=padded), notes=tuple(notes))


def _colour(stored: Stored, facts: ImageFacts, colour: bool) -> SeenImage:
    """Scale colours by the bits stored, then take their luma unless they are asked for."""
    values = stored.values
    if values.dtype.kind != "u":
        raise RefusedError("is a DICOM file of signed colours, which is not read", CONVERT)
    if stored.bits != 8:
        values = render(values, stretch(0.0, float((1 << stored.bits) - 1)))
    facts = replace(
        facts,
        photometric_interpretation=facts.photometric_interpretation or stored.photometric,
        coloured_share=coloured_share(values),
    )
    return SeenImage(pixels=values if colour else luma(values), facts=facts)
