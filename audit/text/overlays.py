"""Text that a DICOM file stores outside its pixels: the overlay planes that viewers draw over the image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.dicom import is_dicom, open_dataset, stored_values
from audit.data.pixels.limits import MAX_PIXELS, image_errors, named, read_image_bytes
from audit.data.pixels.planes import WITHIN_PIXELS, Plane, overlay_planes, places
from audit.data.records import TextRegion
from audit.errors import ImageError

NAME = "dicom-overlay"
# Letters closer than this share of the long side are one string.
_GAP_SHARE = 0.012


def overlay_regions(path: Path, shape: tuple[int, int]) -> tuple[TextRegion, ...]:
    """Find what the overlay planes of a DICOM file print (PS3.3 C.9.2); nothing for any other file.

    Planes in elements of their own and planes in unused bits of the pixels are read alike. Of a plane that is declared but
    not in the file, the reader of pixels warns.

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
    data = read_image_bytes(path)
    if not is_dicom(data):
        return ()
    with image_errors(path):
        dataset = open_dataset(data, pixels=False)
        where = places(dataset)
        if not where:
            return ()
        raw = None
        if WITHIN_PIXELS in where.values():
            dataset = open_dataset(data, pixels=True)
            raw = stored_values(dataset, MAX_PIXELS).raw
        found = overlay_planes(dataset, raw)
    if found.damaged:
        raise ImageError(f"Overlay plane {found.damaged[0]}, in {named(path)}. Export the image without overlays.")
    return tuple(region for plane in found.planes for region in _regions(_placed(plane, shape), plane.label))


def _placed(plane: Plane, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return one plane (h, w) in the image's own pixels, 1 where it prints."""
    placed = np.zeros(shape, dtype=np.uint8)
    y0, x0 = max(0, plane.top), max(0, plane.left)
    if y0 < shape[0] and x0 < shape[1]:
        part = plane.bits[
            y0 - plane.top : max(0, shape[0] - plane.top), x0 - plane.left : max(0, shape[1] - plane.left)
        ]
        placed[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] = part > 0
    return placed


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
