"""history.html: the runs of one cohort in the order of time, in strip charts with tables."""

from __future__ import annotations

from pathlib import Path

from audit.files import write_output
from audit.reports.figures.timelines import HEIGHT_PX, WIDTH_PX, timelines
from audit.reports.findings.history import History
from audit.reports.page.templates import environment, frame


def render_history(history: History, out: Path) -> Path:
    """Write one page with the table of runs, and a figure and a table for every measure."""
    page = (
        environment()
        .get_template("comparison/history.html.j2")
        .render(
            history=history,
            figures=[(measured, timelines(measured)) for measured in history.measured],
            width=WIDTH_PX,
            height=HEIGHT_PX,
            **frame(script=False),
        )
    )
    write_output(out, page.encode("utf-8", "xmlcharrefreplace"))
    return out
