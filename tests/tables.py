"""What tests of tables of predictions share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from audit.store.results import PredictionTable


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
        donors={k: v[:, order] for k, v in table.donors.items()},
    )
