"""The phases of a training as its bundle records them: where each ended, and which network of it was kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LARGEST = 1e9
"""A larger number in a bundle's story is no loss or epoch; it would only break an axis."""


@dataclass(frozen=True, kw_only=True)
class PhaseEnd:
    """One phase. Whatever was measured at its end was measured on its best network, so it belongs to that network's epoch."""

    name: str
    """Its name in the recipe; empty where the bundle does not state it."""
    last_epoch: int
    """Where the phase ended."""
    best_epoch: int | None
    """Epoch of the network that was kept, by validation loss; None where the bundle does not state it."""
    validation_loss: float | None
    """Of that network."""
    accuracy: float | None
    """Of that network on the test images, which chose nothing."""


def read_phases(metrics: object) -> tuple[PhaseEnd, ...]:
    """Return the phases that a bundle records; malformed entries are left out.

    Parameters
    ----------
    metrics : object
        The `metrics` of `model.json`; a foreign bundle may contain anything there.
    """
    rows = mapping(mapping(metrics).get("curves")).get("phases")
    told = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, (list, tuple)) else []
    return tuple(
        PhaseEnd(
            name=str(row.get("phase", "")),
            last_epoch=int(row["epoch"]),
            best_epoch=int(row["best_epoch"]) if is_number(row.get("best_epoch")) else None,
            validation_loss=_figure(row.get("validation_loss")),
            accuracy=_share(mapping(row.get("found")).get("accuracy")),
        )
        for row in told
        if is_number(row.get("epoch"))
    )


def mapping(value: object) -> Mapping[str, Any]:
    """Return a value that should be a mapping, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def is_number(value: object) -> bool:
    """Return whether a value of a foreign file is a number that a figure can show."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST


def _figure(value: Any) -> float | None:
    return float(value) if is_number(value) else None


def _share(value: Any) -> float | None:
    return float(value) if is_number(value) and 0 <= value <= 1 else None
