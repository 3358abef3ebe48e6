"""Every measure that an effect can carry and a gate can limit, in words: what it is, its unit, which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One measure."""

    words: str
    """What it is."""
    unit: str
    """What it is counted in, with its range."""
    better: Literal["higher", "lower", "near 0"]
    """Which way a network should lie; of a change from clean near 0, or the way that the measure itself should go."""


_SHARE = "share, 0 to 1; of a change −1 to 1"
_PROBABILITY = "probability, −1 to 1"

METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(words="share of images that are classified correctly", unit=_SHARE, better="higher"),
    "balanced_accuracy": Metric(
        words="mean over the classes of the share that is classified correctly", unit=_SHARE, better="higher"
    ),
    "recall": Metric(words="share of a class's images that are classified correctly", unit=_SHARE, better="higher"),
    "auc": Metric(
        words="chance that an image of the class gets a higher score for it than an image of another class",
        unit=_SHARE,
        better="higher",
    ),
    "macro_auc": Metric(words="mean over the classes of the AUC", unit=_SHARE, better="higher"),
    "nll": Metric(words="negative log likelihood of the true class", unit="nats", better="lower"),
    "brier": Metric(
        words="sum over classes of the squared distance of probabilities from the truth", unit="0 to 2", better="lower"
    ),
    "ece": Metric(
        words="calibration error: mean distance between the predicted class's probability and the share of correct predictions, 15 bins",
        unit=_SHARE,
        better="lower",
    ),
    "margin": Metric(words="logit of the true class minus the largest other logit", unit="logits", better="higher"),
    "margin_sd": Metric(
        words="the same margin in standard deviations of the unedited images' margins",
        unit="standard deviations",
        better="higher",
    ),
    "flip_rate": Metric(words="share of images whose predicted class changes", unit=_SHARE, better="lower"),
    "flip_rate_to_donor": Metric(
        words="share of images whose predicted class becomes the class of the edit's donor image",
        unit=_SHARE,
        better="lower",
    ),
    "pull_to_donor": Metric(
        words="increase of the probability of the donor image's class",
        unit=_PROBABILITY,
        better="near 0",
    ),
    "harm": Metric(words="loss of probability of the true class", unit=_PROBABILITY, better="lower"),
    "total_variation": Metric(
        words="change of the class probabilities: half the sum of their absolute changes, from 0 to 1",
        unit="probability, 0 to 1",
        better="lower",
    ),
    "shortcut_sensitivity": Metric(
        words="total variation under the edit minus the same under its placebo, from −1 to 1",
        unit=_PROBABILITY,
        better="lower",
    ),
    "shortcut_sensitivity_corrected": Metric(
        words="shortcut sensitivity under masking, corrected for text that the text finder missed",
        unit=_PROBABILITY,
        better="lower",
    ),
    "sufficiency": Metric(
        words="probability of the true class when only the suspected part is kept, minus the same for an equal area from "
        "elsewhere in the image, from −1 to 1",
        unit=_PROBABILITY,
        better="lower",
    ),
    "accuracy_over_source": Metric(
        words="accuracy minus the accuracy of always predicting the most frequent class of the image's source",
        unit="share, −1 to 1",
        better="higher",
    ),
    "max_abs_probability_change": Metric(
        words="largest change of any class probability in any image", unit="probability, 0 to 1", better="lower"
    ),
}

_AS_CHANGE = frozenset(
    {
        "accuracy", "balanced_accuracy", "recall", "auc", "macro_auc", "nll", "brier", "ece", "margin", "margin_sd",
    }
)  # fmt: skip
"""Measures of a network as it is: under a condition their change from the unedited images is told."""


def is_change(metric: str, condition: str) -> bool:
    """Say whether an effect's figure is the change of its metric from the unedited images, not the metric itself."""
    return condition != "clean" and metric in _AS_CHANGE


def figure_in_words(metric: str, condition: str) -> str:
    """Name the figure that an effect tells: `accuracy` of the unedited images, `change in accuracy` under any condition."""
    name = metric.replace("_", " ")
    return f"change in {name}" if is_change(metric, condition) else name
