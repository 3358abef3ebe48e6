"""Recurring places: keypoints whose nearest neighbours are close on some patients' images and distant on the others'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.facts import GreyImage
from audit.perturbations.places import Box

Field = NDArray[np.float32]

KEYPOINTS = 100
"""Keypoints of one image, the strongest."""
QUERY_IMAGES = 80
"""Images whose keypoints are asked for on all others: an object on a tenth of the images is on several of them."""
_WINDOW = 6.0
"""Side of a descriptor's window over its keypoint's diameter."""
_SIDES_PX = (11, 56)
"""Least and largest side of the window: smaller ones are noise, larger ones anatomy."""
_LEAST_SEPARATION = 2.9
"""Two halves of one bell curve are 2.65 standard deviations apart: what recurs on some images only has a gap."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A place on one image that recurs on others."""

    image: int
    """Index of the image."""
    box: Box
    """The place, at the scale of the search."""
    separation: float
    """Gap between near and far images, in standard deviations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Described:
    centres: Field
    sides: Field
    vectors: Field


def split_scores(scores: NDArray[np.float64], least: int) -> tuple[float, float, int]:
    """Split scores into high and low ones where the gap is widest.

    Parameters
    ----------
    scores : ndarray of float64, (n,)
    least : int
        Scores on either side, at least.

    Returns
    -------
    tuple of (float, float, int)
        Distance of the means in pooled standard deviations, the threshold between, and how many are high; no split gives 0.
    """
    separation, threshold, high = _splits(scores[None], least)
    return float(separation[0]), float(threshold[0]), int(high[0])


def _splits(
    scores: NDArray[np.float64], least: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Do the same for rows of scores (q, n)."""
    q, n = scores.shape
    if n < 2 * least:
        return np.zeros(q), np.ones(q), np.zeros(q, dtype=np.int64)
    falling = -np.sort(-scores, axis=1)
    sums, squares = falling.cumsum(1), (falling**2).cumsum(1)
    k = np.arange(least, n - least + 1)
    first, second = sums[:, k - 1], sums[:, -1:] - sums[:, k - 1]
    within = squares[:, -1:] - first**2 / k - second**2 / (n - k)
    # A floor: scores that agree to the last digit have no spread, and no gap of infinite width.
    spread = np.sqrt(np.maximum(within / n, 0.02**2))
    gaps = (first / k - second / (n - k)) / spread
    best = gaps.argmax(1)
    rows = np.arange(q)
    high = k[best]
    threshold = (falling[rows, high - 1] + falling[rows, np.minimum(high, n - 1)]) / 2
    return gaps[rows, best], threshold, high


def find_candidates(images: Sequence[GreyImage], queries: Sequence[int], *, least: int, most: int) -> list[Candidate]:
    """Find places that are nearly alike on at least `least` images, and on the others not.

    Parameters
    ----------
    images : sequence of ndarray of uint8, (h, w)
        One a patient, at the scale of the search, free of text.
    queries : sequence of int
        Indices of the images whose places are asked for.
    least : int
        Images that must show a place.
    most : int
        Candidates, at most.

    Returns
    -------
    list of Candidate
        The widest gap first; of places that overlap on an image only the first.
    """
    described = [_describe(image) for image in images]
    asked = [(i, k) for i in queries for k in range(len(described[i].vectors))]
    if not asked:
        return []
    vectors = np.stack([described[i].vectors[k] for i, k in asked])
    nearest = np.full((len(asked), len(images)), -1.0, dtype=np.float32)
    for place, of_image in enumerate(described):
        if len(of_image.vectors):
            nearest[:, place] = (vectors @ of_image.vectors.T).max(1)
    gaps, _, high = _splits(nearest.astype(np.float64), least)
    order = np.argsort(-gaps, kind="stable")
    chosen: list[Candidate] = []
    # Where the chosen ones lie on every image: the same object is found at several scales and from every image that shows it.
    known: list[tuple[int, Field]] = []
    for index in order.tolist():
        if gaps[index] < _LEAST_SEPARATION or len(chosen) == most:
            break
        i, k = asked[index]
        centre, side = described[i].centres[k], float(described[i].sides[k])
        if any(image == i and np.abs(other - centre).max() < 0.75 * side for image, other in known):
            continue
        x, y = (int(v) for v in np.rint(centre))
        half = max(5, round(side / 2))
        height, width = images[i].shape
        box = (max(0, x - half), max(0, y - half), min(width, x + half + 1), min(height, y + half + 1))
        chosen.append(Candidate(image=i, box=box, separation=float(gaps[index])))
        shown = np.argsort(-nearest[index], kind="stable")[: int(high[index])]
        for place in {*shown.tolist(), i}:
            of_image = described[place]
            known.append((place, of_image.centres[int((of_image.vectors @ vectors[index]).argmax())]))
    return chosen


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
