"""What a frozen backbone makes of every view of every image: computed once, while only the head trains."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from audit.training.samples import Samples
from audit.training.team import Team


class FrozenFeatures:
    """Features (n images, v views, f) of a backbone that does not change; the rows of an epoch are looked up.

    Exact, because a frozen backbone normalises with its running statistics: the features of an image do not depend on
    the others in its batch.

    Parameters
    ----------
    network : nn.Module
        With a linear `classifier`; put into evaluation mode.
    samples : Samples
        Whose augmentation has finitely many views (`Samples.n_views`).
    batch : int
        Images at a time.
    team : Team
        Every process computes all features: they are few, and the epochs are free afterwards.
    on_images : callable
        Told how many images were just computed.
    """

    def __init__(
        self,
        network: nn.Module,
        samples: Samples,
        *,
        batch: int,
        team: Team,
        on_images: Callable[[int], None] = lambda _: None,
    ) -> None:
        assert samples.n_views is not None
        self._samples = samples
        head = network.get_submodule("classifier")
        network.eval()
        try:
            # With an identity for a head the network returns what its head would see, whatever comes before it.
            network.add_module("classifier", nn.Identity())
            views = []
            for view in range(samples.n_views):
                parts = []
                for start in range(0, len(samples), batch):
                    inputs = samples.view_batch(start, start + batch, view)
                    with torch.no_grad(), team.autocast():
                        parts.append(network(inputs.to(team.device)).float())
                    on_images(len(inputs))
                views.append(torch.cat(parts))
        finally:
            network.add_module("classifier", head)
        self._features = torch.stack(views, dim=1)

    def training_batch(self, rows: NDArray[np.int64], *, seed: int, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features (b, f) and targets for rows of `Samples.epoch_order`."""
        views = torch.from_numpy(self._samples.views(rows, seed=seed, epoch=epoch))
        images = torch.from_numpy(rows[:, 0].copy())
        return self._features[images, views], self._samples.targets[images]

    def plain(self) -> torch.Tensor:
        """Return the features (n, f) of the images as they are."""
        return self._features[:, 0]
