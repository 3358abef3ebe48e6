"""Images become text regions, each image once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from audit.images import read_gray
from audit.records import Record, TextRegion
from audit.text.cache import RegionCache


def find_regions(
    records: Sequence[Record], cache: RegionCache, on_image: Callable[[], None]
) -> dict[str, tuple[TextRegion, ...]]:
    """Find the text of every record.

    Parameters
    ----------
    records : sequence of Record
        Images to look at; one is held at a time.
    cache : RegionCache
        Holds what was found before, and the detector for the rest.
    on_image : callable
        Called once for every image that is done.

    Returns
    -------
    dict
        Record id -> regions inside the image, in reading order; empty where there is no text.
    """
    found = {}
    for record in records:
        image = read_gray(record.path)
        height, width = image.shape
        inside = (region.padded(0, (height, width)) for region in cache.find(image))
        found[record.id] = tuple(r for r in inside if r.x1 > r.x0 and r.y1 > r.y0)
        on_image()
    return found
