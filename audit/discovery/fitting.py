"""A candidate becomes a template: correlated with every image of its half, averaged, fitted, and counted on the other half."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact, norm

from audit.data.pixels.facts import GreyImage
from audit.discovery.candidates import Candidate, split_by_class
from audit.discovery.outline import outline
from audit.perturbations.places import Box
from audit.perturbations.suspects import best_place
from audit.store.suspects import LEAST_PATIENTS, LONGEST_TEMPLATE_PX

_GROWN = 2.0
"""How far around a candidate its object may reach, in sides of the candidate."""
_RIM_CONTRAST = 0.25
"""Contrast of an object's rim, as a share of that of its clearest part, at least."""
_CORE_ERROR, _RIM_ERROR = 0.05, 0.01
"""Images with the object differ from those without: in its core more than any pixel of the window would by chance, with the first
probability; and around it, as far as it is connected, more than a single pixel would, with the second."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Half:
    """The images of half of the patients, one a patient."""

    images: tuple[GreyImage, ...]
    """(h, w), at the scale of the search, free of text."""
    labels: tuple[str, ...]
    """Their classes."""
    names: tuple[str, ...]
    """What sightings call them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """How like a template every image of a half is."""

    scores: NDArray[np.float64]
    """Likeness at the best place."""
    places: tuple[tuple[int, int], ...]
    """Left and top edge of that place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A candidate after fitting."""

    template: GreyImage
    """Mean over the images that show it."""
    reach: tuple[Box, ...]
    """Boxes that the object fills, from the template's upper left corner; the first is the template's own part of it."""
    label: str
    """Class that it tells from the others."""
    threshold: float
    """Least likeness of an image that shows it."""
    told: float
    """Share of the class that shows it minus that of the others, among those that proposed it."""
    separation: float
    """Gap in likeness between images with it and without, in standard deviations."""
    own: Scored
    """The half that proposed it."""
    other: Scored
    """The half that did not."""
    p: float
    """Of Fisher's exact test on the half that did not propose it: that the class shows it no more often than the others."""

    @property
    def shows(self) -> NDArray[np.bool_]:
        """Which images of the proposing half show it."""
        return self.own.scores >= self.threshold

    @property
    def shown_by_others(self) -> NDArray[np.bool_]:
        """Which images of the other half show it."""
        return self.other.scores >= self.threshold


def fit(candidate: Candidate, half: Half, other: Half) -> Fitted | None:
    """Fit a candidate to what the images of its class share, and count it on the patients who did not propose it.

    Parameters
    ----------
    candidate : Candidate
        Of the half that proposes.
    half, other : Half
        The half that proposes, and the other.

    Returns
    -------
    Fitted or None
        None where too few images show it.
    """
    x0, y0, x1, y1 = candidate.box
    raw = half.images[candidate.image][y0:y1, x0:x1]
    label = half.labels[candidate.image]
    first = _split(half, raw, label, left_out=candidate.image)
    if first is None:
        return None
    averaged = _split(half, _mean_patch(half.images, first, (0, 0, raw.shape[1], raw.shape[0])), label)
    if averaged is None:
        return None
    box = _extent(half.images, averaged)
    best = _split(half, _mean_patch(half.images, averaged, box), label)
    # The clearer template locates the object; the box of what its images share is what an edit takes.
    if best is None or best.told * best.separation < averaged.told * averaged.separation:
        best = replace(averaged, reach=(box,))
    there = _score(other.images, best.template)
    found = there.scores >= best.threshold
    of_class = np.array(other.labels) == label
    counts = [[int((found & flags).sum()), int((~found & flags).sum())] for flags in (of_class, ~of_class)]
    return replace(best, other=there, p=float(fisher_exact(counts, alternative="greater").pvalue))


def outlined(fitted: Fitted, half: Half) -> Fitted:
    """Return a fitted template with the shape of its whole object, as far as that reaches."""
    shows, lacks = np.flatnonzero(fitted.shows).tolist(), np.flatnonzero(~fitted.shows).tolist()
    reach = outline(
        [half.images[i] for i in shows],
        [fitted.own.places[i] for i in shows],
        [half.images[i] for i in lacks],
        fitted.reach[0],
    )
    return replace(fitted, reach=reach)


def _score(images: Sequence[GreyImage], template: GreyImage) -> Scored:
    scored = [best_place(image, template) for image in images]
    return Scored(
        scores=np.array([score for score, _, _ in scored], dtype=np.float64),
        places=tuple((left, top) for _, left, top in scored),
    )


def _split(half: Half, template: GreyImage, label: str, left_out: int | None = None) -> Fitted | None:
    scored = _score(half.images, template)
    own = np.array(half.labels) == label
    others = ~own
    if left_out is not None:
        own[left_out] = False
    told, threshold = split_by_class(scored.scores, own, others, LEAST_PATIENTS)
    shows = scored.scores >= threshold
    if told <= 0 or shows.sum() < LEAST_PATIENTS:
        return None
    high, low = scored.scores[shows], scored.scores[~shows]
    # A floor: scores that agree to the last digit have no spread, and no gap of infinite width.
    spread = np.sqrt(max((high.var() * high.size + low.var() * low.size) / scored.scores.size, 0.02**2))
    return Fitted(
        template=template,
        reach=((0, 0, template.shape[1], template.shape[0]),),
        label=label,
        threshold=threshold,
        told=told,
        separation=float((high.mean() - low.mean()) / spread),
        own=scored,
        other=scored,
        p=1.0,
    )


def _windows(
    images: Sequence[GreyImage], chosen: Sequence[int], places: Sequence[tuple[int, int]], box: Box
) -> NDArray[np.float64]:
    """Cut the same box, relative to each place, out of images; what lies beyond an image is nan."""
    x0, y0, x1, y1 = box
    cut = np.full((len(chosen), y1 - y0, x1 - x0), np.nan)
    for row, index in enumerate(chosen):
        image, (left, top) = images[index], places[row]
        height, width = image.shape
        a, b = max(0, left + x0), max(0, top + y0)
        c, d = min(width, left + x1), min(height, top + y1)
        if c > a and d > b:
            cut[row, b - top - y0 : d - top - y0, a - left - x0 : c - left - x0] = image[b:d, a:c]
    return cut


def _mean_patch(images: Sequence[GreyImage], fitted: Fitted, box: Box) -> GreyImage:
    """Average what the images show at their best places: of many patients nobody's image is left, and noise neither."""
    chosen = np.flatnonzero(fitted.shows).tolist()
    cut = _windows(images, chosen, [fitted.own.places[i] for i in chosen], box)
    known = np.isfinite(cut)
    filled = np.where(known, cut, 0).sum(0) / np.maximum(known.sum(0), 1)
    return np.asarray(np.rint(filled), dtype=np.uint8)


def _extent(images: Sequence[GreyImage], fitted: Fitted) -> Box:
    """Return the box, relative to the place of the template, in which images with the object differ from others at the same places."""
    t, u = fitted.template.shape
    # The margin of one pixel that is added at the end must fit as well.
    grow = min(round(_GROWN * max(t, u) / 2), (LONGEST_TEMPLATE_PX - max(t, u)) // 2 - 1)
    if grow <= 0:
        return 0, 0, u, t
    box = (-grow, -grow, u + grow, t + grow)
    shows, others = np.flatnonzero(fitted.shows).tolist(), np.flatnonzero(~fitted.shows).tolist()
    places = [fitted.own.places[i] for i in shows]
    there = _windows(images, shows, places, box)
    elsewhere = _windows(images, others, [places[i % len(places)] for i in range(len(others))], box)
    known = np.isfinite(there).sum(0) >= LEAST_PATIENTS // 2
    known &= np.isfinite(elsewhere).sum(0) >= LEAST_PATIENTS // 2
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a window wholly beyond its image has no median
        there, elsewhere = (_without_shading(v) for v in (there, elsewhere))
        gap = np.abs(_mean(there, 0) - _mean(elsewhere, 0))
        error = np.sqrt(_variance(there) / len(shows) + _variance(elsewhere) / max(1, len(others)))
    # Welch's t; a level of noise keeps flat places, which hardly vary, from standing out.
    t_values = np.where(known, gap / (error + 0.3), 0.0)
    core, rim = (t_values > float(norm.isf(p / 2)) for p in (_CORE_ERROR / gap.size, _RIM_ERROR))
    # Where the tissue behind differs a little between the classes, the object is not.
    rim &= gap > _RIM_CONTRAST * gap[core].max(initial=0.0)
    _, parts = cv2.connectedComponents(rim.astype(np.uint8), connectivity=8)
    middle = np.zeros_like(core)
    middle[grow : grow + t, grow : grow + u] = True
    touched = np.unique(parts[core & middle])
    inside = np.isin(parts, touched[touched > 0])
    rows, columns = np.flatnonzero(inside.sum(1) >= 2), np.flatnonzero(inside.sum(0) >= 2)
    if not rows.size or not columns.size:
        return 0, 0, u, t
    top, bottom = min(int(rows[0]), grow + t // 4), max(int(rows[-1]) + 1, grow + t - t // 4)
    left, right = min(int(columns[0]), grow + u // 4), max(int(columns[-1]) + 1, grow + u - u // 4)
    return left - grow - 1, top - grow - 1, right - grow + 1, bottom - grow + 1


def _without_shading(windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Subtract from every window the plane through its outer pixels: brighter and shaded images are no object."""
    _, h, w = windows.shape
    y, x = np.mgrid[0:h, 0:w]
    outer = (x < w // 5) | (x >= w - w // 5) | (y < h // 5) | (y >= h - h // 5)
    design = np.stack([np.ones(h * w), x.ravel() / w, y.ravel() / h], axis=1)
    flat = windows.reshape(len(windows), -1).copy()
    for row in flat:
        known = np.isfinite(row) & outer.ravel()
        if known.sum() >= 3:
            row -= design @ np.linalg.lstsq(design[known], row[known], rcond=None)[0]
    return flat.reshape(windows.shape)


def _mean(values: NDArray[np.float64], axis: int | tuple[int, ...]) -> NDArray[np.float64]:
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0).sum(axis) / np.maximum(known.sum(axis), 1))


def _variance(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return _mean((values - _mean(values, 0)) ** 2, 0)
