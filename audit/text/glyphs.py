"""Markers that look alike: crops of text, clustered by their shape."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering

from audit.data.records import Record
from audit.data.strings import MIN_PATIENTS, StringPolicy

GLYPH_PX = 24
# Mean cosine distance between two clusters' glyphs up to which they are one marker.
SAME_GLYPH = 0.35
# Agglomeration needs the distances of all pairs; beyond this a seeded sample stands for the rest.
MAX_GLYPHS = 3_000
# What stands on fewer images says nothing of a class.
MIN_IMAGES = 3
_TOKEN = re.compile(r"[A-Z0-9]+(?:-[A-Z0-9]+)*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Glyph:
    """A cluster of regions that look alike, whatever was read."""

    name: str
    """Its feature, glyph:N."""
    n_regions: int
    """Regions in it."""
    strings: Mapping[str, int]
    """What was read in them, where it may be shown."""
    picture: NDArray[np.uint8]
    """Their mean (GLYPH_PX, GLYPH_PX); grey where images of too few patients are in it."""


def tokens_of(text: str) -> list[str]:
    """Return the words of a string, in capitals: what an L, a PORTABLE or a date is compared by."""
    return _TOKEN.findall(text.upper())


def glyph_of(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a crop at GLYPH_PX squared, without its mean and of unit length, so that a product is a correlation."""
    small = cv2.resize(crop, (GLYPH_PX, GLYPH_PX), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    length = float(np.linalg.norm(small))
    return np.asarray(small / length if length > 0 else small, dtype=np.float32)


def cluster_glyphs(
    crops: Sequence[tuple[int, str, NDArray[np.float32]]],
    features: dict[str, set[int]],
    records: Sequence[Record],
    policy: StringPolicy,
) -> tuple[Glyph, ...]:
    """Cluster the glyphs, add `glyph:N` to the features, and return the clusters of MIN_IMAGES images or more."""
    kept = [i for i, (_, _, glyph) in enumerate(crops) if glyph.any()]
    if len(kept) < MIN_IMAGES:
        return ()
    stack = np.stack([crops[i][2] for i in kept])
    model = AgglomerativeClustering(n_clusters=None, distance_threshold=SAME_GLYPH, metric="cosine", linkage="average")
    members: defaultdict[int, list[int]] = defaultdict(list)
    for index, cluster in zip(kept, model.fit_predict(stack).tolist(), strict=True):
        members[cluster].append(index)
    glyphs: list[Glyph] = []
    for indices in sorted(members.values(), key=lambda m: (-len(m), m[0])):
        images = {crops[i][0] for i in indices}
        if len(images) < MIN_IMAGES:
            continue
        name = f"glyph:{len(glyphs) + 1}"
        features[name] = images
        mean = np.mean([crops[i][2] for i in indices], axis=0).reshape(GLYPH_PX, GLYPH_PX)
        span = float(np.ptp(mean)) or 1.0
        patients = {records[i].patient for i in images if records[i].patient_known}
        # Of few patients' images, the mean may be somebody's name.
        shown = mean if len(patients) >= MIN_PATIENTS else np.full_like(mean, mean.min() + span / 2)
        tokens = [tokens_of(crops[i][1]) for i in indices]
        strings = Counter(" ".join(t) for t in tokens if t and all(map(policy.shows, t)))
        glyphs.append(
            Glyph(
                name=name,
                n_regions=len(indices),
                strings=dict(sorted(strings.items(), key=lambda item: (-item[1], item[0]))[:5]),
                picture=np.asarray((shown - mean.min()) / span * 255, dtype=np.uint8),
            )
        )
    return tuple(glyphs)
