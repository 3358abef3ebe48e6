"""Things on an image that are neither the patient nor text: a monitoring electrode with its lead."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CENTRE = (0.20, 0.80)
"""Where the electrode lies (x, y), as shares of the image side: below the right ribs, where no lettering comes."""
JITTER = 0.015
RADIUS = 0.035


def stick_electrode(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a copy of an image, grey (h, h), with an electrode and the lead that leaves it towards the border.

    Parameters
    ----------
    image : ndarray of uint8, (h, h)
    rng : numpy Generator
        Moves it by up to `JITTER` of the side.
    """
    side = image.shape[0]
    x, y = (round(side * float(c + rng.uniform(-JITTER, JITTER))) for c in CENTRE)
    radius = max(2, round(side * RADIUS))
    layer = np.zeros_like(image)
    cv2.circle(layer, (x, y), radius, 150, max(1, radius // 3), cv2.LINE_AA)
    cv2.circle(layer, (x, y), max(1, radius // 3), 230, -1, cv2.LINE_AA)
    lead = np.array([(x - radius, y), (x - 2 * radius, y + radius), (0, min(side - 1, y + 3 * radius))], dtype=np.int32)
    cv2.polylines(
        layer, [lead.reshape(-1, 1, 2)], isClosed=False, color=110, thickness=max(1, radius // 4), lineType=cv2.LINE_AA
    )
    # Metal in front of tissue: it brightens what is there.
    return np.asarray(cv2.add(image, layer), dtype=np.uint8)
