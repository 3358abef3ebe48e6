"""The experiment: the object that predicting, attributing and drawing share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.data.conditions import Suite
from audit.data.plan import Plan
from audit.data.records import Record
from audit.models.bundle import Bundle
from audit.models.devices import USUAL_BATCH
from audit.prediction.table import stored_cuts
from audit.prediction.variants import CohortContext
from audit.store.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The network under test, the conditions, the images, and where the results are stored."""

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
    cuts: tuple[float, ...] = ()
    """Probability above which each output of a multi-label network is stored as predicted; empty for other tasks."""
    batch: int = USUAL_BATCH
    """Inputs that pass through the network together: of one image on the CPU, for rounding depends on it; of several on another device."""


def planned_experiment(
    plan: Plan, run: RunFolder, bundle: Bundle, suite: Suite, records: Sequence[Record], context: CohortContext
) -> Experiment:
    """Return the experiment of a plan: seed, operating points and batches are the plan's."""
    return Experiment(
        run=run,
        bundle=bundle,
        suite=suite,
        records=records,
        context=context,
        seed=plan.seed,
        cuts=stored_cuts(plan.model),
        batch=plan.model.batch_size,
    )
