"""How much of the text a finder finds, by class, source and kind: an audit can only edit what was found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

from audit.data.groups import UNKNOWN
from audit.data.images import read_image
from audit.data.records import TextRegion
from audit.store.group import ALL, Group
from audit.text.base import TextFinder
from audit.text.boxes import BoxedImage
from audit.text.merging import area_px, intersection_px
from audit.text.planes import find_on_planes

# A box is found when so much of it is covered: what masking needs, and no more.
COVERED_SHARE = 0.7
# A region is right where half of it lies on text, or where it covers half of a box without being this many times larger.
RIGHT_SHARE = 0.5
MAX_TIMES_LARGER = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class Recall:
    """Boxes of one group that were found."""

    group: Group
    """All boxes, or those of a label, a source, or a kind."""
    n_boxes: int
    """Hand-drawn boxes."""
    n_found: int
    """Of them covered to 70 % or more by the union of the regions."""
    recall: float | None
    """Their quotient; None without boxes."""
    low: float | None
    """Lower end of Wilson's 95 % interval, on boxes as if independent."""
    high: float | None
    """Upper end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinderScore:
    """What a finder found of hand-drawn boxes."""

    detector: str
    """Its name."""
    version: str
    """Its libraries and weights."""
    n_images: int
    """Images that were looked at."""
    n_with_text: int
    """Of them with text."""
    recalls: tuple[Recall, ...]
    """All boxes, then each label, source and kind."""
    fully_covered_share: float | None
    """Share of the images with text whose every box was found."""
    clean_share: float | None
    """Share of the images without text in which nothing was found."""
    false_regions_per_image: float
    """Regions that are no text."""
    precision: float | None
    """Share of the regions that are text; None where nothing was found."""


def score_finder(
    images: Sequence[BoxedImage], finder: TextFinder, on_image: Callable[[], None] = lambda: None
) -> FinderScore:
    """Run a finder over images with hand-drawn boxes and count.

    Parameters
    ----------
    images : sequence of BoxedImage
        Read one at a time.
    finder : TextFinder
        The finder.
    on_image : callable
        Called once for every image that is done.

    Raises
    ------
    ImageError
        If an image cannot be read.
    """
    boxes: defaultdict[Group, list[bool]] = defaultdict(list)
    full: list[bool] = []
    clean: list[bool] = []
    n_regions = n_false = 0
    for image in images:
        pixels = read_image(image.path, colour=True)
        regions = find_on_planes(pixels, finder.find, once=finder.looks_up)
        shape = (pixels.shape[0], pixels.shape[1])
        covered = _filled(regions, shape)
        hits = [_share(covered, box) >= COVERED_SHARE for box in image.regions]
        for box, hit in zip(image.regions, hits, strict=True):
            boxes[ALL].append(hit)
            for kind, value in (("label", image.label), ("source", image.source), ("kind", box.kind)):
                boxes[Group(kind=kind, value=value)].append(hit)
        (full if image.regions else clean).append(all(hits) if image.regions else not regions)
        n_regions += len(regions)
        n_false += _count_false(regions, (*image.regions, *image.ignored), shape)
        on_image()
    named = sorted(group for group in boxes if group != ALL and group.value != UNKNOWN)
    return FinderScore(
        detector=finder.name,
        version=finder.version,
        n_images=len(images),
        n_with_text=len(full),
        recalls=tuple(_recall(group, boxes[group]) for group in (ALL, *named)),
        fully_covered_share=float(np.mean(full)) if full else None,
        clean_share=float(np.mean(clean)) if clean else None,
        false_regions_per_image=n_false / len(images) if images else 0.0,
        precision=1 - n_false / n_regions if n_regions else None,
    )


def _recall(group: Group, hits: Sequence[bool]) -> Recall:
    n, found = len(hits), sum(hits)
    low, high = proportion_confint(found, n, alpha=0.05, method="wilson") if n else (None, None)
    return Recall(
        group=group,
        n_boxes=n,
        n_found=found,
        recall=found / n if n else None,
        low=None if low is None else float(low),
        high=None if high is None else float(high),
    )


def _count_false(regions: Sequence[TextRegion], boxes: Sequence[TextRegion], shape: tuple[int, int]) -> int:
    around = _filled(
        [box.padded(round(0.25 * min(box.x1 - box.x0, box.y1 - box.y0)) + 3, shape) for box in boxes], shape
    )
    return sum(
        _share(around, region) < RIGHT_SHARE and not any(_found_by(region, box) for box in boxes) for region in regions
    )


def _found_by(region: TextRegion, box: TextRegion) -> bool:
    covers = intersection_px(region, box) >= RIGHT_SHARE * area_px(box)
    return covers and area_px(region) <= MAX_TIMES_LARGER * area_px(box)


def _filled(regions: Sequence[TextRegion], shape: tuple[int, int]) -> NDArray[np.bool_]:
    inside = np.zeros(shape, dtype=np.bool_)
    for region in regions:
        inside[max(0, region.y0) : max(0, region.y1), max(0, region.x0) : max(0, region.x1)] = True
    return inside


def _share(inside: NDArray[np.bool_], region: TextRegion) -> float:
    window = inside[max(0, region.y0) : max(0, region.y1), max(0, region.x0) : max(0, region.x1)]
    return float(window.mean()) if window.size else 0.0
