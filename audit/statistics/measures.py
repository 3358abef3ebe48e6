"""What an edit does to one image: changes of correctness, margin, winner and probabilities against the clean image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHANGES = ("accuracy", "margin", "flip_rate", "harm", "total_variation", "nll", "brier")
"""Measures that have one number for each image."""
ACCURACY_OVER_SOURCE = "accuracy_over_source"
"""Measured of clean images: accuracy minus that of guessing the class from the source."""
CONTROL_MEASURE = "max_abs_probability_change"
"""What is measured of a control: the largest change of any probability, which must be exactly 0."""
MEASURES = (
    *CHANGES,
    "margin_sd",
    "balanced_accuracy",
    "recall",
    "auc",
    "macro_auc",
    "ece",
    "flip_rate_to_donor",
    "pull_to_donor",
    "shortcut_sensitivity",
    "sufficiency",
    "shortcut_sensitivity_corrected",
    ACCURACY_OVER_SOURCE,
    CONTROL_MEASURE,
)
"""Every measure that an effect can carry."""
COMPARED = (
    "shortcut_sensitivity",
    "sufficiency",
    "accuracy",
    "margin",
    "flip_rate",
    "harm",
    "total_variation",
    "nll",
    "brier",
)
"""Measures that have a number for each image, and so a paired difference between two runs."""
DECLARED, EXPLORATORY = "westfall-young", "benjamini-hochberg"
"""How the p values of each family are adjusted, as a plan names it."""
DRAWS = 20_000
"""Multiplier draws over patients behind the declared family."""
HEADLINES = frozenset({"shortcut_sensitivity", "sufficiency"})
"""Measures that sum a judged condition up."""
FALLS = frozenset({"accuracy", "balanced_accuracy", "recall", "margin", "margin_sd", "auc", "macro_auc"})
"""Measures of which a fall is the harm; of the others a rise is."""
DEFAULT_TOLERANCES: Mapping[str, float] = {"shortcut_sensitivity": 0.05, "sufficiency": 0.05, "accuracy": 0.02}
"""Judged measure -> the largest effect that counts as small where no other is set; absolute."""
ONE_SIDED = frozenset({"sufficiency"})
"""Judged measures of which only the harmful side means anything: the placebo keeps as much of the picture itself, so that what
is kept alone rightly tells less."""
_LARGEST_GAP = 600.0
"""Distance of logits up to which odds can be written down: exp(600) is 1e260."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outputs:
    """One set of logits for n images over k classes, read in every way the measures need."""

    probabilities: NDArray[np.float64]
    """(n, k) softmax of the logits at the model's own temperature."""
    predicted: NDArray[np.intp]
    """(n,) index of the largest logit; the first of equals."""
    correct: NDArray[np.bool_]
    """(n,) whether the winner is the true class."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageChanges:
    """What a condition did to each of n images, its draws averaged within the image."""

    changes: Mapping[str, NDArray[np.float64]]
    """Measure (one of `CHANGES`) -> (n,) mean over draws of the change against clean."""
    flipped: NDArray[np.bool_]
    """(n,) whether any draw changed the winner."""
    largest: NDArray[np.float64]
    """(n,) largest absolute change of any class's probability in any draw."""
    confidence: NDArray[np.float64]
    """(draws, n) probability of the winner under each draw."""
    correct: NDArray[np.bool_]
    """(draws, n) whether it is the true class."""
    scores: NDArray[np.float64]
    """(draws, k, n) see `Outputs.scores`."""


def winners(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the largest of each column of (k, n) values, and its row; the first of equals.

    The same as `max` and `argmax` along axis 0; the latter walks down the columns, which takes several times as long.
    """
    top, winner = values[0].copy(), np.zeros(values.shape[1], dtype=np.intp)
    for row in range(1, len(values)):
        np.copyto(winner, row, where=values[row] > top)
        np.maximum(top, values[row], out=top)
    return top, winner


def read_outputs(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> Outputs:
    """Read logits as probabilities, winners and margins.

    Parameters
    ----------
    logits : array, (n images, k classes), finite, k >= 2
    labels : array of int, (n images,)
        Index of the true class.
    """
    # Classes first, (k, n): reductions over a few classes are many times faster along whole rows.
    # A copy always: it is written to below, and the logits of one image would else be the caller's own.
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
        # From the logits, so that a probability too small to be written down still costs what it costs.
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


def image_changes(clean: Outputs, draws: NDArray[np.floating], labels: NDArray[np.int64]) -> ImageChanges:
    """Measure what every image lost or gained under a condition, averaged over the condition's draws.

    - accuracy: correct under the condition minus correct when clean, in [-1, 1].
    - margin: logit margin under the condition minus clean, in logits.
    - flip_rate: whether the winner changed, in [0, 1].
    - harm: probability of the true class, clean minus condition, in [-1, 1].
    - total_variation: half the sum over classes of absolute probability changes, in [0, 1].
    - nll: negative log likelihood of the true class under the condition minus clean, in nats.
    - brier: Brier score under the condition minus clean, in [-2, 2].

    Parameters
    ----------
    clean : Outputs
        The clean images' outputs, n images over k classes.
    draws : array, (d draws, n images, k classes)
        Logits under the condition.
    labels : array of int, (n images,)
        Index of the true class.
    """
    n = len(labels)
    total = {name: np.zeros(n) for name in CHANGES}
    flipped = np.zeros(n, dtype=np.bool_)
    largest = np.zeros(n)
    confidence, correct = np.empty((len(draws), n)), np.empty((len(draws), n), dtype=np.bool_)
    scores = np.empty((len(draws), *clean.scores.shape))
    for draw, logits in enumerate(draws):  # one draw at a time keeps the memory at a few (n, k) arrays
        now = read_outputs(logits, labels)
        moved = np.abs(now.probabilities - clean.probabilities)
        flips = now.predicted != clean.predicted
        total["accuracy"] += now.correct.astype(np.float64) - clean.correct
        total["margin"] += now.margin - clean.margin
        total["flip_rate"] += flips
        total["harm"] += clean.true_probability - now.true_probability
        total["total_variation"] += 0.5 * moved.sum(axis=1)
        total["nll"] += now.nll - clean.nll
        total["brier"] += now.brier - clean.brier
        flipped |= flips
        np.maximum(largest, moved.max(axis=1), out=largest)
        confidence[draw], correct[draw], scores[draw] = now.confidence, now.correct, now.scores
    return ImageChanges(
        changes={name: values / max(1, len(draws)) for name, values in total.items()},
        flipped=flipped,
        largest=largest,
        confidence=confidence,
        correct=correct,
        scores=scores,
    )
