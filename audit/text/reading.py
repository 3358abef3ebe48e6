"""What a region says, in whichever of eight views it says it best: markers lie mirrored and turned on the image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from audit.data.records import TextRegion
from audit.text.ppocr import PpOcr

# The reader knows 18,000 letters, and takes any blot for some of them; markers and overlays are of these.
_PLAUSIBLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .,:/()#+\-]*")
# Where something is certainly written, what the reader takes for a letter of any script tells it from a lung.
_ANY_SCRIPT = re.compile(r"[^\W_][\w .,:/()#+\-]*")
# A turned view must be so much surer than the upright one: an L turned is a 7, a mirrored DB is a 80.
_UPRIGHT_BONUS = 0.15
_UNREADABLE = 0.5
MARGIN_SHARE = 0.2
"""Of a region's short side, added on every side before it is read."""
BARE_SHAPES = "1lIirtfj|0Oo"
"""What every wire, clip, vessel and rib edge reads as, and every ring, snap and lung; markers are other capitals."""


def best_reading(
    region: TextRegion,
    image: NDArray[np.uint8],
    networks: PpOcr,
    *,
    margin_share: float = MARGIN_SHARE,
    any_script: bool = False,
) -> tuple[str, float, int]:
    """Read a region of a grey image (h, w) upright, turned and mirrored.

    A margin around the letters helps the reader: `margin_share` of the region's short side is added on every side.

    Returns
    -------
    tuple of (str, float, int)
        The string, the reader's confidence, and the view: 0 upright, 1 to 3 turned, 4 to 7 mirrored, then turned. An empty
        string with confidence 0 where no view gives Latin letters or digits (or, with `any_script`, letters at all).
    """
    crop = _crop(region, image, margin_share)
    views = [np.rot90(side, turns) for side in (crop, crop[:, ::-1]) for turns in range(4)]
    pattern = _ANY_SCRIPT if any_script else _PLAUSIBLE
    upright = _plausible(networks.read(views[:1]), pattern)
    if upright and upright[0][1] + _UPRIGHT_BONUS >= 1:  # no other view can be surer
        return upright[0]
    read = upright + _plausible(networks.read(views[1:]), pattern, first=1)
    return max(read, key=lambda r: r[1] + _UPRIGHT_BONUS * (r[2] == 0), default=("", 0.0, 0))


def upright_reading(
    region: TextRegion, image: NDArray[np.uint8], networks: PpOcr, *, margin_share: float = MARGIN_SHARE
) -> tuple[str, float]:
    """Read a region of a grey image (h, w) as it stands; return the string and the reader's confidence, as `best_reading` does."""
    read = _plausible(networks.read([_crop(region, image, margin_share)]), _PLAUSIBLE)
    return read[0][:2] if read else ("", 0.0)


def _crop(region: TextRegion, image: NDArray[np.uint8], margin_share: float) -> NDArray[np.uint8]:
    margin = round(margin_share * min(region.x1 - region.x0, region.y1 - region.y0)) + 1
    around = region.padded(margin, (image.shape[0], image.shape[1]))
    return image[around.y0 : around.y1, around.x0 : around.x1]


def is_bare(text: str) -> bool:
    """Say whether a string is empty, or a stroke or a ring alone."""
    return not text.strip() or text.strip() in BARE_SHAPES


def _plausible(
    read: Sequence[tuple[str, float]], pattern: re.Pattern[str], first: int = 0
) -> list[tuple[str, float, int]]:
    """Keep the strings that the pattern allows, with the numbers of their views, counted from `first`."""
    return [(text, sure, i) for i, (text, sure) in enumerate(read, first) if pattern.fullmatch(text)]


def read_region(region: TextRegion, image: NDArray[np.uint8], networks: PpOcr) -> TextRegion:
    """Return the region with its string, and what kind of text it seems to be.

    Software writes upright; what reads only turned or mirrored was lead on the film. What reads upright may be either.
    """
    text, sure, view = best_reading(region, image, networks)
    if sure < _UNREADABLE:
        return region
    kind = "lead_marker" if view else "overlay" if len(text) > 2 else "text"
    return replace(region, text=text, kind=kind)
