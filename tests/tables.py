"""What tests of tables of predictions share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from audit.store.results import PredictionTable


def renumbered(donors: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the donors' rows where images are in another order."""
    new = {int(row): place for place, row in enumerate(order)} | {-1: -1}
    return np.array([[new[int(row)] for row in draw[order]] for draw in donors])


def in_order(table: PredictionTable, order: NDArray[np.int64]) -> PredictionTable:
    """Return the same images in another order."""
    return replace(
        table,
        record_ids=table.record_ids[order],
        labels=table.labels[order],
        patients=table.patients[order],
        groups={k: v[order] for k, v in table.groups.items()},
        logits={k: v[:, order] for k, v in table.logits.items()},
        applied={k: v[:, order] for k, v in table.applied.items()},
        donors={k: renumbered(v, order) for k, v in table.donors.items()},
    )
