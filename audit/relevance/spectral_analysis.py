"""Groups of images that a network looks at in the same way: spectral relevance analysis (Lapuschkin et al. 2019).

Nobody has to name an artefact for it to be found here. Images whose relevance lies alike form a group; where a group's
relevance is that of no other image, something stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import laplacian
from sklearn.cluster import SpectralClustering
from sklearn.neighbors import kneighbors_graph

GRID = 16
"""Cells along a side: a marker is about one cell large."""
SPOT = 3
"""Cells along a side of the spot in which a group differs."""
MIN_IMAGES = 12
MAX_IMAGES = 1_000
"""Of one output; the time grows with the cube, and a thousand tell as much."""
MIN_GROUP = 4
MAX_GROUPS = 6

Box = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Grids:
    """Where the relevance of n images lies, for an output or against it, in cells."""

    mass: NDArray[np.float64]
    """(n, GRID, GRID) share of an image's absolute relevance in each cell."""
    in_text: NDArray[np.float64]
    """(n, GRID, GRID) the part of it that lies in text."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Images with similar heatmaps of one output."""

    members: tuple[int, ...]
    """Their numbers, the most typical first."""
    spot: tuple[float, float, float, float]
    """Where their relevance differs most from all other images': x0, y0, x1, y1 as shares of the image."""
    spot_mass: float
    """Mean share of their relevance in the spot."""
    spot_mass_elsewhere: float
    """The same of all other images."""
    spot_text: float
    """How much of the spot's relevance lies in text."""
    text_mass: float
    """Mean share of their relevance that lies in text, anywhere."""


def grid_maps(maps: Iterable[tuple[NDArray[np.floating], Sequence[Box]]]) -> Grids:
    """Sum maps (h, w), each with its text boxes, into cells; a map without relevance becomes zeros."""
    mass, in_text = [], []
    for relevance, boxes in maps:
        size = np.abs(relevance.astype(np.float64))
        total = float(size.sum()) or 1.0
        text = np.zeros_like(size)
        for x0, y0, x1, y1 in boxes:
            text[y0:y1, x0:x1] = size[y0:y1, x0:x1]
        mass.append(_cells(size) / total)
        in_text.append(_cells(text) / total)
    return Grids(mass=np.array(mass), in_text=np.array(in_text))


def find_clusters(grids: Grids, outputs: Sequence[str], seed: int) -> dict[str, tuple[Cluster, ...]]:
    """Cluster the images of each output.

    Parameters
    ----------
    grids : Grids
        Of n images.
    outputs : sequence of str
        At which output each image's relevance started, (n,).
    seed : int
        Of the clustering.

    Returns
    -------
    dict
        Output -> its groups, those first that differ most from all other images; outputs of fewer than `MIN_IMAGES`
        images are left out.
    """
    found = {}
    names = np.array(outputs)
    alive = grids.mass.sum(axis=(1, 2)) > 0
    for output in sorted(set(outputs)):
        chosen = np.flatnonzero((names == output) & alive)
        if len(chosen) < MIN_IMAGES:
            continue
        chosen = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), MAX_IMAGES)).round().astype(np.intp)]
        labels = _labels(grids.mass[chosen], seed)
        groups = [chosen[labels == label] for label in np.unique(labels)]
        clusters = [_describe(grids, group, alive) for group in groups if len(group) >= MIN_GROUP]
        found[output] = tuple(sorted(clusters, key=lambda c: c.spot_mass_elsewhere - c.spot_mass))
    return found


def _labels(mass: NDArray[np.float64], seed: int) -> NDArray[np.intp]:
    # The distance of square roots of shares (Hellinger) does not let one bright cell decide alone.
    features = np.sqrt(mass.reshape(len(mass), -1))
    neighbours = min(len(mass) - 1, max(5, round(np.sqrt(len(mass)))))
    graph = kneighbors_graph(features, neighbours, include_self=False).toarray()
    # A breath of likeness between all images, so that groups which share no neighbour are still one graph.
    affinity = 0.5 * (graph + graph.T) + 1e-4
    # As many groups as there are eigenvalues before the widest gap (von Luxburg 2007).
    values = np.linalg.eigvalsh(laplacian(affinity, normed=True))[: MAX_GROUPS + 1]
    n_groups = int(np.diff(values).argmax()) + 1
    if n_groups == 1:
        return np.zeros(len(mass), dtype=np.intp)
    clustering = SpectralClustering(
        n_groups, affinity="precomputed", assign_labels="cluster_qr", random_state=seed, eigen_solver="arpack"
    )
    return np.asarray(clustering.fit_predict(affinity), dtype=np.intp)


def _describe(grids: Grids, group: NDArray[np.intp], alive: NDArray[np.bool_]) -> Cluster:
    others = np.setdiff1d(np.flatnonzero(alive), group)
    mean = grids.mass[group].mean(axis=0)
    rest = grids.mass[others].mean(axis=0) if len(others) else np.zeros_like(mean)
    windows = np.lib.stride_tricks.sliding_window_view(mean - rest, (SPOT, SPOT)).sum(axis=(2, 3))
    y, x = (int(v) for v in np.unravel_index(windows.argmax(), windows.shape))
    spot = np.s_[:, y : y + SPOT, x : x + SPOT]
    inside = float(grids.mass[group][spot].sum(axis=(1, 2)).mean())
    text = float(grids.in_text[group][spot].sum(axis=(1, 2)).mean())
    distances = np.square(np.sqrt(grids.mass[group]) - np.sqrt(mean)).sum(axis=(1, 2))
    return Cluster(
        members=tuple(int(i) for i in group[np.argsort(distances, kind="stable")]),
        spot=(x / GRID, y / GRID, (x + SPOT) / GRID, (y + SPOT) / GRID),
        spot_mass=inside,
        spot_mass_elsewhere=float(grids.mass[others][spot].sum(axis=(1, 2)).mean()) if len(others) else 0.0,
        spot_text=text / inside if inside else 0.0,
        text_mass=float(grids.in_text[group].sum(axis=(1, 2)).mean()),
    )


def _cells(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum a map into cells; a pixel on a border is shared in proportion."""
    mean = cv2.resize(values, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return np.asarray(mean, dtype=np.float64) * (values.size / GRID**2)
