"""What a training leaves besides the weights: a row for every epoch, and the best network of every phase."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from audit.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRow:
    """One point of the training curves."""

    phase: str
    """Name of the phase."""
    epoch: int
    """Counted from 1 through all phases of the step."""
    train_loss: float
    """Mean over the epoch's images, while the weights were moving."""
    validation_loss: float
    """Every class with the same weight."""
    validation_score: float
    """Balanced accuracy (classes) or mean area under the ROC curve (findings)."""
    best: bool
    """Smallest validation loss so far?"""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseEnd:
    """The best network of one phase by validation loss."""

    phase: str
    """Name of the phase."""
    epoch: int
    """Last epoch of the phase, counted through all phases (the abscissa of the paper's Figure 1)."""
    best_epoch: int
    """Epoch of the phase's smallest validation loss."""
    validation_loss: float
    """That loss."""
    found: Mapping[str, Any] = field(default_factory=dict)
    """What the caller measured of the network, such as its test accuracy."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What a step's training leaves besides the weights."""

    epochs: tuple[EpochRow, ...]
    """One row an epoch."""
    phases: tuple[PhaseEnd, ...]
    """One row a phase."""


def curves_csv(curves: Curves) -> bytes:
    """Return the epochs as a CSV table."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=[f.name for f in fields(EpochRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in curves.epochs)
    return text.getvalue().encode()


@contextmanager
def tensorboard(folder: Path | None, step: str) -> Iterator[Callable[[EpochRow], None]]:
    """Yield a function that writes an epoch's figures for TensorBoard as they come; one that does nothing without a folder.

    Raises
    ------
    UsageError
        If TensorBoard is not installed.
    """
    if folder is None:
        yield lambda row: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError("TensorBoard is not installed. Run `pip install 'imageaudit[tensorboard]'`.") from error
    writer: Any = SummaryWriter(str(folder / step))

    def write(row: EpochRow) -> None:
        for name in ("train_loss", "validation_loss", "validation_score"):
            writer.add_scalar(name, getattr(row, name), row.epoch)
        writer.flush()

    try:
        yield write
    finally:
        writer.close()
