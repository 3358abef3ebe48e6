"""Text or place? Relevance inside text, compared with the same place in heatmaps of images whose text was inpainted.

A network that watches a corner for words gives the corner relevance even where no word stands. Relocation along the border
would take that for relevance of text; the same place in other images, their text inpainted, shows it for what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.relevance.heatmaps import read_heatmaps
from audit.relevance.regions import exceedance
from audit.store.results import RelevanceRow

MAX_NULL_MAPS = 100
"""Maps that are held in memory; from so many on, more would not change the third digit of p."""


def with_same_place(rows: Iterable[RelevanceRow], heatmaps: Sequence[Path], n_images: int) -> Iterator[RelevanceRow]:
    """Yield the rows with `same_place_p`, and with the larger of the two p as `placebo_p`.

    Parameters
    ----------
    rows : iterable of RelevanceRow
        In the order of the heatmaps.
    heatmaps : sequence of Path
        Shards.
    n_images : int
        How many images they hold in all.
    """
    places, nulls = _null_maps(heatmaps, n_images)
    for number, row in enumerate(rows):
        others = places != number
        if row.mass_in_text is None or row.relocation_p is None or not others.any():
            yield row
            continue
        cover = np.zeros(nulls.shape[1:], dtype=np.bool_)
        for x0, y0, x1, y1 in row.map_boxes:
            cover[y0:y1, x0:x1] = True
        p = exceedance(row.mass_in_text, nulls[others][:, cover].sum(axis=1, dtype=np.float64).tolist())
        yield replace(row, same_place_p=p, placebo_p=max(p, row.relocation_p))


def _null_maps(heatmaps: Sequence[Path], n_images: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return which images the null maps are of, and the maps (m, h, w), each its positive part over its sum."""
    chosen = np.unique(np.linspace(0, n_images - 1, min(n_images, MAX_NULL_MAPS)).round().astype(np.intp))
    wanted = set(chosen.tolist())
    kept, places = [], []
    for number, maps in enumerate(read_heatmaps(heatmaps)):
        positive = np.clip(maps.bare, 0, None)
        total = float(positive.sum(dtype=np.float64))
        if number in wanted and total > 0:
            places.append(number)
            kept.append(positive / np.float32(total))
    if not kept:
        return np.empty(0, dtype=np.intp), np.empty((0, 0, 0), dtype=np.float32)
    return np.array(places, dtype=np.intp), np.stack(kept)
