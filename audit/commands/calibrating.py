"""`audit calibrate`: how accurate the audit's verdicts are, on networks whose shortcuts are known."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audit.commands.progress import ProgressLines
from audit.gates.calibration import sentence_of
from audit.prediction.concurrency import count_processes
from audit.run.settings import Settings

_IMAGES = 128
"""Images of one audit of a zoo."""
_MOST_ROWS = 40
"""Networks that a terminal is shown one by one; of more, kinds."""


def zoo(name: str, out: Path, *, suite: str, workers: int | None, as_json: bool) -> int:
    """Build and audit a zoo and print its tables; a completed calibration returns 0, whatever it found."""
    from audit.calibration.calibrate import calibrate_zoo

    with ProgressLines(quiet=as_json) as on_stage:
        document = calibrate_zoo(name, out, suite=suite, workers=_at_a_time(workers), on_stage=on_stage)
    return _show(document, out, as_json=as_json)


def own(settings: Settings, out: Path, *, trials: int, workers: int | None, as_json: bool) -> int:
    """Plant into the user's data, fine-tune the user's head, audit, and print what would have been found."""
    from audit.calibration.own import calibrate_own

    with ProgressLines(quiet=as_json) as on_stage:
        document = calibrate_own(settings, out, trials=trials, workers=_at_a_time(workers), on_stage=on_stage)
    return _show(document, out, as_json=as_json)


def _at_a_time(workers: int | None) -> int:
    return count_processes("auto", _IMAGES) if workers is None else workers


def _show(document: Mapping[str, Any], out: Path, *, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n")
        return 0
    from audit.calibration.calibrate import outcomes_of
    from audit.calibration.page import kinds_block, network_block, summary_blocks
    from audit.calibration.table import make_table

    outcomes = outcomes_of(document)
    table = make_table(outcomes)
    first = network_block(outcomes) if len(outcomes) <= _MOST_ROWS else kinds_block(table)
    for block in (first, *summary_blocks(table)):
        if block.rows:
            sys.stdout.write(f"{block.heading}\n")
            sys.stdout.writelines(f"  {line}\n" for line in _in_columns([block.columns, *block.rows]))
    seconds = document["seconds"]
    sys.stdout.write(
        f"In this call, building the networks took {seconds['building']:.0f} s and auditing them {seconds['auditing']:.0f} s "
        f"({seconds['workers']} at a time). All audits together took {seconds['auditing_cpu']:.0f} s of processor time.\n"
    )
    if sentence := sentence_of(document):
        sys.stdout.write(f"{sentence}\n")
    sys.stdout.write(f"{out / 'calibration.html'}\n")
    return 0


def _in_columns(lines: Sequence[tuple[str, ...]]) -> list[str]:
    """Lay rows out with each column as wide as its widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in lines]
