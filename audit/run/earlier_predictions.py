"""Predictions of another run that are the same: the network, the images and the edits decide them, and nothing else of a plan."""

from __future__ import annotations

from typing import Any

from audit.data.plan import Plan
from audit.errors import StoreError
from audit.files import file_sha256, write_atomically
from audit.prediction.engine import n_parts
from audit.prediction.shards import part_name
from audit.store.folder import RunFolder
from audit.store.run_record import RunRecord
from audit.store.serialise import plain

_DECIDES_NOTHING = (
    ("relevance",),
    ("statistics",),
    ("tolerances",),
    ("recall",),
    ("data", "name"),
    ("data", "notes"),
    ("model", "parity"),
    ("model", "training"),
    ("model", "assumed"),
)
"""Parts of a plan that no prediction depends on."""
_TAKEN = "predictions/taken.json"
"""States which parts of a run were predicted by another."""
_SAME_IMAGES = ("records.parquet", "regions.parquet")
"""What the text finder has left of the images, and found on them: edits depend on both."""


def adopt_predictions(run: RunFolder, plan: Plan) -> str:
    """Copy the predictions that another run in the same folder has already made; return which, in a sentence, or nothing.

    A finished run gives only files that are unchanged since.

    Parameters
    ----------
    run : RunFolder
        The run whose predictions are missing; its text was already found.
    plan : Plan
        Its plan.
    """
    parts = [part_name(number) for number in range(n_parts(plan.data.n_images))]
    missing = [part for part in parts if not run.has(part)]
    wanted = _deciding(plan)
    for other in sorted(path.parent for path in run.path.parent.glob(f"*/{Plan.FILE}")) if missing else ():
        if other != run.path and (files := _usable(RunFolder(other), run, missing, wanted)):
            for part, content in files.items():
                write_atomically(run.path / part, content)
            run.write_json(_TAKEN, {"run": other.name, "parts": sorted(files)})
            which = "all" if len(files) == len(parts) else f"{len(files)} of {len(parts)} parts"
            return f"predictions: {which} taken from the run {other.name}, which has the same network, images and edits"
    return ""


def _usable(other: RunFolder, run: RunFolder, missing: list[str], wanted: dict[str, Any]) -> dict[str, bytes]:
    """Return the files of another run that would be the same in this one, by their names."""
    try:
        if _deciding(other.read(Plan)) != wanted:
            return {}
        other.check_links()
        if any(file_sha256(other.path / name) != file_sha256(run.path / name) for name in _SAME_IMAGES):
            return {}
        known = other.read(RunRecord).files if other.has(RunRecord.FILE) else None
        there = [part for part in missing if other.has(part)]
        return {
            part: (other.path / part).read_bytes()
            for part in there
            if known is None or known.get(part) == file_sha256(other.path / part)
        }
    except (StoreError, OSError):  # of another version, damaged, or deleted meanwhile
        return {}


def _deciding(plan: Plan) -> dict[str, Any]:
    document: dict[str, Any] = plain(plan)
    for *folders, name in _DECIDES_NOTHING:
        part = document
        for folder in folders:
            part = part[folder]
        part.pop(name, None)
    # Why a back end was chosen decides nothing; which one does.
    document["model"]["backend"] = plan.model.backend.name
    return document
