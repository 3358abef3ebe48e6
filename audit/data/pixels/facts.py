"""What a reader used of a file, and what it made of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GreyImage = NDArray[np.uint8]
"""(h, w), 0 black."""
StoredImage = NDArray[np.uint8]
"""An image as an audit edits it: grey (h, w), or red, green and blue (h, w, 3)."""

VISIBLE_SHARE = 0.0005
"""Share of such pixels from which on an image shows colours: a small stamp on a grey image does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFacts:
    """Everything in a file that had a say in its grey levels; None where the file has no such thing."""

    format: str
    """PNG, JPEG, TIFF, BMP, WebP or DICOM."""
    depth: int
    """Bits of one stored value."""
    samples: int
    """Values of one pixel, transparency counted in."""
    photometric_interpretation: str
    """What the values mean, in the format's own word."""
    compression: str
    """How the file is packed, in words."""
    decoder: str
    """Library, and plug-in where it has them, that decoded it."""
    quantisation: float | None = None
    """Mean step of the luminance table of a JPEG file: 1 keeps nearly all, 10 is coarse."""
    transfer_syntax: str | None = None
    """Unique identifier of a DICOM file's encoding."""
    signed: bool = False
    """Whether stored values may be negative."""
    frames: int = 1
    """Pictures in the file; more than one only where the others are thumbnails."""
    rescale: str | None = None
    """Slope and intercept, or the modality look-up table, that was applied."""
    window: str | None = None
    """Window or look-up table of the values of interest that was applied."""
    presentation: str | None = None
    """Shape or look-up table of the presentation that was applied."""
    scaled_from: tuple[float, float] | None = None
    """Values that became 0 and 255, where a range was scaled."""
    padding: tuple[float, float] | None = None
    """Stored values, from and to, that are no part of the image and were shown black."""
    inverted: bool = False
    """Whether small values are bright."""
    orientation: int = 1
    """EXIF or TIFF orientation that was applied; 1 is as stored."""
    transparent_share: float | None = None
    """Share of pixels that are fully transparent; None where there is no transparency."""
    coloured_share: float | None = None
    """Share of pixels that show colour, rounded to four digits; None where red, green and blue are equal everywhere."""
    overlays: tuple[str, ...] = ()
    """Overlay planes of a DICOM file and where their bits are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenImage:
    """One image as the audit sees it."""

    pixels: StoredImage
    """Grey (h, w), or red, green and blue (h, w, 3) where colour was asked for; 0 black."""
    facts: ImageFacts
    """What it was made from."""
    notes: tuple[str, ...] = ()
    """What a reader should know; one wording a kind, so that they can be counted."""


def shows_colour(share: float | None) -> bool:
    """Say whether an image of this share of coloured pixels shows colours."""
    return share is not None and share >= VISIBLE_SHARE
