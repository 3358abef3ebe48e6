"""`audit verify`: whether a run is unchanged, and whether a share of it comes out again."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from audit.commands.auditing import render
from audit.commands.progress import ProgressLines
from audit.errors import AuditError, StoreError, shown_string
from audit.reports.findings.recomputed import how_compared, part_outcomes
from audit.run.settings import Settings
from audit.store.folder import check_run
from audit.store.numbers import counted
from audit.store.recomputation import Recomputation
from audit.store.serialise import printed_json

_MOST_SHOWN = 20
_SEEDS = 2**31


def verify(path: Path, settings: Settings, *, share: float | None, seed: int | None, as_json: bool) -> int:
    """Check that a finished run is unchanged; with a share, compute that much of it again and write the report that says so.

    The exit code is 1 where a value differs.
    """
    check_run(path)
    if share is None:
        sys.stdout.write(
            printed_json({"run": path, "changed": [], "exit_code": 0}) if as_json else f"{path}: no file was changed\n"
        )
        return 0
    from audit.run.recompute import recompute_run

    with ProgressLines(quiet=as_json) as on_stage:
        # Who made the run must not know which images are drawn.
        drawn = secrets.randbelow(_SEEDS) if seed is None else seed
        found = recompute_run(path, settings, share=share, seed=drawn, on_stage=on_stage)
        written = on_stage("writing the report", 1)
        try:
            render(path)
        except AuditError as error:
            raise StoreError(
                f"{counted(found.n_differences, 'value differs', 'values differ')} in the share of {path} that was computed again, and "
                f"{Recomputation.FILE} names them, but the report could not be written: {error}"
            ) from error
        written()
    code = 1 if found.n_differences else 0
    if as_json:
        sys.stdout.write(printed_json({"run": path, "changed": [], "exit_code": code, "recomputed": found}))
    else:
        sys.stdout.write(f"{path}: no file was changed\n")
        sys.stdout.writelines(f"{line}\n" for line in _lines(found))
    return code


def _lines(found: Recomputation) -> Iterator[str]:
    yield f"{counted(len(found.images), 'image')} of {found.n_images:,} computed again (seed {found.seed}), compared {how_compared(found)}"
    for part, outcome in part_outcomes(found):
        yield f"  {part:<16}{outcome}"
    for d in found.differences[:_MOST_SHOWN]:
        condition = shown_string(d.condition)
        yield f"  differs: image {d.image}, {condition}, draw {d.draw}, {d.field}: stored {d.stored}, found {d.found}"
    if found.n_differences > _MOST_SHOWN:
        yield f"  and {found.n_differences - _MOST_SHOWN:,} more values; the first are in {Recomputation.FILE}"
