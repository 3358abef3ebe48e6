"""A reviewer's word on a run: the findings that are asked about, and the JSON that the page saves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import category

from audit.errors import StoreError, UsageError
from audit.files import write_atomically
from audit.reports.findings.effect_words import estimate, where
from audit.reports.findings.group_effects import told_effects
from audit.reports.reading.folder import read_run
from audit.reports.reading.view import RunView
from audit.statistics.catalogue import ACCURACY, MEASURES
from audit.store.documents import read_json
from audit.store.group import ALL, Group
from audit.store.results import SCHEMA_VERSION, to_json

ANSWERS = ("agree", "disagree", "cannot judge")
_MAX_COMMENT, _MAX_FILE_BYTES = 4000, 1_000_000


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One statement of the report that a reviewer judges."""

    id: str
    """Stable within the run."""
    text: str
    """The statement."""


def findings(run: RunView) -> list[Finding]:
    """Return what a reviewer is asked about: the accuracy, each judged effect, and the controls."""
    accuracy = Finding(
        id="accuracy", text=f"Accuracy on the unedited images is {estimate(run.find('clean', ACCURACY))}"
    )
    judged = [
        Finding(
            # A digest stands for a group: a string of a film may hold characters that do not come back from a page.
            id=f"{e.condition}/{e.measure}" + ("" if e.group == ALL else f"/{_digest(e.group)}"),
            text=f"{where(e)}: {MEASURES[e.measure].title} {estimate(e)}, {e.verdict}",
        )
        for e in told_effects(run)
    ]
    controls = Finding(id="controls", text="The audit's own controls support these findings")
    return [accuracy, *judged, controls]


def _digest(group: Group) -> str:
    return hashlib.sha256(str(group).encode()).hexdigest()[:8]


def evidence_digest(run: RunView) -> str:
    """Return one SHA-256 over the run's file hashes: a review holds for these files alone."""
    return hashlib.sha256(json.dumps(run.run.get("files", {}), sort_keys=True).encode()).hexdigest()


def read_signoff(path: Path, file: Path) -> Path:
    """Check a review that the report's page saved, and keep it as `signoff.json` of the run.

    Raises
    ------
    UsageError
        If the file is no such review, or one of another run.
    StoreError
        If it cannot be read, or the run is not complete.
    """
    run = read_run(path)
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise UsageError(
                f"{file} is larger than {_MAX_FILE_BYTES} bytes. Expected a review saved by the report's page."
            )
        document = read_json(file)
    except OSError as error:
        raise StoreError(f"The review {file} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise UsageError(f"The review {file} is not valid JSON: {error}.") from error
    checked = _checked(run, document, file)
    target = path / "signoff.json"
    write_atomically(target, to_json({"schema_version": SCHEMA_VERSION, **checked}).encode())
    return target


def _checked(run: RunView, document: object, file: Path) -> dict[str, Any]:
    if not isinstance(document, Mapping) or document.get("kind") != "audit-signoff":
        raise UsageError(f"{file} is not a review. Expected the JSON file that the report's page saves.")
    if document.get("evidence") != evidence_digest(run):
        raise UsageError(
            f"{file} is a review of other files than those of {run.path}: its evidence is {str(document.get('evidence'))[:12]!r}, the "
            f"run's is {evidence_digest(run)[:12]}. Review the report of this run."
        )
    name = _text(document.get("reviewer"), 300)
    if not name:
        raise UsageError(f"{file} names no reviewer. Enter the name on the page and save the review again.")
    answers = document.get("findings")
    known = [f.id for f in findings(run)]
    kept: dict[str, dict[str, str]] = {}
    for row in answers if isinstance(answers, list) else []:
        if not isinstance(row, Mapping) or row.get("id") not in known or row.get("answer") not in ANSWERS:
            raise UsageError(
                f"{file} has the answer {row!r:.80}. Expected a finding of this run with {', '.join(ANSWERS)}."
            )
        finding, answer = str(row["id"]), str(row["answer"])
        if finding in kept:
            raise UsageError(f"{file} answers {finding} twice. Expected one answer per finding.")
        kept[finding] = {"id": finding, "answer": answer, "comment": _text(row.get("comment"), _MAX_COMMENT)}
    if not kept:
        raise UsageError(f"{file} answers no finding. Choose at least one answer and save the review again.")
    return {
        "kind": "audit-signoff",
        "evidence": document["evidence"],
        "reviewer": name,
        "saved": _text(document.get("saved"), 40),
        "findings": list(kept.values()),
    }


def _text(value: object, most: int) -> str:
    """Return what a person typed, on one line; anything but a string is nothing, and what cannot be stored is replaced."""
    flat = " ".join(value.split()) if isinstance(value, str) else ""
    return "".join("\N{REPLACEMENT CHARACTER}" if category(c) in ("Cc", "Cs") else c for c in flat)[:most]
