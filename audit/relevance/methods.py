"""The ways to compute relevance from one batch: LRP by an explicit pass or by zennit, and what stands in for it; and the result."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torchvision.models import DenseNet

from audit.errors import RelevanceError
from audit.models.torch_classifier import one_thread
from audit.relevance.books import Books
from audit.relevance.canonical import CanonicalNetwork
from audit.relevance.composites import make_composite
from audit.relevance.densenet import DenseNetLRP
from audit.relevance.presets import Preset
from audit.relevance.surrogates import Start, gradient_x_input, occlusion

SURROGATES = {"gradient-x-input": gradient_x_input, "occlusion": occlusion}
"""Name -> what attributes without rules."""


@dataclass(frozen=True, kw_only=True)
class Relevance:
    """Maps of a batch of n images, s of them an image, and their books."""

    maps: NDArray[np.float32]
    """(n, s, h, w), signed, summed over channels."""
    logits: NDArray[np.float64]
    """(n, k) of the network in the form that was attributed."""
    start: NDArray[np.float64]
    """(n, s) the relevance that started."""
    kept: Mapping[str, NDArray[np.float64]]
    """Account (bias, shift, stabiliser) -> (n, s) what did not reach the image; empty for maps that conserve nothing."""
    gap: NDArray[np.float64]
    """(n, s) |start - (sum of the map + kept)| over |start|: what no layer accounts for. NaN where nothing is conserved."""

    def with_maps(self, maps: NDArray[np.float32]) -> Relevance:
        """Return the same with other maps."""
        return replace(self, maps=maps)


def unconserved(maps: torch.Tensor, logits: torch.Tensor, start: torch.Tensor) -> Relevance:
    """Return maps (n, s, h, w) of a method that conserves nothing, with the logits (n, k) and starts (n, s, k)."""
    return _relevance(maps, logits, start, None)


class Method(Protocol):
    """A way to attribute."""

    @property
    def name(self) -> str:
        """Stands in reports."""

    def attribute(self, inputs: torch.Tensor, start: Start) -> Relevance:
        """Attribute a batch (n, 3, h, w)."""


def by_layers(network: nn.Module, rules: Preset) -> Method:
    """Choose the implementation of LRP; a DenseNet that was altered is traced like any other network.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode.
    rules : Preset
        Rules for the kinds of its layers.

    Raises
    ------
    RelevanceError
        If a step has no rule.
    """
    if isinstance(network, DenseNet):
        with suppress(RelevanceError):
            return _Explicit(network, rules)
    return Zennit(network, rules)


class _Explicit:
    name = "LRP, explicit pass over a DenseNet"

    def __init__(self, network: DenseNet, preset: Preset) -> None:
        self._pass = DenseNetLRP(network, preset)

    def attribute(self, inputs: torch.Tensor, start: Start) -> Relevance:
        maps, logits, starts, books = [], [], [], []
        for image in inputs[:, None]:
            tape = self._pass.forward(image)
            begun = start(tape.logits[None])[0]
            kept = [Books() for _ in begun]
            maps.append(torch.stack([self._pass.relevance(tape, b, k) for b, k in zip(begun, kept, strict=True)]))
            logits.append(tape.logits)
            starts.append(begun)
            books.append(kept)
        kept_by = {
            account: torch.tensor([[float(getattr(b, account)) for b in row] for row in books], dtype=torch.float64)
            for account in ("bias", "shift", "stabiliser")
        }
        return _relevance(torch.stack(maps), torch.stack(logits), torch.stack(starts), kept_by)


class Zennit:
    """LRP of any network whose steps all have rules.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode; a traced copy of it is attributed.
    preset : Preset
        The rules.

    Raises
    ------
    RelevanceError
        If a step has none.
    """

    name = "LRP by zennit on the traced, canonized network"

    def __init__(self, network: nn.Module, preset: Preset) -> None:
        self._canonical = CanonicalNetwork(network, merged=preset.merged)
        # Hooks on our own copy, for good: the audited network has none.
        self._composite: Any = make_composite(preset)
        self._composite.register(self._canonical)

    def attribute(self, inputs: torch.Tensor, start: Start) -> Relevance:
        """Attribute a batch (n, 3, h, w)."""
        seen = inputs.detach().clone().requires_grad_(True)
        maps, books = [], []
        with torch.enable_grad():
            logits = self._canonical(seen)
            starts = start(logits.detach())
            n_starts = starts.shape[1]
            for i in range(n_starts):
                self._canonical.ledger.kept.clear()
                (relevance,) = torch.autograd.grad(
                    logits, seen, grad_outputs=starts[:, i], retain_graph=i + 1 < n_starts
                )
                maps.append(relevance.sum(1))
                books.append(dict(self._canonical.ledger.kept))
        kept = {account: torch.stack([b[account] for b in books], dim=1) for account in books[0]}
        return _relevance(torch.stack(maps, dim=1), logits.detach(), starts, kept)


class Surrogate:
    """What stands in for LRP: a method that needs no rules and conserves nothing.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode.
    name : str
        A key of `SURROGATES`.
    """

    def __init__(self, network: nn.Module, name: str) -> None:
        self.name = name.replace("-x-", " x ")
        self._network, self._attribute = network, SURROGATES[name]

    def attribute(self, inputs: torch.Tensor, start: Start) -> Relevance:
        """Attribute a batch (n, 3, h, w)."""
        # Several threads wait for each other after every layer: beside other programs, for longer than they compute.
        with one_thread():
            maps, logits = self._attribute(self._network, inputs, start)
        return _relevance(maps, logits, start(logits), None)


def _relevance(
    maps: torch.Tensor, logits: torch.Tensor, start: torch.Tensor, kept: Mapping[str, torch.Tensor] | None
) -> Relevance:
    begun = start.double().sum(2)
    if kept is None:
        gap = torch.full_like(begun, torch.nan)
    else:
        arrived = maps.double().sum((2, 3)) + sum(kept.values())
        # Relevances of both signs may cancel in the start (a contrast); what matters is how much set out.
        gap = (begun - arrived).abs() / start.double().abs().sum(2).clamp(min=1e-12)
    return Relevance(
        maps=maps.float().numpy(),
        logits=logits.double().numpy(),
        start=begun.numpy(),
        kept={} if kept is None else {account: values.numpy() for account, values in kept.items()},
        gap=gap.numpy(),
    )
