"""What a finder looks at of an image in colour: its brightness, and by how much colours differ from those around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.colour import luminance
from audit.data.pixels.facts import GreyImage, StoredImage
from audit.data.records import TextRegion
from audit.text.merging import merge_regions

_AROUND_PX = 256
"""Long side at which the colours around a place are measured: they have no fine detail."""
_AROUND_SHARE = 0.08
"""Side of the window whose median they are, as a share of the long side: letters fill less than half of it."""
_GAIN = 6.0
"""Factor on a difference of colour (CIE L*a*b*, a* or b*, whichever is larger), so that what is plainly visible nears white."""
_CLEAR_LEVELS = 90
_CLEAR_SHARE = 0.0002
"""An image in which a smaller share of the difference reaches these levels has no letters in colour, and is looked at once."""


def text_planes(image: StoredImage) -> list[GreyImage]:
    """Return what text is looked for on, brightness first; that alone for a grey image, and for one without strong colours.

    Parameters
    ----------
    image : ndarray of uint8, (h, w) or (h, w, 3)
    """
    planes = [luminance(image)]
    if image.ndim == 3:
        apart = colour_difference(image)
        if (apart >= _CLEAR_LEVELS).mean() >= _CLEAR_SHARE:
            planes.append(apart)
    return planes


def colour_difference(image: NDArray[np.uint8]) -> GreyImage:
    """Return by how much each pixel (h, w, 3) differs in colour, not in brightness, from what is around it: letters are bright on dark."""
    lab = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2LAB)
    height, width = image.shape[:2]
    scale = min(1.0, _AROUND_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    window = 2 * round(_AROUND_SHARE * max(size) / 2) + 1
    apart = np.zeros((height, width), dtype=np.float32)
    for k in (1, 2):
        plane = np.ascontiguousarray(lab[..., k])
        small = cv2.medianBlur(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), window)
        around = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
        apart = np.maximum(apart, np.abs(plane.astype(np.float32) - around))
    return np.asarray(np.minimum(255, np.rint(_GAIN * apart)), dtype=np.uint8)


def find_on_planes(
    image: StoredImage, find: Callable[[GreyImage], Sequence[TextRegion]], *, once: bool = False
) -> list[TextRegion]:
    """Find the text of an image on everything that it is looked for on; regions that overlap become one.

    Parameters
    ----------
    image : ndarray of uint8, (h, w) or (h, w, 3)
    find : callable
        Finds text on grey (h, w).
    once : bool
        Ask about the brightness alone: for finders that look images up instead of looking at them.
    """
    first, *others = text_planes(image)
    found = list(find(first))
    if once or not others:
        return found
    return merge_regions([*found, *(region for plane in others for region in find(plane))])
