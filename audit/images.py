"""The only reader of pixels: PNG, JPEG, TIFF, BMP or DICOM to uint8 grey (h, w)."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from audit.errors import ImageError

GreyImage = NDArray[np.uint8]

# A radiograph of 150 million pixels does not exist; a decompression bomb does.
MAX_PIXELS = 150_000_000
_DICOM_MAGIC_AT = 128
_ALLOWED = "PNG, JPEG, TIFF, BMP, WebP or DICOM"


def read_gray(path: Path) -> GreyImage:
    """Read one radiograph as uint8 grey (h, w), bright where the film is bright.

    Sixteen-bit and float images are scaled by their own range (a stored value has no
    absolute meaning there); colour is reduced by the ITU-R 601 luma; transparency is laid
    on black; DICOM goes through its modality and VOI look-up and MONOCHROME1 is inverted.

    Raises
    ------
    ImageError
        If the file is missing, empty, truncated, not an image, or too large.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"Image {path} does not exist. Check the manifest's path column.") from error
    except OSError as error:
        raise ImageError(f"Image {path} cannot be opened: {error.strerror}.") from error
    return decode_gray(data, path)


def decode_gray(data: bytes, path: Path) -> GreyImage:
    """Decode the bytes of one image file; `path` is only named in errors."""
    if not data:
        raise ImageError(f"Image {path} is empty (0 bytes). Copy it again from its source.")
    if data[_DICOM_MAGIC_AT : _DICOM_MAGIC_AT + 4] == b"DICM":
        return _decode_dicom(data, path)
    try:
        with warnings.catch_warnings():
            # Pillow only warns between its limit and twice that; here a bomb is an error at once.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ImageError(
                        f"Image {path} has {image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are allowed."
                    )
                image.load()
                return _to_grey(image, path)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"File {path} is not an image ({_ALLOWED} expected, its content is none of them). Remove it from the "
            "manifest or convert it."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"Image {path} is larger than {MAX_PIXELS:,} pixels. Scale it down first.") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as error:
        raise ImageError(f"Image {path} is damaged: {error}. Copy it again from its source.") from error


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
            f"Mask {path} has {mask.shape[1]} x {mask.shape[0]} pixels, but its image has {shape[1]} x {shape[0]}. A mask "
            "must have its image's size; make it again, or remove it from the manifest."
        )
    return np.asarray(2 * mask.astype(np.int16) > max(1, int(mask.max())))


def jpeg_table(path: Path) -> tuple[int, ...] | None:
    """Return the luminance quantisation table of a JPEG file; None if the file is no JPEG."""
    try:
        with Image.open(path) as image:
            tables = getattr(image, "quantization", None)
            return tuple(int(v) for v in tables[min(tables)]) if tables else None
    except OSError:  # DICOM, which Pillow does not read
        return None


def pixel_hash(image: GreyImage) -> str:
    """Return the SHA-256 of the pixels and their shape: equal for re-encoded copies of equal pixels."""
    digest = hashlib.sha256(f"{image.shape[0]}x{image.shape[1]}:uint8:".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _to_grey(image: Image.Image, path: Path) -> GreyImage:
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, rgba).convert("L")
    if image.mode.startswith("I") or image.mode == "F":
        return _stretch(np.asarray(image, dtype=np.float64), path)
    if image.mode != "L":
        image = image.convert("L")
    return np.array(image, dtype=np.uint8)


def _stretch(values: NDArray[np.float64], path: Path) -> GreyImage:
    """Scale a wide-range image to 0..255 by its own extremes."""
    if not np.isfinite(values).all():
        raise ImageError(f"Image {path} holds values that are not finite. Export it again.")
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.asarray(np.rint((values - low) * (255.0 / (high - low))), dtype=np.uint8)


def _decode_dicom(data: bytes, path: Path) -> GreyImage:
    # Imported here: most cohorts hold no DICOM, and pydicom costs a third of a second.
    import pydicom
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    try:
        dataset: Any = pydicom.dcmread(io.BytesIO(data))
        frames = np.asarray(dataset.pixel_array)
        if frames.ndim == 4 or (frames.ndim == 3 and int(dataset.get("SamplesPerPixel", 1)) == 1):
            raise ImageError(f"DICOM file {path} holds {frames.shape[0]} frames; one radiograph a file is expected.")
        if frames.ndim == 3:
            return np.array(Image.fromarray(frames.astype(np.uint8)).convert("L"), dtype=np.uint8)
        values = np.asarray(apply_voi_lut(apply_modality_lut(frames, dataset), dataset), dtype=np.float64)
    except ImageError:
        raise
    except Exception as error:  # pydicom and its decoders raise a dozen kinds; each means the same to the user
        raise ImageError(f"DICOM file {path} cannot be decoded: {error}. Convert it to PNG first.") from error
    grey = _stretch(values, path)
    inverted = str(dataset.get("PhotometricInterpretation", "")).strip() == "MONOCHROME1"
    return cast(GreyImage, np.uint8(255) - grey) if inverted else grey
