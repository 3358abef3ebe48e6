"""The network's logits for images whose truth is known, read in every way that measures need."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_LARGEST_GAP = 600.0
"""Largest distance of logits for which odds can be represented: exp(600) is 1e260."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outputs:
    """One set of logits for n images over k classes, read in every way the measures need."""

    probabilities: NDArray[np.float64]
    """(n, k) softmax of the logits at the model's own temperature, or the sigmoid of each."""
    predicted: NDArray[np.intp]
    """(n,) index of the largest logit, the first of equals; of independent findings (n, k), 1 above its operating point."""
    correct: NDArray[np.bool_] | NDArray[np.float64]
    """(n,) whether the winner is the true class; of independent findings the share of the known labels that are met."""
    margin: NDArray[np.float64]
    """(n,) logit of the true class minus the largest other logit."""
    true_probability: NDArray[np.float64]
    """(n,) probability of the true class."""
    confidence: NDArray[np.float64]
    """(n,) probability of the winner."""
    nll: NDArray[np.float64]
    """(n,) negative log likelihood of the true class, in nats."""
    brier: NDArray[np.float64]
    """(n,) sum over classes of the squared distance from the truth, in [0, 2] (Brier 1950)."""
    scores: NDArray[np.float64]
    """(k, n) what orders the images by each class, also where probabilities round to 1: its odds against all others.

    Where logits are too far apart for that, the logarithm of the odds."""
    exclusive: bool = True
    """Whether exactly one of the outputs applies to an image; if not, each has a probability of its own."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """The same n images, unedited and under one draw of a condition."""

    clean: Outputs
    """Unedited."""
    now: Outputs
    """Under the condition."""
    partner: Outputs | None = None
    """Under the other draw of its pair, which saw the other half of the patients; None where draws are not paired."""

    @cached_property
    def moved(self) -> NDArray[np.float64]:
        """(n, k) absolute change of every probability."""
        return np.abs(self.now.probabilities - self.clean.probabilities)

    @cached_property
    def flipped(self) -> NDArray[np.bool_]:
        """(n,) whether the winner changed; of independent findings, whether any crossed its operating point."""
        changed: NDArray[np.bool_] = self.now.predicted != self.clean.predicted
        return changed if changed.ndim == 1 else np.asarray(changed.any(axis=1))

    @property
    def variation(self) -> NDArray[np.float64]:
        """(n,) total variation; of independent findings the largest of theirs, which that of all of them together is at least."""
        return 0.5 * self.moved.sum(axis=1) if self.clean.exclusive else np.asarray(self.moved.max(axis=1))

    @property
    def confirmed(self) -> NDArray[np.float64]:
        """(n,) total variation with each change counted in the direction that it has under the partner; negative where they disagree.

        What both halves of the patients show is counted in full, and what arises in each by chance cancels on average. Without a partner
        it is the total variation. Of independent findings the change is that of the finding that the partner changes most.
        """
        if self.partner is None:
            return self.variation
        changed = self.now.probabilities - self.clean.probabilities
        expected = self.partner.probabilities - self.clean.probabilities
        if self.clean.exclusive:
            return np.asarray(0.5 * (changed * np.sign(expected)).sum(axis=1))
        rows, most = np.arange(len(changed)), np.abs(expected).argmax(axis=1)
        return np.asarray(changed[rows, most] * np.sign(expected[rows, most]))

    @property
    def halves(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What both halves of the patients move together, (n,), and half of what the first moves further that way than the second, (n,).

        The first is the total variation of the mean of both draws, in which chance counts as much as anything else. The second has a mean
        of 0, and the variance that the first has because other patients might have taught the edit.
        """
        assert self.partner is not None
        changed = self.now.probabilities - self.clean.probabilities
        expected = self.partner.probabilities - self.clean.probabilities
        together, apart = (changed + expected) / 2, (changed - expected) / 2
        if self.clean.exclusive:
            return 0.5 * np.abs(together).sum(axis=1), 0.5 * (np.sign(together) * apart).sum(axis=1)
        rows, most = np.arange(len(changed)), np.abs(together).argmax(axis=1)
        common = together[rows, most]
        return np.abs(common), np.sign(common) * apart[rows, most]

    def pull(self, classes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (n,) how much the probability of a class rises, which is given for each image."""
        rows = np.arange(len(classes))
        pulled: NDArray[np.float64] = self.now.probabilities[rows, classes] - self.clean.probabilities[rows, classes]
        return pulled

    def flipped_to(self, classes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (n,) whether the winner became that class."""
        reached: NDArray[np.bool_] = (self.now.predicted == classes) & (self.clean.predicted != classes)
        return reached


def winners(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the largest of each column of (k, n) values, and its row; the first of equals.

    The same as `max` and `argmax` along axis 0; the latter walks down the columns, which takes several times as long.
    """
    top, winner = values[0].copy(), np.zeros(values.shape[1], dtype=np.intp)
    for row in range(1, len(values)):
        np.copyto(winner, row, where=values[row] > top)
        np.maximum(top, values[row], out=top)
    return top, winner


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Turn logits (..., k) into probabilities (..., k)."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def sigmoid(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Turn logits of independent findings into probabilities, each by itself."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits.astype(np.float64))))


def probabilities_of(logits: NDArray[np.floating], *, exclusive: bool) -> NDArray[np.float64]:
    """Turn logits (..., k) into probabilities (..., k): of classes that exclude each other, or of independent findings."""
    return softmax(logits) if exclusive else sigmoid(logits)


def read_outputs(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> Outputs:
    """Read logits as probabilities, winners and margins.

    Parameters
    ----------
    logits : array, (n images, k classes), finite, k >= 2
    labels : array of int, (n images,)
        Index of the true class.
    """
    # Classes first, (k, n): reductions over a few classes are many times faster along whole rows.
    # Always a copy: it is modified below, and the logits of one image would otherwise be the caller's array.
    values = np.array(logits.T, dtype=np.float64, order="C")
    true = labels * values.shape[1] + np.arange(values.shape[1])  # place of the true class, in one index
    top, predicted = winners(values)
    gaps = values - top
    powers = np.exp(gaps)
    total = powers.sum(axis=0)
    probabilities = powers / total
    true_probability, true_logit = probabilities.ravel()[true], values.ravel()[true]
    brier = np.square(probabilities).sum(axis=0) - 2 * true_probability + 1
    values.ravel()[true] = -np.inf
    return Outputs(
        probabilities=probabilities.T,
        predicted=predicted,
        correct=predicted == labels,
        margin=true_logit - values.max(axis=0),
        true_probability=true_probability,
        confidence=1 / total,  # the winner's power is exp(0)
        # From the logits, so that a probability that underflows still has its correct loss.
        nll=top + np.log(total) - true_logit,
        brier=brier,
        scores=_class_scores(gaps, powers, predicted),
    )


def _class_scores(
    gaps: NDArray[np.float64], powers: NDArray[np.float64], winner: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return `Outputs.scores` from (k, n) logits below the largest and their exponentials, which are written to."""
    won = winner * gaps.shape[1] + np.arange(gaps.shape[1])
    # The winner's power is 1. Its odds are against the sum of the others, not 1 minus a share, which would round to 0.
    powers.ravel()[won] = 0.0
    others = powers.sum(axis=0)
    if gaps.min() >= -_LARGEST_GAP:
        scores: NDArray[np.float64] = powers / (1 + others - powers)
        scores.ravel()[won] = 1 / others
    else:  # logarithms order images the same way, but take longer
        scores = gaps - np.log(1 + others - powers)
        scores.ravel()[won] = -np.log(np.maximum(others, 1e-300))
    return scores
