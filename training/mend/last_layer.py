"""Method 1: the last layer is fitted again on cached features of the images and of their edited copies (Kirichenko et al. 2023).

The features stay. Unedited images and edited copies have half the weight each, and every copy keeps its image's class; those by an edit
that not every class can take are left out, because they would teach that the edit's own traces mean a class. The logits of an image, of
its edited copies and of its placebos are held together: without the placebos, a layer could go on reading the suspect and make up for
it by the traces. How firmly they are held, and how near the layer stays to the old one, is chosen by cross-validation over patients on
the validation images: of the layers that are most accurate on edited images, within as much as may be lost, the one that leaves least.
Not by likelihood, which prefers a layer that says nothing to one that says much too firmly. Where the look of a source is mended, the
sources of a class have equal weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.models.bodies import Features, Head
from audit.models.fitting import fit_head
from audit.models.torch_classifier import one_thread
from audit.randomness import generator_for
from audit.training.mend.copies import Copies, Place
from audit.training.mend.measured import MOST_LOST, Measured, is_affordable, is_enough, measure, share_left

PULLS = (1e-2, 1e-1)
STILLS = (1.0, 3.0, 10.0, 30.0, 100.0)
_FOLDS = 4


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A head, and how it was chosen."""

    head: Head
    """Fitted on all images."""
    pull: float
    """Weight of the distance from the old head that was chosen."""
    still: float
    """Weight of the difference between an image's logits and its copies'."""
    measured: Measured
    """On validation images that the head of their fold did not see."""


def refit(
    copies: Copies,
    start: Head,
    targets: NDArray[np.int64],
    patients: NDArray[np.intp],
    validation: NDArray[np.bool_],
    weights: NDArray[np.float64],
    old: Measured,
    *,
    seed: int,
    on_fit: Callable[[], None],
) -> Fitted:
    """Choose how a head is fitted on validation images by patient, and fit it on all images.

    Parameters
    ----------
    copies : Copies
        With features.
    start : Head
        The old one.
    targets : int64 (n), or (n, k)
        The truth; of findings -1 is unknown.
    patients : int (n)
        Number of each image's patient.
    validation : bool (n)
        Images on which heads are compared.
    weights : float64 (n)
        Of the images, with a mean of 1.
    old : Measured
        Figures of the old network on the validation images.
    seed : int
        Of the folds.
    on_fit : callable
        Called after each of `n_fits`.
    """
    # Matrices this small gain nothing from a second thread, and on busy cores threads that wait for each other lose all.
    with one_thread():
        return _chosen(copies, start, targets, _folds(patients, validation, seed), validation, weights, old, on_fit)


def _chosen(
    copies: Copies,
    start: Head,
    targets: NDArray[np.int64],
    fold: NDArray[np.intp],
    validation: NDArray[np.bool_],
    weights: NDArray[np.float64],
    old: Measured,
    on_fit: Callable[[], None],
) -> Fitted:
    tried: list[tuple[float, float, Measured]] = []
    for pull in PULLS:
        for still in STILLS:
            logits: dict[Place, NDArray[np.float32]] = {
                place: np.zeros((len(targets), len(start.bias)), dtype=np.float32) for place in copies.features
            }
            for number in range(_FOLDS):
                inside = fold != number
                head = _fit(copies, start, targets, weights, inside, pull, still)
                for place, rows in copies.features.items():
                    logits[place][~inside] = _logits(head, rows[~inside])
                on_fit()
            tried.append((pull, still, measure(copies, logits, targets, validation)))
    pull, still, measured = _best(tried, old)
    head = _fit(copies, start, targets, weights, np.ones(len(targets), dtype=np.bool_), pull, still)
    on_fit()
    return Fitted(head=head, pull=pull, still=still, measured=measured)


def n_fits() -> int:
    """Return how many heads `refit` fits."""
    return len(PULLS) * len(STILLS) * _FOLDS + 1


def source_weights(labels: NDArray[np.int64], sources: NDArray[np.str_]) -> NDArray[np.float64]:
    """Return weights (n) with which the sources of a class count alike, and a class as much as it has images."""
    weights = np.ones(len(labels))
    for label in np.unique(labels):
        mine = labels == label
        names, place, counts = np.unique(sources[mine], return_inverse=True, return_counts=True)
        weights[mine] = mine.sum() / (len(names) * counts[place])
    return weights


def _best(tried: Sequence[tuple[float, float, Measured]], old: Measured) -> tuple[float, float, Measured]:
    """Return, of the candidates that are enough, the one that leaves least among the most accurate, within as much as may be lost.

    Where none is enough, of the affordable ones; where none is affordable, of all.
    """
    pool = [one for one in tried if is_enough(one[2], old)]
    pool = pool or [one for one in tried if is_affordable(one[2], old)] or list(tried)
    most = max(one[2].accuracy_edited for one in pool)
    return min(
        (one for one in pool if one[2].accuracy_edited >= most - MOST_LOST), key=lambda one: share_left(one[2], old)
    )


def _folds(patients: NDArray[np.intp], validation: NDArray[np.bool_], seed: int) -> NDArray[np.intp]:
    """Deal the patients of validation images to folds; images that only train are in no fold (-1)."""
    tested = np.unique(patients[validation])
    order = generator_for(seed, "mend folds").permutation(len(tested))
    of_patient = {int(tested[p]): place % _FOLDS for place, p in enumerate(order.tolist())}
    return np.array([of_patient.get(int(p), -1) for p in patients], dtype=np.intp)


def _fit(
    copies: Copies,
    start: Head,
    targets: NDArray[np.int64],
    weights: NDArray[np.float64],
    inside: NDArray[np.bool_],
    pull: float,
    still: float,
) -> Head:
    """Fit a head on the images inside and on the copies of them that the edits made."""
    clean = copies.features["clean", 0]
    edits = [place for condition in copies.edits for place in copies.draws(condition.name)]
    labelled = [place for place in edits if _of_every_class(targets[inside & copies.applied[place]], targets)]
    n_copies = np.sum([copies.applied[place] for place in labelled], axis=0) if labelled else np.zeros(len(targets))
    rows: list[Features] = [clean[inside]]
    wanted, each, twins = [targets[inside]], [weights[inside]], []
    placebos = [place for condition in copies.edits for place in copies.draws(str(condition.placebo))]
    for place in dict.fromkeys((*edits, *placebos)):
        mine = inside & copies.applied[place]
        twins.append(copies.features[place][mine] - clean[mine])
        if place in labelled:
            rows.append(copies.features[place][mine])
            wanted.append(targets[mine])
            each.append(weights[mine] / n_copies[mine])
    share = np.concatenate(each)
    return fit_head(
        np.concatenate(rows),
        np.concatenate(wanted),
        len(start.bias),
        start=start,
        nuisance=np.concatenate(twins),
        pull=pull,
        still=still,
        weights=share * (len(share) / share.sum()),
    )


def _of_every_class(edited: NDArray[np.int64], targets: NDArray[np.int64]) -> bool:
    """Say whether copies show every class: those of one class alone would teach that the edit's own traces mean that class."""
    if targets.ndim > 1:
        return len(edited) > 0
    return len(np.unique(edited)) == len(np.unique(targets))


def _logits(head: Head, features: Features) -> NDArray[np.float32]:
    found = features.astype(np.float64) @ head.weight.T.astype(np.float64) + head.bias
    return np.asarray(found, dtype=np.float32)
