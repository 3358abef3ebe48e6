"""Templates that are one object: parts of it that one half proposed, and what the two halves proposed each for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from audit.discovery.fitting import Fitted
from audit.perturbations.places import Box
from audit.store.suspects import LONGEST_TEMPLATE_PX, MOST_PARTS

_TOGETHER = 0.5
"""Share of the images that show the commoner of two templates from which on, showing both, they make them one object."""
_KNOWN = 0.5
"""Share of a part's box that may lie in boxes of the same object, from which on it adds nothing."""
_COVERED = 0.75
"""Share of the images in which a part lies in its box."""


def distinct(fitted: Sequence[Fitted]) -> list[Fitted]:
    """Keep, of templates of one half that are the same object, the one that is confirmed best, with the boxes of all."""
    chosen: list[Fitted] = []
    for part in sorted(fitted, key=lambda f: (f.p, -f.separation)):
        for place, whole in enumerate(chosen):
            both = _joined(whole, part)
            if both is not None:
                chosen[place] = both
                break
        else:
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


def _joined(one: Fitted, other: Fitted) -> Fitted | None:
    """Return the first with the boxes of both, if the same images show both near each other; None if not."""
    both = np.flatnonzero(one.shows & other.shows)
    if len(both) < _TOGETHER * max(one.shows.sum(), other.shows.sum()):
        return None
    moves = np.array([np.subtract(other.own.places[i], one.own.places[i]) for i in both])
    moves = moves[np.abs(moves).max(1) <= LONGEST_TEMPLATE_PX]
    if len(moves) < _TOGETHER * len(both):
        return None
    middle = np.rint(np.median(moves, axis=0)).astype(int)
    # Objects are turned, and of those that repeat themselves another repeat is found: the box covers most of where the part was.
    across, down = (int(v) for v in np.quantile(np.abs(moves - middle), _COVERED, axis=0))
    x0, y0, x1, y1 = _moved(other.reach[0], (int(middle[0]), int(middle[1])))
    part = (x0 - across, y0 - down, x1 + across, y1 + down)
    known = _covered_share(part, one.reach) >= _KNOWN
    return one if known or len(one.reach) == MOST_PARTS else replace(one, reach=(*one.reach, part))


def _same(one: Fitted, other: Fitted) -> bool:
    """Say whether what one half proposed is found, on the other half, where that half proposed something itself."""
    both = np.flatnonzero(one.shown_by_others & other.shows)
    if len(both) < max(1, _TOGETHER * max(one.shown_by_others.sum(), other.shows.sum())):
        return False
    meets = [
        any(
            _meet(_moved(a, one.other.places[i]), _moved(b, other.own.places[i]))
            for a in one.reach
            for b in other.reach
        )
        for i in both
    ]
    return float(np.mean(meets)) >= _TOGETHER


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _covered_share(box: Box, others: Sequence[Box]) -> float:
    """Return the share of a box's area that lies in any of the others."""
    x0, y0, x1, y1 = box
    area = np.zeros((y1 - y0, x1 - x0), dtype=np.bool_)
    for a, b, c, d in others:
        area[max(0, b - y0) : max(0, d - y0), max(0, a - x0) : max(0, c - x0)] = True
    return float(area.mean())


def _moved(box: Box, place: tuple[int, int]) -> Box:
    left, top = place
    return left + box[0], top + box[1], left + box[2], top + box[3]
