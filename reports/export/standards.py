"""Reviewers' standards, item by item, as JSON or as a table for spreadsheets."""

from __future__ import annotations

import csv
import io
import json

from audit.reports.reading.view import RunView
from audit.reports.standards.filling import FilledItem, fill_standards

_COLUMNS = ("standard", "item", "asks", "state", "sentences", "places", "left", "not_applicable")


def standards(run: RunView, *, as_table: bool) -> str:
    """Return every item of every standard with what the run answers.

    Parameters
    ----------
    run : RunView
        The run.
    as_table : bool
        CSV instead of JSON, a row for each item.
    """
    filled = fill_standards(run)
    if as_table:
        made = io.StringIO()
        rows = csv.writer(made, lineterminator="\n")
        rows.writerow(_COLUMNS)
        for one in filled:
            rows.writerows([_inert(v) for v in _row(one.standard.name, item)] for item in one.items)
        return made.getvalue()
    document = {
        "kind": "audit-standards",
        "run": run.path.resolve().name,
        "model": {"name": run.plan.model.name, "digest": run.plan.model.digest},
        "standards": [
            {
                "name": one.standard.name,
                "title": one.standard.title,
                "source": one.standard.source,
                "note": one.standard.note,
                "items": [_object(item) for item in one.items],
            }
            for one in filled
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _inert(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: names of data and models are foreign text."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _object(item: FilledItem) -> dict[str, object]:
    return {
        "item": item.number,
        "asks": item.asks,
        "state": item.state,
        "sentences": [
            {"sentence": r.sentence, "place": f"report.html#{r.place}", "section": r.name} for r in item.references
        ],
        "left": item.left,
        "not_applicable": item.why_not,
    }


def _row(standard: str, item: FilledItem) -> tuple[str, ...]:
    return (
        standard,
        item.number,
        item.asks,
        item.state,
        " ".join(r.sentence for r in item.references),
        " ".join(dict.fromkeys(f"report.html#{r.place}" for r in item.references)),
        item.left,
        item.why_not,
    )
