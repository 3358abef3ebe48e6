"""Share of relevance inside text, compared with the same boxes elsewhere and with the same place without text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.records import TextRegion

Box = tuple[int, int, int, int]
_TRIES = 20
# The flat rule spreads relevance over the 7 x 7 pixels under the first kernel: so far from text is without its relevance.
_CLEAR_PX = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionSummary:
    """Relevance inside the text regions of one map."""

    mass_in_text: float | None
    """Positive relevance inside over all positive relevance (Arras et al. 2022); None without text or relevance."""
    signed: float
    """Signed relevance inside, in the unit of the start (a logit)."""
    area_share: float
    """Area of the regions over the map's, overlaps counted once."""
    enrichment: float | None
    """mass_in_text / area_share; 1 is chance."""
    rank_accuracy: float | None
    """Share of the pixels of most relevance, as many as the regions have, that lie inside (Arras et al. 2022)."""
    box_masses: tuple[float, ...]
    """mass_in_text of each box alone; empty without relevance."""
    box_areas: tuple[float, ...]
    """Area of each box over the map's."""
    placebo_low: float | None
    """2.5 % quantile of the mass inside relocated regions."""
    placebo_median: float | None
    """Median of the same."""
    placebo_high: float | None
    """97.5 % quantile of the same."""
    placebo_mean: float | None
    """Mean of the same."""
    relocation_p: float | None
    """(1 + relocations with at least the observed mass) / (1 + relocations)."""


def map_boxes(regions: Sequence[TextRegion], stored: tuple[int, ...], shape: tuple[int, ...]) -> tuple[Box, ...]:
    """Carry regions from a stored image (h, w) to a map (h, w), rounded outwards.

    Returns
    -------
    tuple of (x0, y0, x1, y1)
        Half-open, inside the map.
    """
    ratio_y, ratio_x = shape[0] / stored[0], shape[1] / stored[1]
    boxes = []
    for region in regions:
        x0, y0 = math.floor(region.x0 * ratio_x), math.floor(region.y0 * ratio_y)
        x1, y1 = math.ceil(region.x1 * ratio_x), math.ceil(region.y1 * ratio_y)
        boxes.append((max(0, x0), max(0, y0), min(shape[1], x1), min(shape[0], y1)))
    return tuple(b for b in boxes if b[2] > b[0] and b[3] > b[1])


def summarise_relevance(
    relevance: NDArray[np.floating], boxes: Sequence[Box], rng: np.random.Generator, n_placebo: int = 200
) -> RegionSummary:
    """Measure the relevance inside boxes, and inside the same boxes relocated.

    A relocation moves every box along the border at its own distance from it, to where no text is near: half
    of a map's positive relevance can sit in its outer pixels, so that a null from anywhere would be wrong.

    Parameters
    ----------
    relevance : ndarray (h, w)
        Signed map.
    boxes : sequence of (x0, y0, x1, y1)
        Text regions in the map's pixels.
    rng : numpy Generator
        For the relocations.
    n_placebo : int
        Number of relocations.
    """
    cover = _cover(boxes, relevance.shape)
    positive = np.clip(relevance, 0, None).astype(np.float64)
    total = float(positive.sum())
    area_share = float(cover.mean())
    signed = float(relevance[cover].sum(dtype=np.float64))
    areas = tuple((x1 - x0) * (y1 - y0) / relevance.size for x0, y0, x1, y1 in boxes)
    if not boxes or total <= 0:
        return RegionSummary(
            mass_in_text=None,
            signed=signed,
            area_share=area_share,
            enrichment=None,
            rank_accuracy=None,
            box_masses=(),
            box_areas=areas,
            placebo_low=None,
            placebo_median=None,
            placebo_high=None,
            placebo_mean=None,
            relocation_p=None,
        )
    mass = float(positive[cover].sum()) / total
    null = [float(positive[moved].sum()) / total for moved in _relocations(boxes, cover, rng, n_placebo)]
    low, median, high = np.quantile(null, [0.025, 0.5, 0.975]).tolist() if null else (None, None, None)
    return RegionSummary(
        mass_in_text=mass,
        signed=signed,
        area_share=area_share,
        enrichment=mass / area_share,
        rank_accuracy=_rank_accuracy(relevance, cover),
        box_masses=tuple(float(positive[y0:y1, x0:x1].sum()) / total for x0, y0, x1, y1 in boxes),
        box_areas=areas,
        placebo_low=low,
        placebo_median=median,
        placebo_high=high,
        placebo_mean=float(np.mean(null)) if null else None,
        relocation_p=exceedance(mass, null) if null else None,
    )


def mass_inside(relevance: NDArray[np.floating], boxes: Sequence[Box]) -> float | None:
    """Return the share of a map's positive relevance inside boxes; None without any."""
    positive = np.clip(relevance, 0, None).astype(np.float64)
    total = float(positive.sum())
    return float(positive[_cover(boxes, relevance.shape)].sum()) / total if total > 0 else None


def exceedance(observed: float, null: Sequence[float]) -> float:
    """Return (1 + null values that are at least the observed one) / (1 + null values): the p of a permutation test."""
    # Counted with a hair of tolerance: equal sums in another order must count as equal.
    return (1 + sum(value >= observed * (1 - 1e-12) for value in null)) / (1 + len(null))


def _rank_accuracy(relevance: NDArray[np.floating], cover: NDArray[np.bool_]) -> float:
    n_inside = int(cover.sum())
    most = np.argsort(-relevance, axis=None, kind="stable")[:n_inside]
    return float(cover.ravel()[most].mean())


def _cover(boxes: Sequence[Box], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    cover = np.zeros(shape, dtype=np.bool_)
    for x0, y0, x1, y1 in boxes:
        cover[y0:y1, x0:x1] = True
    return cover


def _relocations(
    boxes: Sequence[Box], cover: NDArray[np.bool_], rng: np.random.Generator, n_placebo: int
) -> list[NDArray[np.bool_]]:
    """Return covers of relocated boxes; fewer than asked for where there is little room."""
    # Summed area of the text and what is close to it, so that "touches text" is four look-ups.
    reach = (2 * _CLEAR_PX + 1, 2 * _CLEAR_PX + 1)
    grown = cv2.dilate(cover.astype(np.uint8), np.ones(reach, np.uint8))
    summed = np.pad(grown.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    covers = []
    for _ in range(n_placebo):
        moved = [_move(box, summed, cover.shape, rng) for box in boxes]
        if all(m is not None for m in moved):
            covers.append(_cover([m for m in moved if m is not None], cover.shape))
    return covers


def _move(box: Box, summed: NDArray[np.int64], shape: tuple[int, ...], rng: np.random.Generator) -> Box | None:
    """Draw a place for a box at its own distance from the border, away from text."""
    height, width = shape
    w, h = box[2] - box[0], box[3] - box[1]
    distance = min(box[0], box[1], width - box[2], height - box[3])
    far_left, far_top = width - w - distance, height - h - distance
    if far_left < distance or far_top < distance:
        return None
    n_x, n_y = far_left - distance + 1, far_top - distance + 1
    for _ in range(_TRIES):
        along = int(rng.integers(2 * n_x + 2 * n_y))
        if along < 2 * n_x:
            left, top = distance + along % n_x, (distance, far_top)[along // n_x]
        else:
            along -= 2 * n_x
            left, top = (distance, far_left)[along // n_y], distance + along % n_y
        touched = summed[top + h, left + w] - summed[top, left + w] - summed[top + h, left] + summed[top, left]
        if touched == 0:
            return left, top, left + w, top + h
    return None
