"""Many tests at once: Holm's step-down over the declared family of judged effects."""

from __future__ import annotations

from collections.abc import Sequence

from statsmodels.stats.multitest import multipletests


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p values so that the family-wise error rate holds (Holm, Scand. J. Statist. 1979).

    Parameters
    ----------
    p_values : sequence of float or None
        The family in any order. None marks a hypothesis that could not be tested: it stays None and is not counted,
        because whether it could be tested does not depend on what the test would have said.
    """
    tested = [p for p in p_values if p is not None]
    if not tested:
        return [None] * len(p_values)
    adjusted = iter(multipletests(tested, method="holm")[1].tolist())
    return [None if p is None else float(next(adjusted)) for p in p_values]
