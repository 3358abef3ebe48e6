"""Where an edit with a donor pushes the answer: towards the donor's class, against the same class under the placebo."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.statistics.measures import Outputs

TO_DONOR = ("flip_rate_to_donor", "pull_to_donor")
"""Measures of direction."""


@dataclass(frozen=True, kw_only=True)
class DonorDirection:
    """How far images moved towards the classes of the donors of an edit."""

    known: NDArray[np.bool_]
    """(n,) whether the image had donors of another class than its own in every draw."""
    flip_rate_to_donor: NDArray[np.float64]
    """(n,) share of draws under which the donor's class wins though it did not win before."""
    pull_to_donor: NDArray[np.float64]
    """(n,) probability that the donor's class gained, mean over draws."""


def donor_direction(
    clean: Outputs,
    outputs: Iterable[Outputs],
    donors: NDArray[np.int64],
    labels: NDArray[np.int64],
    *,
    paired: bool,
) -> DonorDirection:
    """Measure how far a condition pushes images towards donor classes.

    The donor classes are those of the *edit*, also where `outputs` are those under its placebo: every draw of the
    placebo is held against every donor class of the edit, so that the difference of both is what the donor's class does.

    Parameters
    ----------
    clean : Outputs
        Of n images over k classes.
    outputs : iterable of Outputs
        Of the same images, one a draw of the condition.
    donors : array of int, (draws of the edit, n)
        Class of the edit's donor; -1 where there was none.
    labels : array of int, (n,)
        Index of the true class.
    paired : bool
        True for the edit itself, whose draws have a donor each; False for its placebo.
    """
    rows = np.arange(len(labels))
    known = np.all((donors >= 0) & (donors != labels), axis=0)
    flips, pull, pairs = np.zeros(len(labels)), np.zeros(len(labels)), 0
    for draw, now in enumerate(outputs):
        for classes in donors[draw : draw + 1] if paired else donors:
            target = np.maximum(classes, 0)
            flips += (now.predicted == target) & (clean.predicted != target)
            pull += now.probabilities[rows, target] - clean.probabilities[rows, target]
            pairs += 1
    return DonorDirection(known=known, flip_rate_to_donor=flips / pairs, pull_to_donor=pull / pairs)
