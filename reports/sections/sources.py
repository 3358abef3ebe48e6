"""The sources: accuracy compared with a guess from the source, and how well sources can be predicted."""

from __future__ import annotations

from collections.abc import Mapping

from audit.reports.findings.accuracy_worth import worth
from audit.reports.findings.summary import VIEWS
from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section


def view(run: RunView) -> Mapping[str, object]:
    """Return the sentences on the accuracy, and the probes of each class."""
    said = worth(run)
    return {"result": said[0], "worth": said, "probes": run.probe.probes, "views": VIEWS}


SECTION = Section(
    name="sources",
    title="Sources",
    template="sections/sources.html.j2",
    view=view,
    comes_from="source_probe.json, effects.json: accuracy compared with a guess from the source",
)
