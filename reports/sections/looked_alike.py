"""Images with similar heatmaps: a search for shortcuts that the suite does not test."""

from __future__ import annotations

from collections.abc import Mapping

from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section
from audit.store.numbers import counted


def view(run: RunView) -> Mapping[str, object] | None:
    """Return the groups of images; None where no group was found."""
    if not run.clusters:
        return None
    covered = any(e.get("n_covered", 0) for c in run.clusters for e in c["exemplars"])
    result = f"{counted(len(run.clusters), 'group')} of heatmaps; exploratory"
    return {"result": result, "clusters": run.clusters, "covered": covered}


SECTION = Section(
    name="looked-alike",
    title="Similar heatmaps",
    template="sections/looked-alike.html.j2",
    view=view,
    comes_from="clusters/: groups of heatmaps; shown only if there are any",
)
