"""The groups that a network's heatmaps form, with pictures: what a reviewer looks at to find what nobody named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.data.images import read_gray
from audit.data.records import Record
from audit.files import write_atomically
from audit.prediction.covering import Covered, cover_text
from audit.relevance.heatmaps import read_heatmaps
from audit.relevance.pictures import film_jpeg, relevance_png, shown_size
from audit.relevance.spectral_analysis import Cluster, find_clusters, grid_maps
from audit.store.folder import RunFolder
from audit.store.results import RelevanceRow

N_EXEMPLARS = 3
EXEMPLAR_PX = 256
_FOLDER = "clusters"


def discover_groups(
    run: RunFolder,
    records: Sequence[Record],
    rows: Sequence[RelevanceRow],
    heatmaps: Sequence[Path],
    covered: Covered,
    *,
    seed: int,
) -> None:
    """Write `clusters/clusters.json`, and of each group its mean map and its most typical images.

    Parameters
    ----------
    records, rows : sequences of the same n images
        What was attributed.
    heatmaps : sequence of Path
        Shards of their maps, in the same order.
    covered : mapping
        What the pictures do not show.
    seed : int
        Of the clustering.
    """
    if run.has(f"{_FOLDER}/clusters.json"):
        return
    pairs = zip(read_heatmaps(heatmaps), rows, strict=True)
    grids = grid_maps((maps.chosen, row.map_boxes) for maps, row in pairs)
    outputs = [row.target_class for row in rows]
    entries: list[dict[str, Any]] = []
    owner: dict[int, int] = {}
    for output, clusters in find_clusters(grids, outputs, seed).items():
        for cluster in clusters:
            number = len(entries)
            owner.update(dict.fromkeys(cluster.members, number))
            entries.append(_entry(number, output, outputs.count(output), cluster, records))
    sums = _draw(run, records, heatmaps, owner, entries, covered)
    for number, total in enumerate(sums):
        write_atomically(run.path / _FOLDER / f"{number:02d}-mean.png", relevance_png(total))
    for entry in entries:
        del entry["members"]
    run.write_json(f"{_FOLDER}/clusters.json", {"clusters": entries})


def _entry(number: int, output: str, n_output: int, cluster: Cluster, records: Sequence[Record]) -> dict[str, Any]:
    members = [records[i] for i in cluster.members]
    return {
        "output": output,
        "n_images": len(members),
        "n_of_output": n_output,
        "spot": dict(zip(("x0", "y0", "x1", "y1"), cluster.spot, strict=True)),
        "spot_mass": cluster.spot_mass,
        "spot_mass_elsewhere": cluster.spot_mass_elsewhere,
        "spot_text": cluster.spot_text,
        "text_mass": cluster.text_mass,
        "labels": dict(Counter(r.label for r in members).most_common()),
        "sources": dict(Counter(r.source for r in members).most_common()),
        "mean": {"file": f"{number:02d}-mean.png"},
        "exemplars": [],
        "members": cluster.members[:N_EXEMPLARS],
    }


def _draw(
    run: RunFolder,
    records: Sequence[Record],
    heatmaps: Sequence[Path],
    owner: dict[int, int],
    entries: Sequence[dict[str, Any]],
    covered: Covered,
) -> list[NDArray[np.float64]]:
    """Draw the exemplars, and return the sum of each group's maps, each map scaled to its absolute relevance."""
    sums: list[NDArray[np.float64]] = [np.zeros(0)] * len(entries)
    for i, maps in enumerate(read_heatmaps(heatmaps)):
        if i not in owner:
            continue
        number = owner[i]
        scaled = maps.chosen / (np.abs(maps.chosen).sum(dtype=np.float64) or 1.0)
        sums[number] = scaled if sums[number].size == 0 else sums[number] + scaled
        if i in entries[number]["members"]:
            stem = f"{number:02d}-{entries[number]['members'].index(i)}"
            image = cover_text(read_gray(records[i].path), covered[records[i].id])
            size = shown_size(image.shape, EXEMPLAR_PX)
            write_atomically(run.path / _FOLDER / f"{stem}.jpg", film_jpeg(image, size))
            write_atomically(run.path / _FOLDER / f"{stem}.png", relevance_png(maps.chosen))
            entries[number]["exemplars"].append(
                {
                    "record": records[i].name,
                    "label": records[i].label,
                    "source": records[i].source,
                    "n_covered": len(covered[records[i].id]),
                    "film": {"file": f"{stem}.jpg"},
                    "overlay": {"file": f"{stem}.png"},
                    "width": size[0],
                    "height": size[1],
                }
            )
    return sums
