"""How many patients would decide what a sample leaves open, in words: the same in gates and in every rendering."""

from __future__ import annotations

from audit.store.numbers import counted

OUT_OF_REACH = 20
"""Times as many patients as an audit has that nobody is asked to collect."""


def needed_in_words(needed: int | None, now: int) -> str:
    """State how many patients would decide: `about 120 patients would decide (54 now)`.

    Parameters
    ----------
    needed : int or None
        Patients that would decide at this estimate; None where no number would.
    now : int
        Patients behind the estimate.
    """
    if needed is None:
        return "the estimate equals the limit: no number of patients would decide"
    if needed > OUT_OF_REACH * now:
        return f"more than {OUT_OF_REACH} times as many patients would be needed to decide ({now:,} now)"
    return f"about {counted(needed, 'patient')} would decide ({now:,} now)"
