"""Images with similar heatmaps: a search for shortcuts that the suite does not test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section
from audit.store.numbers import counted

MOST_PRINTED_GROUPS = 4
"""Groups that are printed: each takes a fifth of a page."""


def printed_groups(outputs: Sequence[str]) -> set[int]:
    """Return which groups are printed: the first of every output, then the second, and so on, as far as there is room.

    Parameters
    ----------
    outputs : sequence of str
        The output of each group; those of one output stand in order, the most distinct first.
    """
    ranks = [outputs[:i].count(name) for i, name in enumerate(outputs)]
    return set(sorted(range(len(outputs)), key=lambda i: (ranks[i], i))[:MOST_PRINTED_GROUPS])


def view(run: RunView) -> Mapping[str, object] | None:
    """Return the groups of images; None where no group was found."""
    if not run.clusters:
        return None
    covered = any(e.get("n_covered", 0) for c in run.clusters for e in c["exemplars"])
    result = f"{counted(len(run.clusters), 'group')} of heatmaps; exploratory"
    printed = printed_groups([c["output"] for c in run.clusters])
    return {"result": result, "clusters": run.clusters, "covered": covered, "printed": printed}


SECTION = Section(
    name="looked-alike",
    title="Similar heatmaps",
    template="sections/looked-alike.html.j2",
    view=view,
    comes_from="clusters/: groups of heatmaps; shown only if there are any",
)
