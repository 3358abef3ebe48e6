"""Do fills of the text agree? The difference between two fills, image by image, so that a result does not depend on how text was removed.

A fill that continues the surroundings and one that levels them are wrong in different ways. If both give the same effect, it
is that of the text; if they differ by more than fills of a text without effect would, neither figure is the effect of the
text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import Condition
from audit.statistics.alignment import AlignedImages, AppliedChanges
from audit.statistics.catalogue import FILL_DISAGREEMENT, MEASURES, MOVEMENT
from audit.statistics.estimand import Estimand
from audit.statistics.populations import Population
from audit.store.group import ALL
from audit.store.results import Effect

FILLS_AGREE_WITHIN = 0.02
"""Difference of two fills' shortcut sensitivity that is the fills' own: against known effects of text, inpainting was wrong by up to .014
on seven networks."""


def disagrees(effect: Effect) -> bool:
    """Return whether the whole interval of a difference between fills exceeds the difference that fills have by themselves."""
    if effect.measure != FILL_DISAGREEMENT or effect.low is None or effect.high is None:
        return False
    return effect.low > FILLS_AGREE_WITHIN or effect.high < -FILLS_AGREE_WITHIN


@dataclass(frozen=True, kw_only=True)
class _Fill:
    """What one fill did."""

    condition: Condition
    """Takes text away, and nothing else."""
    moved: NDArray[np.float64]
    """(n,) shortcut sensitivity of each image."""
    everywhere: NDArray[np.bool_]
    """(n,) whether it and its placebo were applied in all draws."""


@dataclass(kw_only=True)
class FillComparison:
    """Gathers the judged fills of a suite's text, one condition after the other."""

    images: AlignedImages
    """The table's images."""
    _fills: list[_Fill] = field(default_factory=list)

    def add(self, condition: Condition, applied: AppliedChanges, placebo: AppliedChanges | None) -> None:
        """Keep what a condition did, if it is a judged edit that removes text and adds none."""
        declared = condition.declared
        takes_text = condition.role == "edit" and declared.removes == ("text",) and not declared.adds
        if takes_text and condition.judged and placebo is not None:
            moved = applied.beyond(placebo)[MOVEMENT]
            both = applied.everywhere & placebo.everywhere
            self._fills.append(_Fill(condition=condition, moved=moved, everywhere=both))

    def estimands(self) -> Iterator[Estimand]:
        """Yield the difference of each further fill from the first seamless one (or the first), on the images of both."""
        if len(self._fills) < 2:
            return
        first = next((f for f in self._fills if f.condition.declared.seamless), self._fills[0])
        for other in self._fills:
            if other is not first:
                population = Population(images=self.images, chosen=first.everywhere & other.everywhere)
                more = other.moved - first.moved
                yield Estimand(
                    condition=other.condition.name,
                    placebo=first.condition.name,
                    measure=FILL_DISAGREEMENT,
                    group=ALL,
                    data=population.sums(MEASURES[FILL_DISAGREEMENT], more, "difference"),
                )
