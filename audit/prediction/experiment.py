"""What is put to the test: the object that travels through predicting, attributing and drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.data.conditions import Suite
from audit.data.records import Record
from audit.models.bundle import Bundle
from audit.prediction.variants import CohortContext
from audit.store.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Which network is put to the test, under which conditions, on which images, and where the results go."""

    run: RunFolder
    """The run's files."""
    bundle: Bundle
    """The network."""
    suite: Suite
    """The conditions."""
    records: Sequence[Record]
    """The images, in an order that never changes for the same plan."""
    context: CohortContext
    """Text regions, donors and mean image of the same images."""
    seed: int
    """Run seed."""
