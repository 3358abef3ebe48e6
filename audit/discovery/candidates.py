"""Places that recur in one class: keypoints that are nearly alike on many of its images, and on few of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.facts import GreyImage
from audit.perturbations.places import Box

Field = NDArray[np.float32]
Flags = NDArray[np.bool_]

KEYPOINTS = 100
"""Keypoints of one image, the strongest."""
QUERY_IMAGES = 80
"""Images whose keypoints are looked for on all others: an object on a tenth of the images is on several of them."""
_WINDOW = 6.0
"""Side of a descriptor's window over its keypoint's diameter."""
_SIDES_PX = (11, 56)
"""Least and largest side of the window: smaller ones are noise, larger ones anatomy."""
_SHARES = (0.25, 0.5, 0.8)
"""Shares of a class that may show an object: the best of so many of its images are compared with as many of the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A place on one image that recurs on others of its class."""

    image: int
    """Index of the image."""
    box: Box
    """The place, at the scale of the search."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Described:
    centres: Field
    sides: Field
    vectors: Field


@dataclass(frozen=True, kw_only=True, slots=True)
class _Told:
    gap: NDArray[np.float64]
    """Mean likeness of the class's best images minus that of the others' best, at the best share."""
    difference: NDArray[np.float64]
    """Largest difference between the share of the class and that of the others above a threshold."""
    high: NDArray[np.int64]
    """Images above that threshold."""


def find_candidates(images: Sequence[GreyImage], labels: Sequence[str], *, least: int, most: int) -> list[Candidate]:
    """Find places that tell a class from the others.

    Two rankings take turns: by the gap in likeness, which sharp objects on few images lead, and by the difference in shares, which faint
    ones on many images lead.

    Parameters
    ----------
    images : sequence of ndarray of uint8, (h, w)
        One a patient, at the scale of the search, free of text.
    labels : sequence of str
        Their classes.
    least : int
        Images that must show a place.
    most : int
        Candidates, at most.

    Returns
    -------
    list of Candidate
        Best first; of places that overlap on an image only the first.
    """
    described = [_describe(image) for image in images]
    asked = [(i, k) for i in range(min(QUERY_IMAGES, len(images))) for k in range(len(described[i].vectors))]
    if not asked:
        return []
    vectors = np.stack([described[i].vectors[k] for i, k in asked])
    nearest = np.full((len(asked), len(images)), -1.0, dtype=np.float32)
    for place, of_image in enumerate(described):
        if len(of_image.vectors):
            nearest[:, place] = (vectors @ of_image.vectors.T).max(1)
    told = _tell(nearest, np.array([i for i, _ in asked]), np.array(labels), least)
    orders = [np.argsort(-ranks, kind="stable").tolist() for ranks in (told.gap, told.difference)]
    turns = list(dict.fromkeys(index for pair in zip(*orders, strict=True) for index in pair))
    chosen: list[Candidate] = []
    # Where the chosen ones lie on every image: the same object is found at several scales and from every image that shows it.
    known: list[tuple[int, Field]] = []
    for index in turns:
        if len(chosen) == most or told.difference[index] <= 0:
            break
        i, k = asked[index]
        centre, side = described[i].centres[k], float(described[i].sides[k])
        if any(image == i and np.abs(other - centre).max() < 0.75 * side for image, other in known):
            continue
        x, y = (int(v) for v in np.rint(centre))
        half = max(5, round(side / 2))
        height, width = images[i].shape
        box = (max(0, x - half), max(0, y - half), min(width, x + half + 1), min(height, y + half + 1))
        chosen.append(Candidate(image=i, box=box))
        shown = np.argsort(-nearest[index], kind="stable")[: int(told.high[index])]
        for place in {*shown.tolist(), i}:
            of_image = described[place]
            known.append((place, of_image.centres[int((of_image.vectors @ vectors[index]).argmax())]))
    return chosen


def split_by_class(scores: NDArray[np.float64], own: Flags, others: Flags, least: int) -> tuple[float, float]:
    """Choose the threshold above which a class and the others differ most in how many of their images lie.

    Of thresholds that differ by less than a standard error of that difference the one in the widest gap between scores is taken.

    Parameters
    ----------
    scores : ndarray of float64, (n,)
        Likeness of every image.
    own, others : ndarray of bool, (n,)
        Images of the class, and images that it is compared with; an image that is neither does not count.
    least : int
        Images above the threshold, at least.

    Returns
    -------
    tuple of (float, float)
        The difference of the shares, and the threshold; 0 and infinity where there is none.
    """
    falling = np.argsort(-scores, kind="stable")
    share = own[falling].cumsum() / max(1, own.sum()) - others[falling].cumsum() / max(1, others.sum())
    many = (own | others)[falling].cumsum() >= least
    # A threshold between equal scores is none.
    high = scores[falling]
    many[:-1] &= high[:-1] > high[1:]
    if len(many):
        many[-1] = False
    if not many.any():
        return 0.0, float("inf")
    most = float(np.where(many, share, -2.0).max())
    error = np.sqrt(max(0.0, most * (1 - most)) / max(1, own.sum()))
    near = np.flatnonzero(many & (share >= most - error))
    best = int(near[(high[near] - high[near + 1]).argmax()])
    return float(share[best]), float((high[best] + high[best + 1]) / 2)


def _tell(nearest: Field, origin: NDArray[np.int64], labels: NDArray[np.str_], least: int) -> _Told:
    """Compare each query's likeness (q, n) on images of its own class, its own image left out, with that on the others."""
    rows = np.arange(len(nearest))
    own = labels[None] == labels[origin][:, None]
    others = ~own
    own[rows, origin] = False
    n_own, n_others = np.maximum(own.sum(1), 1), np.maximum(others.sum(1), 1)
    falling = np.argsort(-nearest, axis=1, kind="stable")
    counts = np.take_along_axis(own, falling, 1).cumsum(1)
    difference = counts / n_own[:, None] - np.take_along_axis(others, falling, 1).cumsum(1) / n_others[:, None]
    difference = np.where(counts >= least - 1, difference, -1.0)
    best = difference.argmax(1)
    of_own, of_others = (
        -np.sort(-np.where(flags, nearest, -1.0), axis=1).astype(np.float64) for flags in (own, others)
    )
    sums = of_own.cumsum(1), of_others.cumsum(1)
    gaps = []
    for share in _SHARES:
        k, m = (np.maximum(1, (share * counted).astype(np.int64)) for counted in (n_own, n_others))
        gaps.append(sums[0][rows, k - 1] / k - sums[1][rows, m - 1] / m)
    return _Told(gap=np.max(gaps, axis=0), difference=difference[rows, best], high=best + 1)


def _describe(image: GreyImage) -> _Described:
    """Describe the strongest keypoints of an image, upright: objects lie on radiographs the way patients do."""
    finder = cv2.SIFT.create(nfeatures=0, contrastThreshold=0.015, edgeThreshold=15)
    low, high = _SIDES_PX
    kept = [p for p in finder.detect(image, None) if low <= _WINDOW * p.size <= high]
    kept.sort(key=lambda p: (-p.response, p.pt))
    unique: dict[tuple[int, int, int], cv2.KeyPoint] = {}
    for point in kept:  # one keypoint has an entry for each of its directions
        unique.setdefault((round(point.pt[0]), round(point.pt[1]), round(point.size)), point)
    points = list(unique.values())[:KEYPOINTS]
    if not points:
        return _Described(
            centres=np.zeros((0, 2), np.float32), sides=np.zeros(0, np.float32), vectors=np.zeros((0, 128), np.float32)
        )
    upright = [cv2.KeyPoint(p.pt[0], p.pt[1], p.size, 0, p.response, p.octave) for p in points]
    _, raw = finder.compute(image, upright)
    # Square roots (Arandjelovic and Zisserman 2012): large bins no longer outweigh the rest.
    vectors = np.sqrt(raw / np.maximum(raw.sum(1, keepdims=True), 1e-9))
    return _Described(
        centres=np.array([p.pt for p in upright], dtype=np.float32),
        sides=np.array([_WINDOW * p.size for p in upright], dtype=np.float32),
        vectors=vectors.astype(np.float32),
    )
