"""Whether the fills of the text agree, in a sentence where they do not."""

from __future__ import annotations

from collections.abc import Iterator

from audit.reports.findings.effect_words import points
from audit.reports.reading.view import RunView
from audit.statistics.fill_agreement import FILLS_AGREE_WITHIN, disagrees
from audit.store.numbers import compact


def fills_that_disagree(run: RunView) -> Iterator[str]:
    """Yield a sentence for each fill whose figure is not that of the fill it is compared with."""
    for e in run.effects:
        if not disagrees(e) or e.estimate is None:
            continue
        low, high = sorted((abs(e.low or 0.0), abs(e.high or 0.0)))
        limit = compact(100 * FILLS_AGREE_WITHIN, 3)
        yield (
            f"Two fills of the text disagree. The shift is {points(abs(e.estimate))} percentage points "
            f"{'larger' if e.estimate > 0 else 'smaller'} {run.when(e.condition)} than {run.when(e.placebo or '')} "
            f"({round(100 * e.level)} % CI {points(low)} to {points(high)}; limit {limit}), so neither of them alone shows the size of the "
            "text's effect."
        )
