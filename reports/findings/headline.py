"""The findings of a run in a few sentences, for renderings that have no room for more."""

from __future__ import annotations

from audit.reports.findings.statements import statements
from audit.reports.reading.view import RunView


def headline(run: RunView) -> str:
    """Return the findings as one paragraph, what matters most first; never "no problems found"."""
    return " ".join(statement.text for statement in statements(run))
