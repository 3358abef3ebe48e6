"""`audit import`: convert a foreign checkpoint to a bundle."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from audit.data.tasks import Task
from audit.models.backbones import quoted
from audit.models.checkpoints import import_checkpoint
from audit.models.foreign import shown
from audit.models.outputs import ORDERS
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
    scale: str | None,
    prefix: str | None,
    head: tuple[str, ...],
    admit: tuple[str, ...],
) -> int:
    """Convert a checkpoint, and print the meaning of every output and how it can be used; the path is the last line."""
    order = None if classes is None else ORDERS.get(classes) or tuple(name.strip() for name in classes.split(","))
    made = import_checkpoint(
        file,
        architecture,
        out,
        classes=order,
        task=None if task is None else check_task(task),
        input_px=input_px,
        scale=scale,
        prefix=prefix,
        head=head,
        admit=admit,
    )
    order_note = (
        "" if classes is not None else f" ({made.class_order}; if this order is wrong, import again with --classes)"
    )
    scale_note = "" if scale is not None else " (if training used another scale, import again with --scale)"
    lines = [
        f"network: {', '.join(map(shown, made.heads))}"
        + (f" on the features under '{shown(made.prefix)}'" if made.prefix else ""),
        *([f"left out: {quoted(made.left_out)}"] if made.left_out else []),
        f"outputs, in order: {', '.join(map(shown, made.classes))}{order_note}",
        f"input: {input_px} x {input_px} pixels, scale {made.scale}{scale_note}",
        _MEANING[made.task],
        str(made.folder),
    ]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0
