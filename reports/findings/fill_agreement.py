"""Whether the fills of the text agree, in a sentence where they do not."""

from __future__ import annotations

from collections.abc import Iterator

from audit.reports.reading.view import RunView
from audit.statistics.fill_agreement import FILLS_AGREE_WITHIN, disagrees
from audit.store.numbers import number


def fills_that_disagree(run: RunView) -> Iterator[str]:
    """Yield a sentence for each fill whose figure is not that of the fill it is compared with."""
    for e in run.effects:
        if not disagrees(e) or e.estimate is None:
            continue
        low, high = sorted((abs(e.low or 0.0), abs(e.high or 0.0)))
        yield (
            f"Two fills of the text disagree: {e.condition} gives a shortcut sensitivity that is {number(abs(e.estimate))} "
            f"{'higher' if e.estimate > 0 else 'lower'} than that of {e.placebo} ({round(100 * e.level)} % CI {number(low)} to "
            f"{number(high)}; limit {number(FILLS_AGREE_WITHIN, 2)}), so neither of them alone shows the size of the text's effect."
        )
