"""`audit import`: a foreign checkpoint becomes a bundle."""

from __future__ import annotations

import sys
from pathlib import Path

from audit.models.checkpoints import ORDERS, import_checkpoint


def bring_in(
    file: Path, architecture: str, out: Path, *, classes: str | None, input_px: int, admit: tuple[str, ...]
) -> int:
    """Convert a checkpoint, and say which class every output is taken for; the bundle's path is the last line."""
    order = None if classes is None else ORDERS.get(classes) or tuple(name.strip() for name in classes.split(","))
    folder, names = import_checkpoint(file, architecture, out, classes=order, input_px=input_px, admit=admit)
    assumed = "" if classes is not None else " (if that is not so, import again with --classes)"
    sys.stdout.write(f"outputs, in order: {', '.join(names)}{assumed}\n{folder}\n")
    return 0
