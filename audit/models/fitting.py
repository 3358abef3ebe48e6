"""A head fitted on cached features: by the mean loss or the worst group's, near a start, with twins whose logits must not differ."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from audit.models.bodies import Features, Head

PULL = 2e-3
"""Weight of the squared distance from the head that fitting starts at, in standardised features."""
STILL = 4.0
"""Weight of the mean squared difference of twins' logits."""
_LAST_STEPS = 200
_SMOOTH = 0.02
"""Nats: groups whose loss is lower than the largest by much more than this have no weight."""


def fit_head(
    features: Features,
    targets: NDArray[np.int64],
    n_classes: int,
    *,
    start: Head | None = None,
    nuisance: Features | None = None,
    pull: float = PULL,
    still: float = STILL,
    weights: NDArray[np.float64] | None = None,
    groups: NDArray[np.intp] | None = None,
) -> Head:
    """Fit a head by cross entropy, held near where it starts (by default at zero); the same features give the same head.

    With groups it is the loss of the group that has the largest (group DRO: Sagawa, Koh, Hashimoto and Liang 2020): their weights,
    which that paper raises step by step for groups with large losses, are those of the smoothed maximum here, which has a gradient.

    Parameters
    ----------
    features : float32 (n, f)
        Of the training images.
    targets : int64 (n), or (n, k)
        Their classes; of independent findings 1 present, 0 absent, -1 unknown, which does not count.
    n_classes : int
        k.
    start : Head, optional
        The user's own head, which is fine-tuned.
    nuisance : float32 (m, f), optional
        Differences between the features of twins that the logits should not follow, as training on both twins would teach.
    pull, still : float
        Weights of the distance from the start, and of the twins.
    weights : float64 (n), optional
        Weight of each image, with a mean of 1; all alike if omitted.
    groups : int (n), optional
        Number of each image's group, from 0 on without a gap; within a group weights hold as they do without groups.
    """
    middle = features.mean(axis=0, dtype=np.float64)
    # A feature that never moves in training tells nothing, and must not be blown up by a spread near zero.
    spread = features.std(axis=0, dtype=np.float64)
    spread = np.maximum(spread, 0.05 * max(float(spread.mean()), 1e-6))
    inputs = torch.from_numpy((features - middle) / spread)
    if start is None:
        first = torch.zeros(n_classes, features.shape[1], dtype=torch.float64)
        bias = torch.zeros(n_classes, dtype=torch.float64)
    else:
        first = torch.from_numpy(start.weight.astype(np.float64) * spread)
        bias = torch.from_numpy(start.bias.astype(np.float64) + start.weight.astype(np.float64) @ middle)
    weight = first.clone().requires_grad_(True)
    bias = bias.clone().requires_grad_(True)
    wanted = torch.from_numpy(targets)
    exclusive = targets.ndim == 1
    each = None if weights is None else torch.from_numpy(weights)
    member = None if groups is None else torch.from_numpy(groups.astype(np.int64))
    twins = None if nuisance is None or not len(nuisance) else torch.from_numpy(nuisance / spread)
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=_LAST_STEPS, tolerance_change=1e-9, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        losses = _losses(inputs @ weight.T + bias, wanted)
        losses = losses if each is None else losses * each
        value = losses.mean() if member is None else _worst(losses, each, member)
        value = value + pull * (weight - first).square().sum()
        if twins is not None:
            # Of classes that exclude each other, what moves all logits alike moves no probability.
            apart = weight - weight.mean(dim=0) if exclusive else weight
            value = value + still * (twins @ apart.T).square().sum(dim=1).mean()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    fitted = weight.detach().numpy() / spread
    return Head(weight=fitted.astype(np.float32), bias=(bias.detach().numpy() - fitted @ middle).astype(np.float32))


def _losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy (n) of each image; of independent findings the mean over those that are known."""
    if targets.ndim == 1:
        return functional.cross_entropy(logits, targets, reduction="none")
    known = targets >= 0
    per_output = functional.binary_cross_entropy_with_logits(logits, targets.clamp(min=0).double(), reduction="none")
    return (per_output * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)


def _worst(losses: torch.Tensor, weights: torch.Tensor | None, groups: torch.Tensor) -> torch.Tensor:
    """Return the largest of the groups' mean losses (n, already weighted), smoothed so that it has a gradient everywhere."""
    none = torch.zeros(int(groups.max()) + 1, dtype=torch.float64)
    sums = none.index_add(0, groups, losses)
    sizes = none.index_add(0, groups, torch.ones(len(groups), dtype=torch.float64) if weights is None else weights)
    return _SMOOTH * torch.logsumexp(sums / sizes / _SMOOTH, dim=0)
