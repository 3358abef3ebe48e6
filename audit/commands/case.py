"""`audit case`: one image of a run on a terminal; with the key and the manifest also which file it is."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audit.data.plan import Plan
from audit.data.records import Record
from audit.data.strings import shown_string
from audit.errors import AuditError, CohortError, UsageError
from audit.run.run_inputs import manifest_of
from audit.run.settings import Settings
from audit.store.folder import RunFolder, check_run
from audit.store.numbers import number, signed
from audit.store.serialise import plain, printed_json
from audit.viewing.cases import MIN_DIGITS, Case, CaseRow, command_for, find_image, known_condition, read_case

_MOST_CHARACTERS = 4096
_HEADS = ("condition", "predicted", "probability", "shift", "placebo", "difference")


def case(path: Path, name: str, settings: Settings, *, condition: str | None, as_json: bool) -> int:
    """Print an image's predictions under every condition, or under one, and the record behind its name if that can be resolved."""
    check_run(path)
    run = RunFolder(path)
    plan = run.read(Plan)
    known = [row["record_id"] for row in run.read_rows("records.parquet", ["record_id"])]
    known_condition([c.name for c in plan.suite.conditions], condition)
    image, why_unknown, missing = "", "", None
    try:
        image = find_image(path, known, name, plain=plan.privacy.key is None)
    except UsageError as error:  # the manifest may know it: an image that was left out, or of another split
        missing = error
    record, why_unknown = _identity(path, plan, settings, image or name, in_run=bool(image))
    if missing is not None and record is None:
        raise missing
    found = read_case(path, image) if image else None
    facts: dict[str, Any] = {"image": image or (record.name if record else name)}
    if record is not None:
        facts |= {"id": record.id, "patient": record.patient, "path": record.path}
    facts |= {"label": record.label, "source": record.source} if found is None and record is not None else {}
    facts |= {"label": found.label, "source": found.source, **found.facts} if found is not None else {}
    if as_json:
        sys.stdout.write(printed_json({**facts, **_document(path, found, condition, why_unknown)}))
        return 0
    for what, value in facts.items():
        sys.stdout.write(f"{what:<9}{shown_string(str(value), _MOST_CHARACTERS)}\n")
    if why_unknown:
        sys.stdout.write(f"{'file':<9}unknown: {shown_string(why_unknown, _MOST_CHARACTERS)}\n")
    if found is None:
        sys.stdout.write(f"\n{path} has no predictions of this image: it was left out, or belongs to another split.\n")
        return 0
    _write(path, found, condition)
    return 0


def _identity(path: Path, plan: Plan, settings: Settings, name: str, *, in_run: bool) -> tuple[Record | None, str]:
    """Return the record of the manifest that a name stands for, or why it is unknown.

    Raises
    ------
    AuditError
        If it cannot be resolved although a manifest was named.
    """
    try:
        manifest = manifest_of(path, plan, settings)
    except AuditError as error:
        if settings.data:
            raise
        return None, str(error)
    found = [record for record in manifest.records if record.name == name]
    if not found and manifest.names.key is not None and not in_run and len(name) >= MIN_DIGITS:
        found = [record for record in manifest.records if record.name.startswith(name.lower())]
    if len(found) == 1:
        return found[0], ""
    if in_run and settings.data:
        raise CohortError(
            f"No record of {manifest.path} has the pseudonym {name}, which is in the run: the run used another manifest, or ids have "
            "changed since. Use --data with the manifest of the run."
        )
    return None, f"No record of {manifest.path} has the pseudonym {name}. Use --data with the manifest of the run."


def _document(path: Path, found: Case | None, condition: str | None, why_unknown: str) -> dict[str, Any]:
    if found is None:
        return {"predictions": []}
    return {
        "unresolved": why_unknown,
        "predictions": [
            {**plain(row), "beyond_placebo": row.beyond} for row in found.rows if condition in (None, row.condition)
        ],
        "text": [plain(text) for text in found.texts],
        "links": _links(path, found, condition),
    }


def _links(path: Path, found: Case, condition: str | None) -> dict[str, Any]:
    """Return where the image can be looked at: its cases in the report, and the command that opens its page."""
    cases = [{"case": n, "condition": c, "page": f"{path / 'report.html'}#case-{n}"} for n, c in found.examples]
    most = found.most_moved()
    command = command_for(str(path), found.image, condition or (most.condition if most else ""))
    return {"report": cases, "view": command}


def _write(path: Path, found: Case, condition: str | None) -> None:
    if found.texts:
        read = ", ".join(f"“{shown_string(t.text)}”" if t.text else "text not shown" for t in found.texts)
        sys.stdout.write(f"{'text':<9}{read}\n")
    sys.stdout.write("\n")
    rows = [row for row in found.rows if condition in (None, row.condition)]
    cells = [_HEADS, *map(_cells, rows)]
    widths = [max(len(line[i]) for line in cells if len(line) > 2) for i in range(len(_HEADS))]
    for line in cells:
        ends = [
            text.ljust(w) if i < 2 else text.rjust(w) for i, (text, w) in enumerate(zip(line, widths, strict=False))
        ]
        sys.stdout.write("  ".join(ends).rstrip() + "\n")
    sys.stdout.write(
        "shift, placebo, difference: percentage points of probability from the unedited image, under the placebo on average, and shift "
        "minus placebo.\n"
    )
    if condition is not None:
        for row in rows:
            for name, value in row.probabilities.items():
                sys.stdout.write(
                    f"  {shown_string(name):<24}{number(value, 4)}{f'  draw {row.draw + 1}' if row.draw else ''}\n"
                )
    links: Mapping[str, Any] = _links(path, found, condition)
    for one in links["report"]:
        where = f"case {one['case']} of the report ({one['condition']}): {one['page']}"
        sys.stdout.write(f"{shown_string(where, _MOST_CHARACTERS)}\n")
    sys.stdout.write(f"{shown_string(links['view'], _MOST_CHARACTERS)}\n")


def _cells(row: CaseRow) -> tuple[str, ...]:
    """Return a row of the table; that of a condition that was not applied has only two cells."""
    name = shown_string(row.condition, 80) + (f" ({row.draw + 1})" if row.draw else "")
    if not row.applied:
        return name, f"not applied: {row.why_not}"
    if row.condition == "clean":
        return name, shown_string(row.predicted), number(max(row.probabilities.values())), "", "", ""
    return (
        name,
        shown_string(row.predicted),
        number(max(row.probabilities.values())),
        *("" if value is None else number(100 * value, 1) for value in (row.change, row.placebo_change)),
        "" if row.beyond is None else signed(100 * row.beyond, 1),
    )
