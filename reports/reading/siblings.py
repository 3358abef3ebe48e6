"""Run folders in a folder, and the earlier runs that lie beside a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from audit.errors import AuditError, StoreError
from audit.reports.reading.folder import read_figures
from audit.reports.reading.view import RunView
from audit.store.run_record import RunRecord

MOST_BESIDE = 60
"""Folders beside a run that are looked at, the newest first: a report must not take minutes because there are thousands."""


def run_folders(paths: Iterable[Path]) -> list[Path]:
    """Return the run folders that are meant: each path itself, or the finished runs in it; each once.

    Raises
    ------
    StoreError
        If a path is neither a run folder nor a folder with one.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        inside = [path] if (path / RunRecord.FILE).is_file() else _runs_in(path)
        if not inside:
            raise StoreError(
                f"{path} is neither a run folder nor a folder that contains finished runs. Expected folders with {RunRecord.FILE}, such as "
                "those in runs/."
            )
        for one in inside:
            found.setdefault(one.resolve(), one)
    return list(found.values())


def runs_beside(run: RunView) -> list[RunView]:
    """Return the runs that lie in the same folder, without the run itself; those that cannot be read are left out."""
    found = []
    others = [path for path in _runs_in(run.path.absolute().parent) if path.name != run.path.absolute().name]
    # Names begin with the day of the run.
    for path in sorted(others, key=lambda p: p.name, reverse=True)[:MOST_BESIDE]:
        try:
            found.append(read_figures(path))
        except (AuditError, OSError):
            continue
    return found


def _runs_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if (path / RunRecord.FILE).is_file())
    except OSError:
        return []
