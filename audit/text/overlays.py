"""Text that a DICOM file carries beside its pixels: the overlay planes that viewers print over the film."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.errors import ImageError
from audit.records import TextRegion

NAME = "dicom-overlay"
_MAGIC_AT = 128
_GROUPS = range(0x6000, 0x601F, 2)
# Letters closer than this share of the long side are one string.
_GAP_SHARE = 0.012


def overlay_regions(path: Path, shape: tuple[int, int]) -> tuple[TextRegion, ...]:
    """Find what the overlay planes of a DICOM file print (PS3.3 C.9.2); nothing for any other file.

    Parameters
    ----------
    path : Path
        The image file.
    shape : tuple of int
        Height and width of its pixels; what an overlay prints outside is cut off.

    Raises
    ------
    ImageError
        If a plane is damaged.
    """
    with path.open("rb") as file:
        file.seek(_MAGIC_AT)
        if file.read(4) != b"DICM":
            return ()
    import pydicom

    dataset: Any = pydicom.dcmread(path, stop_before_pixels=True)
    found: list[TextRegion] = []
    for group in _GROUPS:
        if (group, 0x3000) in dataset:
            label = str(dataset[group, 0x1500].value) if (group, 0x1500) in dataset else ""
            found += _regions(_plane(dataset, group, path, shape), label)
    return tuple(found)


def _plane(dataset: Any, group: int, path: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return one plane (h, w) in the image's own pixels, 1 where it prints."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a plane with a few bytes of padding is read all the same
            bits = np.asarray(dataset.overlay_array(group), dtype=np.uint8)
        bits = bits[0] if bits.ndim == 3 else bits
        top, left = (int(v) - 1 for v in dataset.get((group, 0x0050)).value)
    except Exception as error:  # pydicom raises a dozen kinds; each means the same to the user
        raise ImageError(f"Overlay plane {group:04x} of {path} cannot be read: {error}.") from error
    plane = np.zeros(shape, dtype=np.uint8)
    y0, x0 = max(0, top), max(0, left)
    part = bits[y0 - top : shape[0] - top, x0 - left : shape[1] - left]
    plane[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] = part > 0
    return plane


def _regions(plane: NDArray[np.uint8], label: str) -> list[TextRegion]:
    reach = 2 * max(1, round(_GAP_SHARE / 2 * max(plane.shape))) + 1
    joined = cv2.morphologyEx(plane, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))
    n, labels = cv2.connectedComponents(joined, connectivity=8)
    found = []
    for index in range(1, n):
        ys, xs = np.nonzero((labels == index) & (plane > 0))
        if len(ys):
            box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
            found.append(
                TextRegion(
                    x0=box[0], y0=box[1], x1=box[2], y1=box[3], text=label.strip(), kind="overlay", detector=NAME
                )
            )
    return found
