"""The only reader of pixels: PNG, JPEG, TIFF, BMP, WebP or DICOM to uint8 grey (h, w) or colours (h, w, 3).

What each file means: docs/reference/images.md.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audit.data.pixels.colour import is_grey
from audit.data.pixels.dicom import is_dicom
from audit.data.pixels.facts import GreyImage, ImageFacts, SeenImage, StoredImage
from audit.data.pixels.limits import MAX_PIXELS, image_errors, named, read_image_bytes
from audit.data.pixels.raster import look_raster
from audit.data.records import Record
from audit.errors import ImageError
from audit.files import open_regular

__all__ = [
    "MAX_PIXELS",
    "GreyImage",
    "ImageFacts",
    "SeenImage",
    "StoredImage",
    "decode_gray",
    "jpeg_table",
    "look",
    "look_at",
    "pixel_hash",
    "read_gray",
    "read_image",
    "read_mask",
    "read_record",
]


def look(path: Path, *, colour: bool = False) -> SeenImage:
    """Read one image, with the facts that its levels were made from.

    Parameters
    ----------
    path : Path
        The file.
    colour : bool
        Read red, green and blue (h, w, 3), which are equal where the file is grey, in place of grey (h, w).

    Raises
    ------
    ImageError
        If the file is missing, empty, damaged, too large, not an image, or of a kind that is not understood.
    """
    return look_at(read_image_bytes(path), path, colour=colour)


def look_at(data: bytes, path: Path, *, colour: bool = False) -> SeenImage:
    """Read the bytes of one image file as `look` does; `path` is only named in errors."""
    with image_errors(path):
        if is_dicom(data):
            from audit.data.pixels.dicom_grey import look_dicom

            return look_dicom(data, MAX_PIXELS, colour=colour)
        return look_raster(data, MAX_PIXELS, colour=colour)


def read_gray(path: Path) -> GreyImage:
    """Read one radiograph as uint8 grey (h, w), bright where the radiograph is bright.

    Raises
    ------
    ImageError
        As `look` does.
    """
    return look(path).pixels


def read_image(path: Path, *, colour: bool) -> StoredImage:
    """Read one image as uint8: red, green and blue (h, w, 3), or grey (h, w).

    Raises
    ------
    ImageError
        As `look` does.
    """
    return look(path, colour=colour).pixels


def read_record(record: Record) -> StoredImage:
    """Read a record's image as the run that it belongs to reads all of its images: in colour, or as grey.

    Raises
    ------
    ImageError
        As `look` does.
    """
    return read_image(record.path, colour=record.colour)


def decode_gray(data: bytes, path: Path) -> GreyImage:
    """Decode the bytes of one image file; `path` is only named in errors."""
    return look_at(data, path).pixels


def read_mask(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a mask of an image of `shape` (h, w): true where it is brighter than half its own maximum.

    Raises
    ------
    ImageError
        If it cannot be read, or has another size than its image.
    """
    mask = read_gray(path)
    if mask.shape != shape:
        raise ImageError(
            f"Mask {named(path)} has {mask.shape[1]} x {mask.shape[0]} pixels, but its image has {shape[1]} x {shape[0]}. A mask "
            "must have the same size as its image; create it again, or remove it from the manifest."
        )
    return np.asarray(2 * mask.astype(np.int16) > max(1, int(mask.max())))


def jpeg_table(path: Path) -> tuple[int, ...] | None:
    """Return the luminance quantisation table of a JPEG file; None if the file is no JPEG."""
    try:
        with open_regular(path) as file, Image.open(file, formats=("JPEG",)) as image:
            tables = getattr(image, "quantization", None)
            return tuple(int(v) for v in tables[min(tables)]) if tables else None
    except (OSError, SyntaxError, ValueError):
        return None


def pixel_hash(image: StoredImage) -> str:
    """Return the SHA-256 of the pixels and their shape: equal for re-encoded copies, and for grey that is stored as three channels."""
    if is_grey(image):
        image = image if image.ndim == 2 else image[..., 0]
    shape = "x".join(map(str, image.shape))
    digest = hashlib.sha256(f"{shape}:uint8:".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()
