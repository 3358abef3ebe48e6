"""What can be done about a shortcut of a network that cannot be trained: edit images before it sees them, at a cost that a run measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audit.errors import AuditError
from audit.models.bundle import Bundle
from audit.prediction.table import FinishedRun, read_finished
from audit.statistics.alignment import align_images, apply_condition
from audit.store.folder import RunFolder
from audit.store.mend import Paired
from audit.store.numbers import number, signed_bracketed
from audit.store.results import EffectsDocument
from audit.training.mend.honest import compare_right
from audit.training.mend.suspects import Target, choose_targets


def advise_untrained(run: Path | None, bundle: Bundle, suspects: Sequence[str]) -> str:
    """Return, for each suspect of a run, what editing images before prediction would cost; empty where there is no run of this network.

    Parameters
    ----------
    run : Path, optional
        Finished run.
    bundle : Bundle
        The network.
    suspects : sequence of str
        What to mend; by default what the run found.
    """
    if run is None:
        return "With --run, the accuracy is reported that is left if images are edited before this network sees them."
    try:
        finished = read_finished(run)
        effects = RunFolder(run).read(EffectsDocument).effects
        targets = choose_targets(finished.plan.suite.conditions, effects, suspects)
    except AuditError:
        return ""
    if finished.plan.model.digest != bundle.digest:
        return ""
    return " ".join(_advice(target, finished) for target in targets)


def _advice(target: Target, run: FinishedRun) -> str:
    name = target.suspect
    costs = {edit: cost for edit in target.edits if (cost := _cost_of(edit, run)) is not None}
    if not costs:
        return (
            f"No edit of the suite {run.plan.suite.name} takes {name} away; where it is known beside the image, give each group thresholds "
            "of its own, and report results by group."
        )
    edit, cost = max(costs.items(), key=lambda item: item[1].after)
    title = run.suite[edit].title
    change = signed_bracketed(cost.change, cost.low, cost.high)
    taken = f"{name[:1].upper()}{name[1:]} can be taken away before the network sees an image"
    return (
        f"{taken}. With {title[:1].lower()}{title[1:]}, accuracy in this run is {number(cost.after)} (unedited {number(cost.before)}, "
        f"change {change}, n = {cost.n_images}); what the shortcut bought is gone there, too."
    )


def _cost_of(edit: str, run: FinishedRun) -> Paired | None:
    """Compare the accuracy on images as they are with that on edited ones; None of an edit that takes nothing away, or of few images."""
    condition = run.suite[edit]
    if not condition.declared.removes:
        return None
    images = align_images(run.table)
    applied = apply_condition(edit, run.table, images, pairs=condition.pairs)
    was = images.clean.correct.astype(np.float64)
    # An image that has nothing to take away goes in as it is.
    now = np.where(applied.everywhere, applied.changes.correct.mean(axis=0), was)
    plan = run.plan
    return compare_right(was, now, images.patients, level=plan.statistics.level, seed=plan.seed, name="accuracy")
