"""Templates that are one object: parts of what one half proposed already, and what the two halves proposed each for itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audit.discovery.fitting import Fitted
from audit.perturbations.places import Box, around, cover

_TOGETHER = 0.5
"""Share of the images that show the commoner of two templates from which on, showing both, they make them one object."""
_MEETING = 0.5
"""Share of the images that show the rarer of two templates on which both lie in the same place, from which on they are one object."""
_KNOWN = 0.5
"""Share of a part's shape that lies in an object's, from which on it is a part of that object."""


def distinct(fitted: Sequence[Fitted]) -> list[Fitted]:
    """Keep, of templates of one half that are the same object, the one that is confirmed best; of several, the clearest and largest."""
    chosen: list[Fitted] = []
    for part in sorted(fitted, key=lambda f: (f.p, -f.separation * _extent(f))):
        if not any(_covers(whole, part) for whole in chosen):
            chosen.append(part)
    return chosen


def pairs(first: Sequence[Fitted], second: Sequence[Fitted]) -> list[tuple[Fitted | None, Fitted | None]]:
    """Pair what the two halves proposed where it is the same object; the rest stands alone."""
    left = list(second)
    found: list[tuple[Fitted | None, Fitted | None]] = []
    for one in first:
        same = next((o for o in left if _same(one, o) or _same(o, one)), None)
        if same is not None:
            left = [o for o in left if o is not same]  # by identity: arrays have no single equality
        found.append((one, same))
    return [*found, *((None, other) for other in left)]


def _extent(fitted: Fitted) -> float:
    """Return the side of a square as large as a template's shape."""
    return float(np.sqrt(_drawn(fitted.reach, around(fitted.reach)).sum()))


def _covers(one: Fitted, other: Fitted) -> bool:
    """Say whether, on most images that show the rarer of two templates, the first's shape covers most of the second's."""
    both = np.flatnonzero(one.shows & other.shows).tolist()
    covered = [_covered_share(one, one.own.places[i], other, other.own.places[i]) >= _KNOWN for i in both]
    return bool(sum(covered) >= max(1, _MEETING * min(one.shows.sum(), other.shows.sum())))


def _covered_share(one: Fitted, at: tuple[int, int], other: Fitted, there: tuple[int, int]) -> float:
    """Return the share of the second's shape that lies in the first's, where both lie on an image."""
    covering, covered = ([_moved(box, place) for box in f.reach] for f, place in ((one, at), (other, there)))
    frame = around([*covering, *covered])
    first, second = (_drawn(boxes, frame) for boxes in (covering, covered))
    return float((first & second).sum() / second.sum())


def _same(one: Fitted, other: Fitted) -> bool:
    """Say whether what one half proposed is found, on the other half, where that half proposed something itself."""
    both = np.flatnonzero(one.shown_by_others & other.shows)
    if len(both) < max(1, _TOGETHER * max(one.shown_by_others.sum(), other.shows.sum())):
        return False
    return (
        float(np.mean([_meet_anywhere(one, one.other.places[i], other, other.own.places[i]) for i in both])) >= _MEETING
    )


def _meet_anywhere(one: Fitted, at: tuple[int, int], other: Fitted, there: tuple[int, int]) -> bool:
    return any(_meet(_moved(a, at), _moved(b, there)) for a in one.reach for b in other.reach)


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _drawn(boxes: Sequence[Box], frame: Box) -> NDArray[np.bool_]:
    """Return boxes as a shape in a frame."""
    left, top, right, bottom = frame
    return cover([(a - left, b - top, c - left, d - top) for a, b, c, d in boxes], (bottom - top, right - left))


def _moved(box: Box, place: tuple[int, int]) -> Box:
    left, top = place
    return left + box[0], top + box[1], left + box[2], top + box[3]
