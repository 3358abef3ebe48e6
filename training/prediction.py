"""Logits of many images, without gradients, spread over the processes of a team."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from audit.training.samples import Samples
from audit.training.team import Team
from audit.training.transfer import head_of


def predict(
    network: nn.Module,
    samples: Samples,
    *,
    batch: int,
    team: Team | None = None,
    on_images: Callable[[int], None] = lambda _: None,
) -> torch.Tensor:
    """Return the logits (n, k) of unmoved images, in evaluation mode, in every process of the team."""
    return predict_rows(network, samples.plain_rows, len(samples), batch, team or Team(), on_images)


def predict_rows(
    network: nn.Module,
    inputs_of: Callable[[NDArray[np.int64]], torch.Tensor],
    n: int,
    batch: int,
    team: Team,
    on_images: Callable[[int], None],
) -> torch.Tensor:
    """Return logits (n, k) of n inputs that `inputs_of` makes from their numbers, spread over the team."""
    network.eval()
    mine = np.arange(team.rank, n, team.size)
    logits = []
    with torch.no_grad(), team.autocast():
        for start in range(0, len(mine), batch):
            rows = mine[start : start + batch]
            logits.append(network(inputs_of(rows).to(team.device)).float().cpu())
            on_images(len(rows) * team.size)
    if not logits:
        logits = [torch.empty((0, head_of(network).out_features))]
    return team.interleave(torch.cat(logits), n)
