"""The direction in which an edit with a donor moves the prediction: towards the donor's class, compared with the placebo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.statistics.outputs import Move, Outputs
from audit.statistics.selections import towards_donors


@dataclass(frozen=True, kw_only=True)
class DonorDirection:
    """How far images moved towards the classes of the donors of an edit."""

    known: NDArray[np.bool_]
    """(n,) whether the image had donors of another class than its own in every draw."""
    moves: Mapping[str, NDArray[np.float64]]
    """Measure of direction -> (n,) how far the image moved, mean over draws."""


def donor_direction(
    clean: Outputs,
    outputs: Iterable[Outputs],
    donors: NDArray[np.int64],
    labels: NDArray[np.int64],
    *,
    paired: bool,
) -> DonorDirection:
    """Measure how far a condition pushes images towards donor classes.

    The donor classes are those of the *edit*, also where `outputs` are those under its placebo: every draw of the placebo is
    compared with every donor class of the edit, so that the difference is the effect of the donor's class.

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
    measured = towards_donors()
    known = np.all((donors >= 0) & (donors != labels), axis=0)
    total, pairs = {name: np.zeros(len(labels)) for name in measured}, 0
    for draw, now in enumerate(outputs):
        move = Move(clean=clean, now=now)
        for classes in donors[draw : draw + 1] if paired else donors:
            target = np.maximum(classes, 0)
            for name, toward in measured.items():
                total[name] += toward(move, target)
            pairs += 1
    return DonorDirection(known=known, moves={name: values / pairs for name, values in total.items()})
