"""Accuracy and AUC of the old and of the new network on unedited test images: all, by source, and by whether the shortcut was right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.prediction.table import FinishedRun
from audit.statistics.alignment import AlignedImages, align_images, apply_condition
from audit.statistics.catalogue import MOVEMENT
from audit.statistics.intervals import change_intervals
from audit.statistics.jackknife import jackknife_interval
from audit.statistics.patient_bootstrap import PatientBootstrap
from audit.statistics.patient_sums import PatientSums, sum_by_patient
from audit.statistics.ranking import auc_influences, mean_placements, usable_classes
from audit.store.mend import Paired
from audit.training.mend.honest import HONEST, Honest, Moved, find_honest
from audit.training.mend.suspects import Target

RIGHT, BREAKS, OTHERS, EDITED = (
    "accuracy on images where the shortcut was right",
    "accuracy on images that break the shortcut",
    "accuracy on all other images",
    "accuracy with the suspects edited",
)
FROM = 0.05
"""Change of the true class's probability, beyond the placebo's, from which an edit shows that the shortcut was right or wrong."""
_STREAM = 0x3E2D
_FEWEST = 5
"""Images of a group that is shown."""


def measure_performance(before: FinishedRun, after: FinishedRun, targets: Sequence[Target]) -> tuple[Paired, ...]:
    """Compare two networks on the unedited images of two runs.

    The shortcut was right for an image where the old network gives the true class less probability once the suspect is edited, beyond
    the placebo, by `FROM` or more; the image breaks the shortcut where it gives it more.

    Parameters
    ----------
    before, after : FinishedRun
        Runs on the same images.
    targets : sequence of Target
        What was mended.
    """
    old, new = align_images(before.table), align_images(after.table)
    if not np.array_equal(before.table.record_ids[old.order], after.table.record_ids[new.order]):
        return ()
    everyone = np.ones(len(old.labels), dtype=np.bool_)
    was, now = (images.clean.correct.astype(np.float64) for images in (old, new))
    groups = {"accuracy": everyone}
    helped = shortcut_help(before, old, targets)
    if helped is not None:
        right, breaks = helped >= FROM, helped <= -FROM
        groups |= {RIGHT: right, BREAKS: breaks, OTHERS: ~right & ~breaks}
    sources = [s for s in np.unique(old.sources).tolist() if s]
    if len(sources) > 1:
        groups |= {f"accuracy, source {s}": old.sources == s for s in sources}
    samples = [_accuracy(name, was, now, members, old) for name, members in groups.items()]
    samples.append(_accuracy_edited(before, after, old, new, targets))
    samples.append(_accuracy_honest(before, after, old, new, targets))
    shown = [(row, sums) for row, sums in samples if sums is not None]
    statistics = after.plan.statistics
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([after.plan.seed, _STREAM])))
    bootstrap = PatientBootstrap(old.n_patients, statistics.resamples, rng)
    intervals = change_intervals([sums for _, sums in shown], bootstrap=bootstrap, level=statistics.level)
    found = [
        Paired(**row, low=_rounded(i.low), high=_rounded(i.high), method=i.method)
        for (row, _), i in zip(shown, intervals, strict=True)
    ]
    if old.findings is None:
        places = {"AUC": everyone}
        if len(sources) > 1:
            places |= {f"AUC, source {s}": old.sources == s for s in sources}
        aucs = [_auc(name, old, new, members, statistics.level) for name, members in places.items()]
        found += [auc for auc in aucs if auc is not None]
    return tuple(found)


def shortcut_help(run: FinishedRun, images: AlignedImages, targets: Sequence[Target]) -> NDArray[np.float64] | None:
    """Return (n,) how much probability of the true class the old network owes to the suspects; NaN where no edit could be applied.

    None where no target has an edit.
    """
    found: list[NDArray[np.float64]] = []
    for target in targets:
        for name in _edits_of(target):
            placebo = run.suite[name].placebo
            edited = apply_condition(name, run.table, images, pairs=run.suite[name].pairs)
            harm, here = edited.changes.changes["harm"], edited.everywhere
            if placebo is not None:
                other = apply_condition(placebo, run.table, images, pairs=run.suite[placebo].pairs)
                harm, here = harm - other.changes.changes["harm"], here & other.everywhere
            found.append(np.where(here, harm, np.nan))
    if not found:
        return None
    values = np.stack(found)
    # Of several suspects the one that the answer owes most to, in either direction, decides.
    strongest = np.argmax(np.nan_to_num(np.abs(values), nan=-1.0), axis=0)
    return np.asarray(values[strongest, np.arange(values.shape[1])])


def _edits_of(target: Target) -> list[str]:
    """Return the edit that a target is judged by; of one that is judged by what is kept, all that take it away."""
    return [target.effect.condition] if target.effect.condition in target.edits else list(target.edits)


def _accuracy(
    name: str,
    was: NDArray[np.float64],
    now: NDArray[np.float64],
    members: NDArray[np.bool_],
    images: AlignedImages,
) -> tuple[dict[str, Any], PatientSums | None]:
    if members.sum() < _FEWEST:
        return {}, None
    sums = sum_by_patient(
        now - was, images.patients, images.n_patients, population=members, scale="difference", counted=True
    )
    row = {
        "name": name,
        "n_images": int(members.sum()),
        "n_patients": len(np.unique(images.patients[members])),
        "before": round(float(was[members].mean()), 10),
        "after": round(float(now[members].mean()), 10),
        "change": round(float((now - was)[members].mean()), 10),
    }
    return row, sums


def _accuracy_edited(
    before: FinishedRun, after: FinishedRun, old: AlignedImages, new: AlignedImages, targets: Sequence[Target]
) -> tuple[dict[str, Any], PatientSums | None]:
    """Compare the networks where the suspects are edited: there the shortcut buys nothing, so what is lost is lost."""
    names = list(dict.fromkeys(name for target in targets for name in _edits_of(target)))
    if not names:
        return {}, None
    right = []
    for run, images in ((before, old), (after, new)):
        applied = [apply_condition(name, run.table, images, pairs=run.suite[name].pairs) for name in names]
        as_is = images.clean.correct.astype(np.float64)
        # Images that cannot be edited count as they are: an edit that one class can take would measure how often that is named.
        edited = [np.where(a.everywhere, a.changes.correct.mean(axis=0), as_is) for a in applied]
        right.append(np.mean(edited, axis=0))
    return _accuracy(EDITED, right[0], right[1], np.ones(len(old.labels), dtype=np.bool_), old)


def _accuracy_honest(
    before: FinishedRun, after: FinishedRun, old: AlignedImages, new: AlignedImages, targets: Sequence[Target]
) -> tuple[dict[str, Any], PatientSums | None]:
    """Compare the networks where the shortcut plays no part: what is lost there is the cost of mending."""
    honest = _honest(before, old, targets)
    right = []
    for run, images in ((before, old), (after, new)):
        applied = {n: apply_condition(n, run.table, images, pairs=run.suite[n].pairs) for n in honest.copies}
        edited = {name: np.asarray(a.changes.correct.mean(axis=0)) for name, a in applied.items()}
        right.append(honest.right(images.clean.correct.astype(np.float64), edited))
    here = np.isfinite(right[0])
    was, now = (np.where(here, values, 0.0) for values in right)
    return _accuracy(HONEST, was, now, here, old)


def _honest(run: FinishedRun, images: AlignedImages, targets: Sequence[Target]) -> Honest:
    """Say how the test images count, by what the edits of the suspects do to the old network's answers."""
    found = []
    for target in targets:
        for name in target.edits:
            condition = run.suite[name]
            edited = apply_condition(name, run.table, images, pairs=condition.pairs)
            by = edited.changes.changes[MOVEMENT]
            if condition.placebo is not None:
                other = apply_condition(condition.placebo, run.table, images, pairs=run.suite[condition.placebo].pairs)
                by = by - np.where(other.everywhere, other.changes.changes[MOVEMENT], 0.0)
            removes = bool(condition.declared.removes)
            found.append(Moved(edit=name, suspect=target.suspect, removes=removes, applied=edited.everywhere, by=by))
    return find_honest(found, len(images.labels))


def _auc(name: str, old: AlignedImages, new: AlignedImages, members: NDArray[np.bool_], level: float) -> Paired | None:
    labels, k = old.labels[members], len(old.classes)
    if members.sum() < _FEWEST or not usable_classes(labels, k):
        return None
    was, now = (mean_placements(images.clean.scores[None][..., members], labels, k) for images in (old, new))
    assert was is not None
    assert now is not None
    patients = old.patients[members]
    _, before = auc_influences(was, labels, patients, old.n_patients, k, plain=True)
    _, after = auc_influences(now, labels, patients, old.n_patients, k, plain=True)
    _, change = auc_influences(now - was, labels, patients, old.n_patients, k, plain=False)
    interval = jackknife_interval(change, level)
    return Paired(
        name=name,
        n_images=int(members.sum()),
        n_patients=len(np.unique(patients)),
        before=round(before.estimate, 10),
        after=round(after.estimate, 10),
        change=round(change.estimate, 10),
        low=_rounded(interval.low),
        high=_rounded(interval.high),
        method=interval.method,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 10)
