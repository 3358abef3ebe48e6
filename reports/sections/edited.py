"""A warning above everything else: the run folder is not as the run left it, or does not come out again."""

from __future__ import annotations

from collections.abc import Mapping

from audit.reports.findings.recomputed import differing_lines
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section


def view(run: RunView) -> Mapping[str, object] | None:
    """Return how the folder differs, and what was not the same when it was computed again; None where all is well."""
    differing = differing_lines(run)
    if not run.problems and not differing:
        return None
    return {
        "problems": run.problems,
        "differing": differing,
        "n": run.recomputed.n_differences if run.recomputed else 0,
    }


SECTION = Section(
    name="edited",
    title="Changes after the run",
    template="sections/edited.html.j2",
    view=view,
    comes_from="run.json: the hashes of all files; recomputed.json; shown only if a file no longer matches, or a value was not the same "
    "when it was computed again",
)
