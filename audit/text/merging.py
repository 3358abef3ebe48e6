"""Boxes of several finders that overlap become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from audit.data.records import TextRegion

# Two boxes are of the same text from this intersection over union on, or if this share of the smaller lies in the larger.
_SAME_IOU = 0.1
_SAME_SHARE = 0.6


def merge_regions(regions: Sequence[TextRegion]) -> list[TextRegion]:
    """Merge until nothing overlaps much; the more confident one's name, polygon and kind stay.

    Returns
    -------
    list of TextRegion
        In reading order.
    """
    waiting = sorted(regions, key=lambda r: (-r.confidence, r.y0, r.x0, r.y1, r.x1))
    merged = True
    while merged:
        merged, kept = False, list[TextRegion]()
        for region in waiting:
            for i, other in enumerate(kept):
                if _same(region, other):
                    kept[i] = _hull(other, region)
                    merged = True
                    break
            else:
                kept.append(region)
        waiting = kept
    return sorted(waiting, key=lambda r: (r.y0, r.x0, r.y1, r.x1))


def covered_share(region: TextRegion, others: Sequence[TextRegion]) -> float:
    """Return the largest share of a region's area that lies in one of the others."""
    return max((intersection_px(region, other) / area_px(region) for other in others), default=0.0)


def _same(a: TextRegion, b: TextRegion) -> bool:
    shared = intersection_px(a, b)
    return shared > _SAME_IOU * (area_px(a) + area_px(b) - shared) or shared > _SAME_SHARE * min(area_px(a), area_px(b))


def _hull(first: TextRegion, second: TextRegion) -> TextRegion:
    box = (
        min(first.x0, second.x0),
        min(first.y0, second.y0),
        max(first.x1, second.x1),
        max(first.y1, second.y1),
    )
    if box == (first.x0, first.y0, first.x1, first.y1):
        return first
    x0, y0, x1, y1 = box
    return replace(first, x0=x0, y0=y0, x1=x1, y1=y1, polygon=())


def intersection_px(a: TextRegion, b: TextRegion) -> int:
    """Return the area that two boxes share, in pixels."""
    return max(0, min(a.x1, b.x1) - max(a.x0, b.x0)) * max(0, min(a.y1, b.y1) - max(a.y0, b.y0))


def area_px(region: TextRegion) -> int:
    """Return a box's area, in pixels."""
    return (region.x1 - region.x0) * (region.y1 - region.y0)
