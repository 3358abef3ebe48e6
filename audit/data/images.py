"""The only reader of pixels: PNG, JPEG, TIFF, BMP, WebP or DICOM to uint8 grey (h, w). What each file means: docs/reference/images.md."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audit.data.pixels.dicom import is_dicom
from audit.data.pixels.facts import GreyImage, ImageFacts, SeenImage
from audit.data.pixels.limits import MAX_PIXELS, image_errors, named, read_image_bytes
from audit.data.pixels.raster import look_raster
from audit.errors import ImageError

__all__ = [
    "MAX_PIXELS",
    "GreyImage",
    "ImageFacts",
    "SeenImage",
    "decode_gray",
    "jpeg_table",
    "look",
    "look_at",
    "pixel_hash",
    "read_gray",
    "read_mask",
]


def look(path: Path) -> SeenImage:
    """Read one radiograph, with the facts that its grey levels were made from.

    Raises
    ------
    ImageError
        If the file is missing, empty, damaged, too large, not an image, or of a kind that is not understood.
    """
    return look_at(read_image_bytes(path), path)


def look_at(data: bytes, path: Path) -> SeenImage:
    """Read the bytes of one image file as `look` does; `path` is only named in errors."""
    with image_errors(path):
        if is_dicom(data):
            from audit.data.pixels.dicom_grey import look_dicom

            return look_dicom(data, MAX_PIXELS)
        return look_raster(data, MAX_PIXELS)


def read_gray(path: Path) -> GreyImage:
    """Read one radiograph as uint8 grey (h, w), bright where the radiograph is bright.

    Raises
    ------
    ImageError
        As `look` does.
    """
    return look(path).pixels


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
    if not path.is_file():  # opening a named pipe would wait for ever
        return None
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            tables = getattr(image, "quantization", None)
            return tuple(int(v) for v in tables[min(tables)]) if tables else None
    except (OSError, SyntaxError, ValueError):
        return None


def pixel_hash(image: GreyImage) -> str:
    """Return the SHA-256 of the pixels and their shape: equal for re-encoded copies of equal pixels."""
    digest = hashlib.sha256(f"{image.shape[0]}x{image.shape[1]}:uint8:".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()
