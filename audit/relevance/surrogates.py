"""Heatmaps for networks without LRP rules; reports name the method."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

Start = Callable[[torch.Tensor], torch.Tensor]
"""Logits (n, k) -> what of them is attributed, (n, s starts, k)."""

# A patch of a sixteenth of the image is about as large as a marker.
PATCHES = 16
_BATCH = 32


def gradient_x_input(network: nn.Module, inputs: torch.Tensor, start: Start) -> tuple[torch.Tensor, torch.Tensor]:
    """Attribute by the gradient times the input (Shrikumar et al. 2016).

    Returns
    -------
    maps : tensor (n, s, h, w)
    logits : tensor (n, k)
    """
    seen = inputs.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        logits = network(seen)
        # The sign of the start, not its size: the gradient of a logit, not of its square.
        signs = start(logits.detach()).sign()
        gradients = [
            torch.autograd.grad(logits, seen, grad_outputs=signs[:, i], retain_graph=i + 1 < signs.shape[1])[0]
            for i in range(signs.shape[1])
        ]
    return torch.stack([(g * seen.detach()).sum(1) for g in gradients], dim=1), logits.detach()


def occlusion(network: nn.Module, inputs: torch.Tensor, start: Start) -> tuple[torch.Tensor, torch.Tensor]:
    """Attribute by the loss of the outputs when a patch is replaced by the image's mean (Zeiler & Fergus 2014).

    Returns
    -------
    maps : tensor (n, s, h, w)
        The loss of a patch, spread over its pixels.
    logits : tensor (n, k)
    """
    height, width = inputs.shape[2:]
    rows = torch.arange(height) * PATCHES // height
    columns = torch.arange(width) * PATCHES // width
    patch = rows[:, None] * PATCHES + columns[None, :]
    maps = []
    with torch.inference_mode():
        logits = network(inputs)
        signs = start(logits).sign()
        for image, sign, clean in zip(inputs, signs, logits, strict=True):
            mean = image.mean((1, 2), keepdim=True)
            losses = []
            for first in range(0, PATCHES**2, _BATCH):
                covers = torch.stack([patch == p for p in range(first, min(first + _BATCH, PATCHES**2))])
                edited = torch.where(covers[:, None], mean, image)
                losses.append(sign @ (clean - network(edited)).T)
            sizes = torch.bincount(patch.flatten(), minlength=PATCHES**2).to(inputs)
            maps.append((torch.cat(losses, dim=1) / sizes.clamp(min=1))[:, patch])
    return torch.stack(maps), logits
