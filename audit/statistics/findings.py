"""Independent findings: the outputs of a multi-label network, all together and one by one, held against labels that may be unknown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.statistics.outputs import Outputs, sigmoid

_LEAST = 1e-7
"""Operating points are kept this far from 0 and 1, as probabilities of single precision are."""


@dataclass(frozen=True, kw_only=True)
class FindingsReader:
    """Reads logits of n images over k independent findings."""

    truth: NDArray[np.int8]
    """(n, k) 1 present, 0 absent, -1 unknown."""
    cuts: NDArray[np.float64]
    """(k,) logit above which a finding counts as found."""

    def read(self, logits: NDArray[np.floating]) -> Outputs:
        """Read all findings together: what compares an image with its labels is the mean over those that are known.

        Of an image without any known label these are NaN.
        """
        values = np.asarray(logits, dtype=np.float64)
        known = self.truth >= 0
        signs = np.where(self.truth == 1, 1.0, -1.0)
        probabilities, decided = sigmoid(values), values > self.cuts
        true_probability = sigmoid(signs * values)
        return Outputs(
            probabilities=probabilities,
            predicted=decided.astype(np.intp),
            correct=_mean_of_known(decided == (self.truth == 1), known),
            margin=_mean_of_known(signs * (values - self.cuts), known),
            true_probability=_mean_of_known(true_probability, known),
            confidence=np.maximum(probabilities, 1 - probabilities).mean(axis=1),
            nll=_mean_of_known(np.logaddexp(0.0, -signs * values), known),
            brier=_mean_of_known(2 * np.square(1 - true_probability), known),
            scores=np.ascontiguousarray(values.T),
            exclusive=False,
        )

    def one(self, output: int) -> OneFinding:
        """Return what reads one of the findings."""
        return OneFinding(truth=self.truth[:, output], cut=float(self.cuts[output]), output=output)


@dataclass(frozen=True, kw_only=True)
class OneFinding:
    """Reads one finding of n images as a task of two classes, absent and present."""

    truth: NDArray[np.int8]
    """(n,) 1 present, 0 absent, -1 unknown."""
    cut: float
    """Logit above which it counts as found."""
    output: int
    """Which of the network's outputs it is."""

    @property
    def known(self) -> NDArray[np.bool_]:
        """(n,) whether its label is known."""
        known: NDArray[np.bool_] = self.truth >= 0
        return known

    @property
    def is_ranked(self) -> bool:
        """Whether some images have the finding, and some have not."""
        return bool((self.truth == 1).any() and (self.truth == 0).any())

    def read(self, logits: NDArray[np.floating]) -> Outputs:
        """Read its column of logits (n, k); what compares an image with its label is NaN where that is unknown."""
        values = np.asarray(logits[:, self.output], dtype=np.float64)
        present = sigmoid(values)
        signs = np.where(self.truth == 1, 1.0, -1.0)
        decided = values > self.cut
        true_probability = sigmoid(signs * values)

        def where_known(numbers: NDArray[np.floating] | NDArray[np.bool_]) -> NDArray[np.float64]:
            return np.where(self.known, numbers.astype(np.float64), np.nan)

        return Outputs(
            probabilities=np.stack([sigmoid(-values), present], axis=1),
            predicted=decided.astype(np.intp),
            correct=where_known(decided == (self.truth == 1)),
            margin=where_known(signs * (values - self.cut)),
            true_probability=where_known(true_probability),
            confidence=np.maximum(present, 1 - present),
            nll=where_known(np.logaddexp(0.0, -signs * values)),
            brier=where_known(2 * np.square(1 - true_probability)),
            scores=np.stack([-values, values]),
        )


def operating_points(
    logits: NDArray[np.floating], truth: NDArray[np.int8], given: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return the logit above which each finding counts as found: as given, else by Youden's index on these images, else 0.

    Parameters
    ----------
    logits : array, (n, k)
        Of the unedited images.
    truth : array of int, (n, k)
        1, 0, or -1 for unknown.
    given : array, (k,), optional
        Probabilities; NaN where none is given.
    """
    cuts = np.array(
        [_youden(np.asarray(z, dtype=np.float64), t) for z, t in zip(logits.T, truth.T, strict=True)], dtype=np.float64
    )
    if given is None:
        return cuts
    told = np.clip(np.where(np.isnan(given), 0.5, given), _LEAST, 1 - _LEAST)
    return np.where(np.isnan(given), cuts, np.log(told) - np.log1p(-told))


def _youden(scores: NDArray[np.float64], truth: NDArray[np.int8]) -> float:
    """Return the middle of the gap between scores at which sensitivity + specificity is largest; of equals the lowest."""
    positive, negative = scores[truth == 1], scores[truth == 0]
    if not len(positive) or not len(negative):
        return 0.0
    levels = np.unique(np.concatenate([positive, negative]))
    if len(levels) == 1:
        return float(levels[0])
    cuts = (levels[1:] + levels[:-1]) / 2
    missed = np.searchsorted(np.sort(positive), cuts, side="right") / len(positive)
    rejected = np.searchsorted(np.sort(negative), cuts, side="right") / len(negative)
    return float(cuts[int(np.argmax(rejected - missed))])


def _mean_of_known(values: NDArray[np.floating] | NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    counts = known.sum(axis=1)
    sums = np.where(known, values, 0.0).sum(axis=1)
    return np.asarray(np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0))
