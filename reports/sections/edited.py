"""A warning above everything else: the run folder is not as the run left it."""

from __future__ import annotations

from collections.abc import Mapping

from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section


def view(run: RunView) -> Mapping[str, object] | None:
    """Return how the folder differs; None where it does not."""
    return {"problems": run.problems} if run.problems else None


SECTION = Section(
    name="edited",
    title="Changes after the run",
    template="sections/edited.html.j2",
    view=view,
    comes_from="run.json: the hashes of all files; shown only if a file no longer matches",
)
