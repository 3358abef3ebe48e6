"""Files that a user asked for, written where the user asked for them; never over the evidence of a finished run."""

from __future__ import annotations

import os
from pathlib import Path

from audit.errors import StoreError, UsageError
from audit.files import write_atomically
from audit.store.folder import RENDERED
from audit.store.recomputation import Recomputation
from audit.store.run_record import RunRecord

_FREE = RENDERED - {RunRecord.FILE, Recomputation.FILE, "signoff.json"}
"""Names in a run folder that can be made again from the rest: not its record, nor what a person or a second computation found."""


def write_output(path: Path, data: bytes) -> None:
    """Write what the user asked for to where the user asked for it.

    A pipe or a device (`/dev/stdout`, `/dev/null`) is written into: a rename would put a file in its place, for every program. In the
    program's own folders such a thing is never opened, for nobody might read it.

    Raises
    ------
    StoreError
        As of `write_atomically`.
    UsageError
        As of `check_outputs`.
    """
    if not _is_stream(path):
        check_outputs(path)
        write_atomically(path, data)
        return
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND), "wb", buffering=0) as stream:
            left = memoryview(data)
            while left:
                left = left[stream.write(left) :]
    except OSError as error:
        raise StoreError(f"Cannot write {path}: {error.strerror or error}. Choose a writable folder.") from error


def check_outputs(*paths: Path | None) -> None:
    """Refuse outputs that are folders or would change a finished run, before anything is computed or written.

    Raises
    ------
    UsageError
        If a path is a folder, or a file would lie in a run folder under a name that is evidence, or would count as added to it.
    """
    for path in paths:
        if path is not None and path.is_dir():
            raise UsageError(f"{path} is a folder. Name a file to write, in it or elsewhere.")
        if path is None or path.name in _FREE or _is_stream(path):
            continue
        if any((folder / RunRecord.FILE).is_file() for folder in path.resolve().parents):
            raise UsageError(
                f"{path} is in a run folder and would change the run. In a run folder, only {', '.join(sorted(_FREE))} may be written; "
                "choose such a name, or another folder."
            )


def _is_stream(path: Path) -> bool:
    """Say whether a path is a pipe or a device, or stands for an open file, as `/dev/stdout` does."""
    if path.is_symlink() and path.readlink().is_relative_to("/proc"):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()
