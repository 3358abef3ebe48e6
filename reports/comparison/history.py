"""history.html: the runs of one cohort in the order of time, in strip charts with tables."""

from __future__ import annotations

from pathlib import Path

from audit.reports.figures.timelines import HEIGHT_PX, WIDTH_PX, timelines
from audit.reports.findings.history import History
from audit.reports.page.templates import whole_page
from audit.store.output import write_output


def render_history(history: History, out: Path) -> Path:
    """Write one page with the table of runs, and a figure and a table for every measure."""
    page = whole_page(
        "comparison/history.html.j2",
        history=history,
        figures=[(measured, timelines(measured)) for measured in history.measured],
        width=WIDTH_PX,
        height=HEIGHT_PX,
    )
    write_output(out, page)
    return out
