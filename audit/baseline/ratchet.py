"""Comparison of a run with the figures of a baseline: significantly worse, significantly better, or neither.

A figure is worse or better only where the whole interval of its paired change lies beyond `MARGIN`, corrected for all figures that
are held. To call one worse, the run's own level is asked for; to move the pinned value, `TIGHTEN_LEVEL`, for of many equal networks the
luckiest would otherwise become the pin, and the others be refused for falling short of its luck.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtrit

from audit.gates.correction import Claim, widen_by_holm
from audit.store.results import Effect

Way = Literal["higher", "lower", "either"]
"""Direction in which a figure must not change; either if rules limit both."""
Outcome = Literal["worse", "better", "same"]
TIGHTEN_LEVEL = 0.999
"""Coverage of the interval that must exclude 0 before a better figure becomes the pinned one."""


MARGIN = 0.005
"""How far two trainings of one recipe may differ on all images at once: intervals over images do not hold that, and on thousands of
images would call half of all equal networks worse."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """One figure of the baseline, and its change in the run."""

    way: Way
    """Which way it must not go."""
    change: Effect
    """The run minus the pinned values, image by image."""


def weigh_changes(held: Sequence[Held], *, tighten_level: float = TIGHTEN_LEVEL) -> list[Outcome]:
    """Decide for each figure whether it is significantly worse or better; without an interval it is neither.

    Parameters
    ----------
    held : sequence of Held
        All figures that are compared at once; they share one error.
    tighten_level : float
        Coverage of the interval that must exclude 0 to call a figure better.
    """
    worse = _shown(held, against=True, level=None)
    better = _shown(held, against=False, level=tighten_level)
    return ["worse" if i in worse else "better" if i in better else "same" for i in range(len(held))]


def _shown(held: Sequence[Held], *, against: bool, level: float | None) -> set[int]:
    """Return the figures that changed significantly for the worse, or for the better."""
    claims: list[tuple[int, Claim]] = []
    for index, one in enumerate(held):
        ways = ("higher", "lower") if one.way == "either" else (one.way,)
        if one.way == "either" and not against:  # there is no better
            continue
        claims += [
            (index, _claim(one.change, (way == "higher") == against, level)) for way in ways if _told(one.change)
        ]
    widened = widen_by_holm([claim for _, claim in claims])
    return {
        index
        for (index, claim), (low, high) in zip(claims, widened, strict=True)
        if (low > claim.limit if claim.above else high < claim.limit)
    }


def _told(change: Effect) -> bool:
    return change.estimate is not None and change.low is not None and change.high is not None


def _claim(change: Effect, above: bool, level: float | None) -> Claim:
    estimate, low, high = float(change.estimate or 0.0), float(change.low or 0.0), float(change.high or 0.0)
    asked = change.level if level is None else level
    freedom = max(1, change.n_patients - 1)
    stretch = float(stdtrit(freedom, (1 - asked) / 2) / stdtrit(freedom, (1 - change.level) / 2))
    return Claim(
        estimate=estimate,
        low=estimate - stretch * max(0.0, estimate - low),
        high=estimate + stretch * max(0.0, high - estimate),
        limit=MARGIN if above else -MARGIN,
        level=asked,
        n_patients=change.n_patients,
        above=above,
    )
