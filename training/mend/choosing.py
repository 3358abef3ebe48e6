"""How a last layer is chosen among candidates: by cross-validation over the patients of the validation images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from audit.models.bodies import Features, Head
from audit.models.torch_classifier import one_thread
from audit.randomness import generator_for
from audit.training.mend.copies import Copies, Place
from audit.training.mend.honest import Honest
from audit.training.mend.measured import (
    MOST_LEFT,
    MOST_LOST,
    Measured,
    is_affordable,
    is_enough,
    is_shown_loss,
    knowledge,
    measure,
    share_left,
)

N_FOLDS = 4


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to fit a head."""

    about: str
    """What sets it apart from the others, in words."""
    fit: Callable[[NDArray[np.bool_]], Head]
    """Which images (n) may be used -> the head that is fitted on them."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A head, and how it was chosen."""

    head: Head
    """Fitted on all images."""
    about: str
    """What sets its way of fitting apart."""
    measured: Measured
    """On validation images that the head of their fold did not see."""


@dataclass(frozen=True, kw_only=True)
class HeadSearch:
    """On what heads are fitted, and how they are compared; n images, those that train and those that validate."""

    copies: Copies
    """With features."""
    start: Head
    """The old head."""
    targets: NDArray[np.int64]
    """(n) or (n, k) the truth; of findings -1 is unknown."""
    patients: NDArray[np.intp]
    """(n,) number of each image's patient."""
    validation: NDArray[np.bool_]
    """(n,) images on which heads are compared."""
    old: Measured
    """Figures of the old network on the validation images."""
    honest: Honest | None = None
    """How images count where the shortcut plays no part."""
    seed: int
    """Of the folds."""
    on_fit: Callable[[], None]
    """Called after each fit, `n_fits` times."""


def penalties(fit: Callable[..., Head], pulls: Sequence[float], stills: Sequence[float]) -> list[Candidate]:
    """Return a way to fit a head for each pair of penalties.

    Parameters
    ----------
    fit : callable
        Images inside (n), pull=, still= -> head.
    pulls, stills : sequence of float
        Penalties on the distance from the old head, and on the difference between an image and its copies.
    """
    return [
        Candidate(
            about=f"penalty on the distance from the old layer {pull:g}, on the difference between an image and its copies {still:g}",
            fit=partial(fit, pull=pull, still=still),
        )
        for pull in pulls
        for still in stills
    ]


def choose_head(candidates: Sequence[Candidate], search: HeadSearch) -> Fitted:
    """Fit every candidate without one fold of patients after the other, measure it there, and fit the best one on all images.

    Parameters
    ----------
    candidates : sequence of Candidate
        Among them it is chosen.
    search : HeadSearch
        On what they are fitted and compared.
    """
    # Matrices this small gain nothing from a second thread, and on busy cores threads that wait for each other lose all.
    with one_thread():
        fold = _folds(search.patients, search.validation, search.seed)
        found = [_measured(candidate, search, fold) for candidate in candidates]
        chosen = best(found, search.old)
        head = candidates[chosen].fit(np.ones(len(search.targets), dtype=np.bool_))
    search.on_fit()
    return Fitted(head=head, about=candidates[chosen].about, measured=found[chosen])


def n_fits(n_candidates: int) -> int:
    """Return how many heads `choose_head` fits."""
    return n_candidates * N_FOLDS + 1


def best(found: Sequence[Measured], old: Measured) -> int:
    """Return which candidate is taken: of those that are enough, the one that leaves least among those that know most, within a point.

    Where none is enough, of those that leave a third or less and are not shown to lose accuracy; then of the affordable ones; then of all.
    """
    every = range(len(found))
    pool = [i for i in every if is_enough(found[i], old)]
    pool = pool or [i for i in every if share_left(found[i], old) <= MOST_LEFT and not is_shown_loss(found[i], old)]
    pool = pool or [i for i in every if is_affordable(found[i], old)] or list(every)
    most = max(knowledge(found[i]) for i in pool)
    return min((i for i in pool if knowledge(found[i]) >= most - MOST_LOST), key=lambda i: share_left(found[i], old))


def _measured(candidate: Candidate, search: HeadSearch, fold: NDArray[np.intp]) -> Measured:
    logits: dict[Place, NDArray[np.float32]] = {}
    for number in range(N_FOLDS):
        inside = fold != number
        head = candidate.fit(inside)
        for place, rows in search.copies.features.items():
            kept = logits.setdefault(place, np.zeros((len(search.targets), len(head.bias)), dtype=np.float32))
            kept[~inside] = _logits(head, rows[~inside])
        search.on_fit()
    return measure(search.copies, logits, search.targets, search.validation, search.honest)


def _folds(patients: NDArray[np.intp], validation: NDArray[np.bool_], seed: int) -> NDArray[np.intp]:
    """Deal the patients of validation images to folds; images that only train are in no fold (-1)."""
    tested = np.unique(patients[validation])
    order = generator_for(seed, "mend folds").permutation(len(tested))
    of_patient = {int(tested[p]): place % N_FOLDS for place, p in enumerate(order.tolist())}
    return np.array([of_patient.get(int(p), -1) for p in patients], dtype=np.intp)


def _logits(head: Head, features: Features) -> NDArray[np.float32]:
    found = features.astype(np.float64) @ head.weight.T.astype(np.float64) + head.bias
    return np.asarray(found, dtype=np.float32)
