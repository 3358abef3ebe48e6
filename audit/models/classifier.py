"""What the audit asks of a classifier: its outputs, the input that it wants, logits; and abilities that it may or may not have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch

from audit.data.tasks import Task
from audit.models.preprocessing import Preprocessing

Ability = Literal["features", "network", "head", "device"]
"""What a classifier may be able to beside its logits; everything that is not there is done without.

features: a function, inputs -> (n, f) of what its last layer reads, for the probe of sources;
network: an `nn.Module`, inputs -> logits (n, k) with gradients, for LRP, gradient x input and shuffled weights;
head: the `nn.Linear` in `network` that gives its outputs, whose inputs are the features, for calibration, which trains it again;
device: the `torch.device` that it computes on."""
Features = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outputs:
    """What a classifier answers."""

    names: tuple[str, ...]
    """Class of each logit (k). A binary network of one output has two: the class of a low output, then that of a high one."""
    task: Task | None
    """What the outputs mean; None for a bundle of an earlier version that does not say it."""
    points: tuple[float | None, ...] = ()
    """Probability above which each output of a multi-label network counts as found, None where nobody says it; empty for none."""


class Classifier(Protocol):
    """Anything that answers prepared images, whatever made it."""

    @property
    def outputs(self) -> Outputs:
        """Names and task of the outputs."""

    @property
    def wants(self) -> Preprocessing:
        """The input that it wants: channels, size, range, and how a stored image becomes it."""

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits (n, k), on the CPU, for prepared images (n, c, h, w) of `wants`.

        Their softmax is the probability of each class, or of a multi-label network the sigmoid of each: an answer in probabilities is
        returned as its logarithm, or as log odds.
        """

    def ability(self, name: Ability) -> Any | None:
        """Return an ability; None where the classifier does not have it."""


class StandIn:
    """Another way to a classifier's logits: its outputs, input and abilities are the classifier's.

    Parameters
    ----------
    classifier : Classifier
        Whose logits are computed in another way.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    @property
    def outputs(self) -> Outputs:
        """Names and task of the outputs."""
        return self._classifier.outputs

    @property
    def wants(self) -> Preprocessing:
        """The input that it wants."""
        return self._classifier.wants

    def ability(self, name: Ability) -> Any | None:
        """Return an ability of the classifier."""
        return self._classifier.ability(name)


def lacking(classifier: Classifier) -> tuple[str, ...]:
    """Return what the audit does without because of a classifier, in sentences."""
    if classifier.ability("features") is not None:
        return ()
    return ("The classifier gives no features, so it was not tested whether they reveal the source.",)


def features_of(classifier: Classifier) -> Features | None:
    """Return the function that gives a classifier's features; None where it has none."""
    found: Features | None = classifier.ability("features")
    return found
