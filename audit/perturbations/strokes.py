"""Where in a box the strokes of text are: what differs from its surroundings by more than their noise."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.colour import channels_of
from audit.data.pixels.facts import StoredImage
from audit.perturbations.fills import CONTEXT_PX, inpaint
from audit.perturbations.places import Box, cover

_NOISES = 5.0
"""Standard deviations of the surroundings' noise from which on a pixel is no noise."""
_LEAST_LEVELS = 8.0
"""Grey levels that a stroke stands out by at least: compression changes smooth surroundings by less."""
_GROWN_SHARE = 0.04
"""How far strokes grow for their soft edges, as a share of the box's short side; at least one pixel."""
_LEAST_SHARE = 0.02
"""With fewer pixels of the box found, its text has not been told from the surroundings."""
_NOISE_SIGMA_PX = 2.0


def laid_strokes(image: StoredImage, of: Sequence[Box], at: Sequence[Box]) -> NDArray[np.bool_]:
    """Return the pixels (h, w) that the strokes of some boxes cover, laid where others are: the boxes themselves, or those of a placebo.

    Parameters
    ----------
    image : ndarray of uint8, (h, w) or (h, w, 3)
        Unedited.
    of, at : sequence of Box
        Where strokes are looked for; where each of them is laid, from the upper left corner.
    """
    height, width = image.shape[:2]
    covered = cover(of, (height, width))
    strokes = np.zeros((height, width), dtype=np.bool_)
    for box, (x0, y0, x1, y1) in zip(of, at, strict=True):
        shape = find_strokes(image, box, covered)[: y1 - y0, : x1 - x0]
        strokes[y0 : y0 + shape.shape[0], x0 : x0 + shape.shape[1]] |= shape
    return strokes


def find_strokes(image: StoredImage, box: Box, covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a box that text covers; all of them where strokes cannot be told from their surroundings.

    A rectangle that is filled from its border loses all that lies between the letters, and what replaces it is smoother than an
    image is. Filling strokes alone changes networks whose word is known by nearer to the true amount (`docs/concepts/suites.md`).

    Parameters
    ----------
    image : ndarray of uint8, (h, w) or (h, w, 3)
        Unedited.
    box : (x0, y0, x1, y1)
        Half-open, inside the image.
    covered : ndarray of bool, (h, w)
        All text boxes of the image: their pixels say nothing about the surroundings.

    Returns
    -------
    ndarray of bool, (h, w) of the box
    """
    x0, y0, x1, y1 = box
    around = (slice(max(0, y0 - CONTEXT_PX), y1 + CONTEXT_PX), slice(max(0, x0 - CONTEXT_PX), x1 + CONTEXT_PX))
    everything = np.ones((y1 - y0, x1 - x0), dtype=np.bool_)
    ring = ~covered[around]
    if not ring.any():
        return everything
    expected = inpaint(image, box, covered)
    apart = np.zeros_like(everything)
    # What stands out in any channel is a stroke: red letters on red skin differ in one alone.
    for seen, there, without in zip(
        *(channels_of(v) for v in (image[around], image[y0:y1, x0:x1], expected)), strict=True
    ):
        apart |= _apart(seen.astype(np.float32), ring, there.astype(np.float32), without.astype(np.float32))
    if apart.mean() < _LEAST_SHARE:
        return everything
    grow = max(1, round(_GROWN_SHARE * min(apart.shape)))
    grown = cv2.dilate(apart.astype(np.uint8), np.ones((2 * grow + 1, 2 * grow + 1), dtype=np.uint8))
    return np.asarray(grown, dtype=np.bool_)


def _apart(
    around: NDArray[np.float32], ring: NDArray[np.bool_], there: NDArray[np.float32], expected: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Return where a channel of a box differs from what its surroundings would continue to by more than their noise."""
    detail = np.abs(around - cv2.GaussianBlur(around, (0, 0), _NOISE_SIGMA_PX))[ring]
    noise = 1.4826 * float(np.median(detail))
    return np.asarray(np.abs(there - expected) > max(_LEAST_LEVELS, _NOISES * noise))
