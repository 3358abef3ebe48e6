"""The groups of a network's heatmaps, with pictures: a reviewer can find shortcuts that no suite names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.data.images import read_record
from audit.data.records import Record
from audit.files import write_atomically
from audit.prediction.covering import Covered, cover_text
from audit.relevance.heatmaps import read_heatmaps
from audit.relevance.pictures import image_jpeg, relevance_png, shown_size
from audit.relevance.spectral_analysis import Cluster, find_clusters, grid_maps
from audit.store.folder import RunFolder
from audit.store.pictures import ClustersDocument, Exemplar, HeatmapGroup, Picture, Spot
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
    if run.has(ClustersDocument.FILE):
        return
    pairs = zip(read_heatmaps(heatmaps), rows, strict=True)
    grids = grid_maps((maps.chosen, row.map_boxes) for maps, row in pairs)
    outputs = [row.target_class for row in rows]
    groups: list[_Group] = []
    owner: dict[int, int] = {}
    for output, clusters in find_clusters(grids, outputs, seed).items():
        for cluster in clusters:
            owner.update(dict.fromkeys(cluster.members, len(groups)))
            groups.append(_Group(output=output, n_of_output=outputs.count(output), cluster=cluster))
    sums, exemplars = _draw(run, records, heatmaps, owner, groups, covered)
    for number, total in enumerate(sums):
        write_atomically(run.path / _FOLDER / f"{number:02d}-mean.png", relevance_png(total))
    entries = tuple(_entry(n, group, exemplars[n], records) for n, group in enumerate(groups))
    run.write(ClustersDocument(clusters=entries))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    output: str
    n_of_output: int
    cluster: Cluster


def _entry(number: int, group: _Group, exemplars: Sequence[Exemplar], records: Sequence[Record]) -> HeatmapGroup:
    cluster = group.cluster
    members = [records[i] for i in cluster.members]
    x0, y0, x1, y1 = cluster.spot
    return HeatmapGroup(
        output=group.output,
        n_images=len(members),
        n_of_output=group.n_of_output,
        spot=Spot(x0=x0, y0=y0, x1=x1, y1=y1),
        spot_mass=cluster.spot_mass,
        spot_mass_elsewhere=cluster.spot_mass_elsewhere,
        spot_text=cluster.spot_text,
        text_mass=cluster.text_mass,
        labels=dict(Counter(str(r.label) for r in members).most_common()),
        sources=dict(Counter(r.source for r in members).most_common()),
        mean=Picture(file=f"{number:02d}-mean.png"),
        exemplars=tuple(exemplars),
    )


def _draw(
    run: RunFolder,
    records: Sequence[Record],
    heatmaps: Sequence[Path],
    owner: dict[int, int],
    groups: Sequence[_Group],
    covered: Covered,
) -> tuple[list[NDArray[np.float64]], list[list[Exemplar]]]:
    """Draw the exemplars; return the sum of each group's maps, each map scaled to its absolute relevance, and its exemplars."""
    sums: list[NDArray[np.float64]] = [np.zeros(0)] * len(groups)
    exemplars: list[list[Exemplar]] = [[] for _ in groups]
    for i, maps in enumerate(read_heatmaps(heatmaps)):
        if i not in owner:
            continue
        number = owner[i]
        scaled = maps.chosen / (np.abs(maps.chosen).sum(dtype=np.float64) or 1.0)
        sums[number] = scaled if sums[number].size == 0 else sums[number] + scaled
        typical = groups[number].cluster.members[:N_EXEMPLARS]
        if i in typical:
            stem = f"{number:02d}-{typical.index(i)}"
            image = cover_text(read_record(records[i]), covered[records[i].id])
            size = shown_size(image.shape, EXEMPLAR_PX)
            write_atomically(run.path / _FOLDER / f"{stem}.jpg", image_jpeg(image, size))
            write_atomically(run.path / _FOLDER / f"{stem}.png", relevance_png(maps.chosen))
            exemplars[number].append(
                Exemplar(
                    record=records[i].name,
                    label=records[i].label,
                    source=records[i].source,
                    n_covered=len(covered[records[i].id]),
                    image=Picture(file=f"{stem}.jpg"),
                    overlay=Picture(file=f"{stem}.png"),
                    width=size[0],
                    height=size[1],
                )
            )
    return sums, exemplars
