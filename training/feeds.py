"""What a phase of training moves, and where its batches come from: images, or features of a frozen backbone that are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from audit.training.augmentation import Augmentation
from audit.training.features import FrozenFeatures
from audit.training.prediction import predict, predict_rows
from audit.training.recipes import Phase, Step
from audit.training.samples import Samples
from audit.training.team import Team

Loss = Literal["cross entropy", "binary cross entropy"]


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What does not change through a step."""

    step: Step
    """Batch size, optimiser and phases."""
    training: Samples
    """Images that the weights are fitted to."""
    validation: Samples
    """Images of other patients, whose loss chooses the weights."""
    loss: Loss
    """For classes that exclude each other, or for findings that do not."""
    score: Callable[[torch.Tensor, torch.Tensor], float]
    """(logits, targets) -> the figure that stands beside the validation loss."""
    seed: int
    """Of the order and the movements."""
    team: Team
    """Who trains."""
    on_images: Callable[[int], None]
    """Called with the number of images just visited."""


@dataclass(frozen=True, kw_only=True)
class Feed:
    """What a phase moves, and where its batches come from."""

    module: nn.Module
    """The whole network, or its head on features that are kept; averaged over the team."""
    network: nn.Module
    """The network itself."""
    phase: Phase
    """The phase."""
    context: StepContext
    """What does not change through the step."""
    kept: FrozenFeatures | None
    """Features of the training images, where the backbone is frozen and their views are few."""
    kept_validation: torch.Tensor | None
    """Features (n, f) of the validation images, likewise."""


def make_feed(network: nn.Module, phase: Phase, context: StepContext) -> Feed:
    """Prepare a network for a phase; features of a frozen backbone are computed once where that pays.

    Parameters
    ----------
    network : nn.Module
        Has `features` and a linear `classifier`; its parameters are frozen as the phase says.
    phase : Phase
        What of it is trained, and for how many epochs.
    context : StepContext
        Images, batch size and team.
    """
    network.requires_grad_(True)
    network.get_submodule("features").requires_grad_(phase.trains == "all")
    kept, kept_validation, module = None, None, network
    # The features cost one pass for each view; they pay if there are more epochs than that.
    if phase.trains == "head" and context.training.n_views is not None and context.training.n_views < phase.epochs:
        batch = context.step.batch
        kept = FrozenFeatures(network, context.training, batch=batch, team=context.team)
        if not context.step.moves_validation:
            still = replace(context.validation, augmentation=Augmentation())
            kept_validation = FrozenFeatures(network, still, batch=batch, team=context.team).plain()
        module = network.get_submodule("classifier")
    return Feed(
        module=context.team.wrap(module),
        network=network,
        phase=phase,
        context=context,
        kept=kept,
        kept_validation=kept_validation,
    )


def validation_logits(feed: Feed, epoch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the answers to the validation images of an epoch: from their features where those are kept, moved where the step moves them.

    Parameters
    ----------
    feed : Feed
        Of the phase.
    epoch : int
        Number of the epoch, from 1 over all phases.

    Returns
    -------
    logits : tensor (n, k)
    targets : tensor (n, ...)
        In the same order.
    weights : tensor (n,)
        Weight of each image in the validation loss.
    """
    context = feed.context
    samples, batch, team = context.validation, context.step.batch, context.team
    targets, weights = samples.targets, samples.weights()
    if feed.kept_validation is not None:
        with torch.no_grad():
            logits = feed.network.get_submodule("classifier")(feed.kept_validation).cpu()
        context.on_images(len(samples))
    elif context.step.moves_validation:
        order = samples.epoch_order(seed=context.seed, epoch=epoch)
        targets = targets[torch.from_numpy(order[:, 0].copy())]
        weights = torch.full((len(order),), 1 / len(order))

        def moved(rows: NDArray[np.int64]) -> torch.Tensor:
            return samples.training_batch(order[rows], seed=context.seed, epoch=epoch)[0]

        logits = predict_rows(feed.network, moved, len(order), batch, team, context.on_images)
    else:
        logits = predict(feed.network, samples, batch=batch, team=team, on_images=context.on_images)
    return logits, targets, weights
