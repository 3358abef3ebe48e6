"""Measures that are not means over images (AUC, calibration error): on unedited images, and their change under an edit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from audit.statistics.alignment import AlignedImages, AppliedChanges
from audit.statistics.calibration import ece_change
from audit.statistics.image_changes import ImageChanges
from audit.statistics.jackknife import PatientInfluence
from audit.statistics.ranking import auc_influences, mean_placements
from audit.store.group import ALL, Group

Curve = tuple[str, Group, PatientInfluence | None]
"""Measure, group and what patients say of it; None where no image is behind it."""


def clean_curves(images: AlignedImages) -> Iterator[Curve]:
    """Yield AUC of each class against the rest, their mean, and the calibration error of the clean images."""
    everyone = np.ones(len(images.labels), dtype=np.bool_)
    yield from _aucs(_placed(images.clean.scores[None], everyone, images), everyone, images, plain=True)
    yield "ece", ALL, ece_change([(1.0, *_clean(images))], images.patients, images.n_patients, everyone)


def curve_changes(
    applied: AppliedChanges, placebo: AppliedChanges | None, population: NDArray[np.bool_], images: AlignedImages
) -> Iterator[Curve]:
    """Yield how a condition changes AUCs and calibration error, against its placebo or, without one, against clean.

    Against a placebo clean falls out: (edit - clean) - (placebo - clean) = edit - placebo, draws averaged on both sides.

    Parameters
    ----------
    applied, placebo : AppliedChanges
        The condition, and its placebo or None.
    population : array of bool, (n images,)
        Images that count.
    images : AlignedImages
    """
    if not population.any():
        yield from (("macro_auc", ALL, None), ("ece", ALL, None))
        return
    before = images.clean.scores[None] if placebo is None else placebo.changes.scores
    edited, other = _placed(applied.changes.scores, population, images), _placed(before, population, images)
    moved = None if edited is None or other is None else edited - other
    yield from _aucs(moved, population, images, plain=False)
    reference = _clean(images) if placebo is None else _sure(placebo.changes)
    pair = [(1.0, *_sure(applied.changes)), (-1.0, *reference)]
    yield "ece", ALL, ece_change(pair, images.patients, images.n_patients, population)


def _clean(images: AlignedImages) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return images.clean.confidence[None], images.clean.correct[None].astype(np.bool_)


def _sure(changes: ImageChanges) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return changes.confidence, changes.correct.astype(np.bool_)


def _placed(
    draws: NDArray[np.float64], population: NDArray[np.bool_], images: AlignedImages
) -> NDArray[np.float64] | None:
    scores = draws if population.all() else draws[..., population]
    return mean_placements(scores, images.labels[population], len(images.classes))


def _aucs(
    moved: NDArray[np.float64] | None, population: NDArray[np.bool_], images: AlignedImages, *, plain: bool
) -> Iterator[Curve]:
    if moved is None:  # all images are of one class
        yield "macro_auc", ALL, None
        return
    each, mean = auc_influences(
        moved,
        images.labels[population],
        images.patients[population],
        images.n_patients,
        len(images.classes),
        plain=plain,
    )
    yield "macro_auc", ALL, mean
    for c, influence in each.items():
        yield "auc", Group(kind="class", value=images.classes[c]), influence
