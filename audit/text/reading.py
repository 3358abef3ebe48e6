"""What a region says, in whichever of eight views it says it best: markers lie mirrored and turned on the image."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from audit.data.records import TextRegion
from audit.text.ppocr import PpOcr

# The reader knows 18,000 letters, and takes any blot for some of them; markers and overlays are of these.
_PLAUSIBLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .,:/()#+\-]*")
# A turned view must be so much surer than the upright one: an L turned is a 7, a mirrored DB is a 80.
_UPRIGHT_BONUS = 0.15
_UNREADABLE = 0.5


def best_reading(
    region: TextRegion, image: NDArray[np.uint8], networks: PpOcr, *, margin_share: float = 0.2
) -> tuple[str, float, int]:
    """Read a region of a grey image (h, w) upright, turned and mirrored.

    A margin around the letters helps the reader: `margin_share` of the region's short side is added on every side.

    Returns
    -------
    tuple of (str, float, int)
        The string, the reader's confidence, and the view: 0 upright, 1 to 3 turned, 4 to 7 mirrored, then turned. An empty
        string with confidence 0 where no view gives Latin letters or digits.
    """
    margin = round(margin_share * min(region.x1 - region.x0, region.y1 - region.y0)) + 1
    around = region.padded(margin, (image.shape[0], image.shape[1]))
    crop = image[around.y0 : around.y1, around.x0 : around.x1]
    views = [np.rot90(side, turns) for side in (crop, crop[:, ::-1]) for turns in range(4)]
    read = networks.read([np.ascontiguousarray(view) for view in views])
    plausible = [(text, sure, i) for i, (text, sure) in enumerate(read) if _PLAUSIBLE.fullmatch(text)]
    return max(plausible, key=lambda r: r[1] + _UPRIGHT_BONUS * (r[2] == 0), default=("", 0.0, 0))


def read_region(region: TextRegion, image: NDArray[np.uint8], networks: PpOcr) -> TextRegion:
    """Return the region with its string, and what kind of text it seems to be.

    Software writes upright; what reads only turned or mirrored was lead on the film. What reads upright may be either.
    """
    text, sure, view = best_reading(region, image, networks)
    if sure < _UNREADABLE:
        return region
    kind = "lead_marker" if view else "overlay" if len(text) > 2 else "text"
    return replace(region, text=text, kind=kind)
