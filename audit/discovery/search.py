"""The search for objects that recur: candidates are verified by correlation, told from anatomy, and kept with their sightings.

It knows neither the network nor its answers. What the body shows in the same way on every image forms no gap in likeness between images
with it and without; what is there on nearly every image of every class cannot tell the classes.
"""

from __future__ import annotations

import base64
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.facts import GreyImage
from audit.data.records import Record
from audit.data.strings import MIN_PATIENTS
from audit.discovery.candidates import QUERY_IMAGES, find_candidates, split_scores
from audit.perturbations.places import Box
from audit.perturbations.suspects import best_place, proposes
from audit.randomness import generator_for
from audit.store.pictures import Spot
from audit.store.suspects import LONGEST_TEMPLATE_PX, MOST_SIGHTINGS, FoundSuspect, Sighting

SEARCH_VERSION = 1
"""Incremented whenever a change of the search changes the suspects."""
MOST_IMAGES = 200
"""Images that are searched, one per patient."""
_ALIKE = 0.7
"""Share of the images that show either of two places from which on those that show both make them parts of one object."""
_FIXED_PX = 6
"""Most that the distance between parts of one object varies."""
_CANDIDATES = 12
_LEAST_SEPARATION = 4.0
"""On phantoms electrodes reach 6 to 24. Ribs that half of the patients show alike reach 4 to 7 and are proposed too: the test decides."""
_WORTH_A_LOOK = 2.9
"""Separation by a single image's patch from which on it is averaged over images and fitted."""
_LEAST_LIKENESS = 0.75
"""Mean correlation of the images that show an object with its template."""
_COMMON = 0.6
"""Mean share of the classes from which on something is anatomy or frame: what most images of most classes show."""
_GROWN = 2.0
"""How far around a candidate its object may reach, in sides of the candidate."""
_EXTENT_GAP = 2.0
"""Where images with the object differ from others by more standard deviations than this, the object is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Verified:
    template: GreyImage
    scores: NDArray[np.float64]
    places: tuple[tuple[int, int], ...]
    threshold: float
    separation: float
    reach: Box

    @property
    def shows(self) -> NDArray[np.bool_]:
        return self.scores >= self.threshold


def proposal_sample(records: Sequence[Record], seed: int) -> list[Record]:
    """Choose the images that are searched: from the proposing half, one per patient, classes in turn, at most `MOST_IMAGES`."""
    order = generator_for(seed, "objects", "sample").permutation(len(records)).tolist()
    by_class: defaultdict[str, dict[str, Record]] = defaultdict(dict)
    for index in order:
        record = records[index]
        if record.label is not None and proposes(record, seed):
            by_class[record.label].setdefault(record.patient, record)
    rows = [list(by_class[label].values()) for label in sorted(by_class)]
    turns = [row[turn] for turn in range(max(map(len, rows), default=0)) for row in rows if turn < len(row)]
    # A patient with images of two classes counts once.
    return list({r.patient: r for r in reversed(turns)}.values())[::-1][:MOST_IMAGES]


def search_objects(
    images: Sequence[GreyImage],
    labels: Sequence[str],
    names: Sequence[str],
    *,
    most: int,
    on_step: Callable[[], None] = lambda: None,
) -> tuple[FoundSuspect, ...]:
    """Propose objects that recur on the images of at least `MIN_PATIENTS` patients.

    Parameters
    ----------
    images : sequence of ndarray of uint8, (h, w)
        One a patient, at the scale of the search, free of text (`audit.perturbations.suspects.at_search_scale`).
    labels, names : sequence of str
        Class of each, and what a sighting calls it.
    most : int
        Suspects, at most.
    on_step : callable
        Called once for every candidate.

    Returns
    -------
    tuple of FoundSuspect
        Those that tell the classes best first.
    """
    if len(images) < 2 * MIN_PATIENTS:
        return ()
    found = []
    for candidate in find_candidates(
        images, range(min(QUERY_IMAGES, len(images))), least=MIN_PATIENTS, most=_CANDIDATES
    ):
        x0, y0, x1, y1 = candidate.box
        verified = _verify(images, labels, images[candidate.image][y0:y1, x0:x1])
        on_step()
        if verified is not None:
            found.append(verified)
    groups: list[list[_Verified]] = []
    for verified in sorted(found, key=lambda v: -v.separation):
        home = next((group for group in groups if _offset(group[0], verified) is not None), None)
        if home is None:
            groups.append([verified])
        else:
            home.append(verified)
    kept = [_joined(group) for group in groups]
    kept.sort(key=lambda v: (-_told(v.shows, labels), -v.separation))
    return tuple(_suspect(verified, images, labels, names) for verified in kept[:most])


def _verify(images: Sequence[GreyImage], labels: Sequence[str], template: GreyImage) -> _Verified | None:
    """Correlate a candidate with every image, average it over those that show it, and fit its box to what they share."""
    first = _scored(images, template)
    if first is None or first.separation < _WORTH_A_LOOK or _is_anatomy(first.shows, labels):
        return None
    averaged = _scored(images, _mean_patch(images, first, (0, 0, template.shape[1], template.shape[0])))
    if averaged is None:
        return None
    box = _extent(images, averaged)
    fitted = _scored(images, _mean_patch(images, averaged, box))
    # The clearer template locates the object; the box of what its images share is what an edit takes.
    if fitted is None or fitted.separation < averaged.separation:
        fitted = replace(averaged, reach=box)
    return fitted if _is_object(fitted, labels) else None


def _is_object(found: _Verified, labels: Sequence[str]) -> bool:
    """Say whether images with it and without differ by a gap, and it is not what most images show."""
    return (
        found.separation >= _LEAST_SEPARATION
        and float(found.scores[found.shows].mean()) >= _LEAST_LIKENESS
        and not _is_anatomy(found.shows, labels)
    )


def _scored(images: Sequence[GreyImage], template: GreyImage) -> _Verified | None:
    scored = [best_place(image, template) for image in images]
    scores = np.array([score for score, _, _ in scored])
    separation, threshold, high = split_scores(scores, MIN_PATIENTS)
    if high == 0:
        return None
    return _Verified(
        template=template,
        scores=scores,
        places=tuple((left, top) for _, left, top in scored),
        threshold=threshold,
        separation=separation,
        reach=(0, 0, template.shape[1], template.shape[0]),
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


def _mean_patch(images: Sequence[GreyImage], verified: _Verified, box: Box) -> GreyImage:
    """Average what the images show at their best places: of many patients nobody's image is left, and noise neither."""
    chosen = np.flatnonzero(verified.shows).tolist()
    cut = _windows(images, chosen, [verified.places[i] for i in chosen], box)
    known = np.isfinite(cut)
    filled = np.where(known, cut, 0).sum(0) / np.maximum(known.sum(0), 1)
    return np.asarray(np.rint(filled), dtype=np.uint8)


def _extent(images: Sequence[GreyImage], verified: _Verified) -> Box:
    """Return the box, relative to the place of the template, in which images with the object differ from others at the same places."""
    t, u = verified.template.shape
    grow = min(round(_GROWN * max(t, u) / 2), (LONGEST_TEMPLATE_PX - max(t, u)) // 2)
    if grow <= 0:
        return 0, 0, u, t
    box = (-grow, -grow, u + grow, t + grow)
    shows, others = np.flatnonzero(verified.shows).tolist(), np.flatnonzero(~verified.shows).tolist()
    places = [verified.places[i] for i in shows]
    there = _windows(images, shows, places, box)
    elsewhere = _windows(images, others, [places[i % len(places)] for i in range(len(others))], box)
    known = np.isfinite(there).sum(0) >= MIN_PATIENTS // 2
    known &= np.isfinite(elsewhere).sum(0) >= MIN_PATIENTS // 2
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a window wholly beyond its image has no median
        # About their own medians: brighter images are no object, and an object does not darken what is around it.
        there, elsewhere = (v - np.nanmedian(v, axis=(1, 2), keepdims=True) for v in (there, elsewhere))
        gap = _mean(there, 0) - _mean(elsewhere, 0)
        spread = np.sqrt((_variance(there) + _variance(elsewhere)) / 2) + 3.0
    differs = known & (np.abs(gap) / spread > _EXTENT_GAP)
    _, parts = cv2.connectedComponents(differs.astype(np.uint8), connectivity=8)
    touched = np.unique(parts[grow : grow + t, grow : grow + u])
    inside = np.isin(parts, touched[touched > 0])
    rows, columns = np.flatnonzero(inside.sum(1) >= 2), np.flatnonzero(inside.sum(0) >= 2)
    if not rows.size or not columns.size:
        return 0, 0, u, t
    top, bottom = min(int(rows[0]), grow + t // 4), max(int(rows[-1]) + 1, grow + t - t // 4)
    left, right = min(int(columns[0]), grow + u // 4), max(int(columns[-1]) + 1, grow + u - u // 4)
    return left - grow - 1, top - grow - 1, right - grow + 1, bottom - grow + 1


def _mean(values: NDArray[np.float64], axis: int | tuple[int, ...]) -> NDArray[np.float64]:
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0).sum(axis) / np.maximum(known.sum(axis), 1))


def _variance(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return _mean((values - _mean(values, 0)) ** 2, 0)


def _prevalence(shows: NDArray[np.bool_], labels: Sequence[str]) -> dict[str, tuple[int, int]]:
    of_class = np.array(labels)
    return {
        label: (int((shows & (of_class == label)).sum()), int((of_class == label).sum()))
        for label in sorted(set(labels))
    }


def _told(shows: NDArray[np.bool_], labels: Sequence[str]) -> float:
    """Return the difference between the classes in how often they show it."""
    shares = [n / of for n, of in _prevalence(shows, labels).values()]
    return max(shares) - min(shares)


def _is_anatomy(shows: NDArray[np.bool_], labels: Sequence[str]) -> bool:
    """Return whether most images show it, with equal weight for each class."""
    return float(np.mean([n / of for n, of in _prevalence(shows, labels).values()])) > _COMMON


def _offset(one: _Verified, other: _Verified) -> tuple[int, int] | None:
    """Return where the other lies from the place of the one, if the same images show both at a fixed distance: they are one object."""
    both = one.shows & other.shows
    if both.sum() < _ALIKE * (one.shows | other.shows).sum():
        return None
    moves = np.array([np.subtract(other.places[i], one.places[i]) for i in np.flatnonzero(both)])
    middle = np.median(moves, axis=0)
    fixed = (np.abs(moves - middle).max(1) <= _FIXED_PX).mean() >= _ALIKE
    return (int(middle[0]), int(middle[1])) if fixed else None


def _joined(group: Sequence[_Verified]) -> _Verified:
    """Return the clearest template of an object with the extent of all its parts, because an edit must cover all of it."""
    first = group[0]
    x0, y0, x1, y1 = first.reach
    for part in group[1:]:
        dx, dy = _offset(first, part) or (0, 0)
        left, top, right, bottom = part.reach
        wider = min(x0, left + dx), min(y0, top + dy), max(x1, right + dx), max(y1, bottom + dy)
        if max(wider[2] - wider[0], wider[3] - wider[1]) <= LONGEST_TEMPLATE_PX:
            x0, y0, x1, y1 = wider
    return replace(first, reach=(x0, y0, x1, y1))


def _suspect(
    verified: _Verified, images: Sequence[GreyImage], labels: Sequence[str], names: Sequence[str]
) -> FoundSuspect:
    prevalence = _prevalence(verified.shows, labels)
    shares = {label: n / of for label, (n, of) in prevalence.items()}
    # Home is where it is at least half as common as where it is commonest; where all classes are home, it is added to any image.
    home = tuple(label for label, share in shares.items() if share >= 0.5 * max(shares.values()))
    x0, y0, x1, y1 = verified.reach
    order = sorted(np.flatnonzero(verified.shows).tolist(), key=lambda i: (-verified.scores[i], names[i]))
    sightings = []
    for i in order[:MOST_SIGHTINGS]:
        (left, top), (height, width) = verified.places[i], images[i].shape
        box = Spot(
            x0=max(0, left + x0) / width,
            y0=max(0, top + y0) / height,
            x1=min(width, left + x1) / width,
            y1=min(height, top + y1) / height,
        )
        sightings.append(
            Sighting(image=names[i], label=labels[i], likeness=round(float(verified.scores[i]), 4), box=box)
        )
    return FoundSuspect(
        height=verified.template.shape[0],
        width=verified.template.shape[1],
        reach=verified.reach,
        template=base64.b64encode(np.ascontiguousarray(verified.template).tobytes()).decode(),
        threshold=round(verified.threshold, 4),
        separation=round(verified.separation, 2),
        prevalence=prevalence,
        n_patients=int(verified.shows.sum()),
        home=home if len(home) < len(shares) else (),
        sightings=tuple(sightings),
    )
