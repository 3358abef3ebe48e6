"""Reviewers' standards by item number: filled by this run, to be filled by a person, or not applicable."""

from __future__ import annotations

from collections.abc import Mapping

from audit.reports.reading.view import RunView
from audit.reports.sections.base import Section
from audit.reports.standards.filling import fill_standards


def view(run: RunView) -> Mapping[str, object]:
    """Return the standards, item by item."""
    filled = fill_standards(run)
    items = [item for one in filled for item in one.items]
    whole, part = (sum(item.state == state for item in items) for state in ("filled", "partly filled"))
    return {
        "result": f"{whole} of {len(items)} items of {len(filled)} standards filled by this run, {part} partly",
        "standards": filled,
    }


SECTION = Section(
    name="standards",
    title="Standards",
    template="sections/standards.html.j2",
    view=view,
    comes_from="the other sections: what CLAIM 2024, TRIPOD+AI, FDA's draft guidance and Annex IV of the AI Act ask for, by item number",
)
