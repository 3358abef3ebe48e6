"""`audit import`: a foreign checkpoint becomes a bundle."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from audit.data.tasks import Task
from audit.models.checkpoints import ORDERS, import_checkpoint
from audit.models.tasks import check_task

_MEANING: Mapping[Task, str] = {
    "single-label": "task: single-label (softmax: exactly one class applies to an image)",
    "multi-label": "task: multi-label (a sigmoid for each finding); `audit train D` and `E` can start from it with --checkpoint; "
    "`audit run` cannot audit it yet",
}


def bring_in(
    file: Path,
    architecture: str,
    out: Path,
    *,
    classes: str | None,
    task: str | None,
    input_px: int,
    admit: tuple[str, ...],
) -> int:
    """Convert a checkpoint, state what every output is taken for, and what can be done with it; the path is the last line."""
    order = None if classes is None else ORDERS.get(classes) or tuple(name.strip() for name in classes.split(","))
    made = import_checkpoint(
        file,
        architecture,
        out,
        classes=order,
        task=None if task is None else check_task(task),
        input_px=input_px,
        admit=admit,
    )
    assumed = "" if classes is not None else " (if this order is wrong, import again with --classes)"
    sys.stdout.write(f"outputs, in order: {', '.join(made.classes)}{assumed}\n{_MEANING[made.task]}\n{made.folder}\n")
    return 0
