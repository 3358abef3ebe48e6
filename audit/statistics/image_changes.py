"""What an edit does to one image: changes of correctness, margin, winner and probabilities against the clean image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.statistics.catalogue import MOVEMENT
from audit.statistics.outputs import Move, Outputs
from audit.statistics.selections import changes_of_images

Read = Callable[[NDArray[np.floating]], Outputs]
"""Logits of n images, (n, k), read with the truth that is known of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageChanges:
    """What a condition did to each of n images, its draws averaged within the image."""

    changes: Mapping[str, NDArray[np.float64]]
    """Measure with a number of its own for each image -> (n,) mean over draws of the change against clean."""
    confirmed: NDArray[np.float64]
    """(n,) mean over draws of `Move.confirmed`: the total variation, of paired draws counted where both halves of the patients agree."""
    flipped: NDArray[np.bool_]
    """(n,) whether any draw changed the winner."""
    largest: NDArray[np.float64]
    """(n,) largest absolute change of any class's probability in any draw."""
    confidence: NDArray[np.float64]
    """(draws, n) probability of the winner under each draw."""
    correct: NDArray[np.float64]
    """(draws, n) whether it is the true class, 0 or 1; see `Outputs.correct`."""
    scores: NDArray[np.float64]
    """(draws, k, n) see `Outputs.scores`."""
    by_draw: Mapping[str, NDArray[np.float64]]
    """The same as `changes`, (draws, n) draw by draw; empty unless it was asked for."""
    halves: Mapping[str, NDArray[np.float64]]
    """Of pairs of draws: half of what the first changes more than the second, (pairs, n); empty without pairs."""
    unconfirmed: NDArray[np.float64]
    """(n,) total variation of the mean of a pair's draws beyond what each of them confirms of the other; 0 without pairs."""


def image_changes(
    clean: Outputs,
    draws: NDArray[np.floating],
    read: Read,
    *,
    by_draw: bool = False,
    pairs: int = 0,
    measured: Mapping[str, Callable[[Move], NDArray[np.float64]]] | None = None,
) -> ImageChanges:
    """Measure how every image changed under a condition, averaged over the condition's draws.

    This covers the measures of the catalogue that have a value for each image (`Measure.change`).

    Parameters
    ----------
    clean : Outputs
        The clean images' outputs, n images over k classes.
    draws : array, (d draws, n images, k classes)
        Logits under the condition.
    read : callable
        Reads the logits of one draw.
    by_draw : bool
        Keep the changes of every draw, too.
    pairs : int
        How many pairs of draws see two halves of the patients: draws 0 and 1, 2 and 3, and so on.
    measured : mapping, optional
        What is measured; all measures of images if omitted.
    """
    n = len(clean.correct)
    measured = changes_of_images() if measured is None else measured
    total = {name: np.zeros(n) for name in measured}
    apart = {name: np.empty((len(draws), n)) for name in measured} if by_draw else {}
    halves = {name: np.zeros((pairs, n)) for name in measured} if pairs else {}
    confirmed, together, flipped = np.zeros(n), np.zeros(n), np.zeros(n, dtype=np.bool_)
    largest = np.zeros(n)
    confidence, correct = np.empty((len(draws), n)), np.empty((len(draws), n))
    scores = np.empty((len(draws), *clean.scores.shape))
    for draw, logits in enumerate(draws):  # one draw at a time keeps the memory at a few (n, k) arrays
        now = read(logits)
        move = Move(clean=clean, now=now, partner=read(draws[draw ^ 1]) if draw < 2 * pairs else None)
        confirmed += move.confirmed
        together += move.variation if move.partner is None else move.halves[0]
        for name, change in measured.items():
            moved = change(move)
            total[name] += moved
            if by_draw:
                apart[name][draw] = moved
            if move.partner is not None:
                # A magnitude grows with chance, whichever way that goes: what counts is how far it goes the common way.
                further = move.halves[1] if name == MOVEMENT else moved
                halves[name][draw // 2] += further / (2 if draw % 2 == 0 else -2)
        flipped |= move.flipped
        np.maximum(largest, move.moved.max(axis=1), out=largest)
        confidence[draw], correct[draw], scores[draw] = now.confidence, now.correct, now.scores
    return ImageChanges(
        changes={name: values / max(1, len(draws)) for name, values in total.items()},
        confirmed=confirmed / max(1, len(draws)),
        flipped=flipped,
        largest=largest,
        confidence=confidence,
        correct=correct,
        scores=scores,
        by_draw=apart,
        halves=halves,
        unconfirmed=(together - confirmed) / max(1, len(draws)),
    )


def settled(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Set to zero differences that are only due to rounding of means over different numbers of draws."""
    return np.where(np.abs(differences) < 1e-12, 0.0, differences)
