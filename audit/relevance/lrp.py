"""Relevance of every pixel to one output of a network (Bach et al. 2015), by zennit."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from audit.errors import RelevanceError
from audit.relevance.canonical import CanonicalDenseNet
from audit.relevance.composites import make_composite


@dataclass(frozen=True, kw_only=True)
class Relevance:
    """Maps of a batch of n images, and their books."""

    maps: NDArray[np.float32]
    """(n, h, w), signed, summed over channels."""
    targets: NDArray[np.int64]
    """(n,) output at which relevance started."""
    start: NDArray[np.float64]
    """(n,) the logit there: all the relevance there is."""
    absorbed: NDArray[np.float64]
    """(n,) what biases, BatchNorm shifts, stabilisers and dead units kept."""
    gap: NDArray[np.float64]
    """(n,) |start - (sum of the map + absorbed)| / |start|: what no layer accounts for."""


class Attributor:
    """Attributes batch after batch with one network; used as a context manager.

    Parameters
    ----------
    network : nn.Module
        A torchvision DenseNet in evaluation mode; read, never changed.
    preset : str
        Name of the rules, see `audit.relevance.composites`.

    Raises
    ------
    RelevanceError
        If the architecture is not known.
    """

    def __init__(self, network: nn.Module, preset: str) -> None:
        self.preset = preset
        self._composite: Any = make_composite(preset)
        self._canonical = CanonicalDenseNet(network)

    def __enter__(self) -> Self:
        self._composite.register(self._canonical)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._composite.remove()

    def attribute(self, inputs: torch.Tensor, targets: torch.Tensor | None = None) -> Relevance:
        """Attribute one batch.

        Parameters
        ----------
        inputs : tensor (n, 3, h, w)
            Prepared images.
        targets : tensor (n,), optional
            Output to start at; the winner if omitted, as in the paper.

        Raises
        ------
        RelevanceError
            If a map is not finite.
        """
        self._canonical.ledger.clear()
        seen = inputs.detach().clone().requires_grad_(True)
        logits = self._canonical(seen)
        chosen = logits.detach().argmax(dim=1) if targets is None else targets
        start = torch.zeros_like(logits)
        rows = torch.arange(len(logits))
        start[rows, chosen] = logits.detach()[rows, chosen]
        (relevance,) = torch.autograd.grad(logits, seen, grad_outputs=start)
        maps = relevance.detach().double().sum(dim=1)
        if not bool(torch.isfinite(maps).all()):
            raise RelevanceError(
                "The relevance map holds values that are not finite; the network's weights are too extreme."
            )
        absorbed = self._canonical.ledger.absorbed
        assert absorbed is not None
        begun = start.double().sum(dim=1)
        gap = (begun - maps.flatten(1).sum(1) - absorbed).abs() / begun.abs().clamp(min=1e-12)
        return Relevance(
            maps=maps.float().numpy(),
            targets=chosen.numpy().astype(np.int64),
            start=begun.numpy(),
            absorbed=absorbed.numpy(),
            gap=gap.numpy(),
        )


def attribute_relevance(
    network: nn.Module, inputs: torch.Tensor, targets: torch.Tensor | None = None, preset: str = "epsilon-plus-flat"
) -> Relevance:
    """Attribute one batch (n, 3, h, w); see `Attributor` for several."""
    with Attributor(network, preset) as attributor:
        return attributor.attribute(inputs, targets)
