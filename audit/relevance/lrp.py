"""Relevance of every pixel to the outputs of a network (Bach et al. 2015), batch after batch: checked, and mended where it is rounded."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from audit.errors import RelevanceError
from audit.relevance.methods import SURROGATES, Method, Relevance, Surrogate, by_layers
from audit.relevance.presets import DEFAULT_PRESET, find_preset
from audit.relevance.surrogates import Start

LOGIT_TOLERANCE = 1e-5
"""How far a canonical network's logits may lie from the original's, relative to the largest of them (at least 1)."""
CONSERVATION_TOLERANCE = 1e-5
"""What no layer may leave unaccounted for, relative to the start; an image beyond it is attributed again in double precision."""
ROUNDING_AT_MOST = 1e-3
"""A larger gap is not attributed to single precision."""


class Attributor:
    """Attributes batch after batch with one network, which is only read.

    An output near zero is a small difference of large relevances: where single precision loses more than
    `CONSERVATION_TOLERANCE` of it, that image alone is attributed in double precision.

    A torchvision DenseNet takes an explicit pass; any other network is traced, canonized and left to zennit; one that
    has a step without a rule is attributed by gradient times input, and `note` says so.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode.
    preset : str
        Name of the rules, see `audit.relevance.presets`; or `gradient-x-input` or `occlusion`.

    Raises
    ------
    UnknownNameError
        If no preset has that name.
    RelevanceError
        If the network is in training mode, or holds weights that are not finite.
    """

    def __init__(self, network: nn.Module, preset: str = DEFAULT_PRESET) -> None:
        network = _checked(network)
        self._dtype = next((p.dtype for p in network.parameters()), torch.float32)
        self.preset = preset
        self.note = ""
        """Why this is not LRP; empty if it is, or if another method was asked for."""
        self.logit_gap: float | None = None
        """How far the logits of the form that is attributed lie from the network's own, relative to the largest (at least 1); None
        before the first batch, and for methods that attribute the network itself."""
        self._method: Method
        self._network = network
        self._exact: Attributor | None = None
        """The same in double precision, once an image has needed it."""
        self._unchecked: nn.Module | None = network
        """The network whose logits are still to be compared."""
        if preset in SURROGATES:
            self._method = Surrogate(network, preset)
            return
        rules = find_preset(preset)
        try:
            self._method = by_layers(network, rules)
        except RelevanceError as error:
            self._fall_back(network, str(error))

    @property
    def method(self) -> str:
        """How the maps are made, in words."""
        return self._method.name

    def attribute(self, inputs: torch.Tensor, start: Start) -> Relevance:
        """Attribute one batch.

        Parameters
        ----------
        inputs : tensor (n, 3, h, w)
            Prepared images.
        start : callable
            Logits (n, k) -> the relevance of each output that is carried back, (n, s, k) for s maps an image, which
            share the forward pass; see `audit.relevance.start`.

        Raises
        ------
        RelevanceError
            If a map is not finite.
        """
        inputs = inputs.to(self._dtype)
        network, self._unchecked = self._unchecked, None
        if network is not None and not isinstance(self._method, Surrogate):
            try:
                self._compare(network, inputs[:1], start)
            except (RelevanceError, RuntimeError, TypeError, ValueError) as error:
                # Traced steps may meet shapes for the first time here.
                self._fall_back(network, f"The canonical form failed: {error}")
        found = self._mended(self._method.attribute(inputs, start), inputs, start)
        for what, values in (("network's outputs", found.logits), ("heatmaps", found.maps)):
            if not np.isfinite(values).all():
                raise RelevanceError(f"The {what} are not finite for an image; the network's weights are too extreme.")
        return found

    def _mended(self, found: Relevance, inputs: torch.Tensor, start: Start) -> Relevance:
        """Return the batch with those images attributed in double precision for which single precision does not conserve relevance."""
        # A wider gap than rounding leaves is a fault, which no precision mends: it stays, and is reported.
        rounded = (found.gap > CONSERVATION_TOLERANCE) & (found.gap <= ROUNDING_AT_MOST)
        off = np.flatnonzero(rounded.any(axis=1))
        if not len(off) or self._dtype == torch.float64:
            return found
        if self._exact is None:
            self._exact = Attributor(copy.deepcopy(self._network).double(), self.preset)
        try:
            again = self._exact.attribute(inputs[off], start)
        except RuntimeError:
            return found
        if self._exact.note:  # a step insists on single precision: the gap stays, and is reported
            return found

        def put(whole: NDArray[Any], part: NDArray[Any]) -> NDArray[Any]:
            made = whole.copy()
            made[off] = part
            return made

        return Relevance(
            maps=put(found.maps, again.maps),
            logits=put(found.logits, again.logits),
            start=put(found.start, again.start),
            kept={account: put(values, again.kept[account]) for account, values in found.kept.items()},
            gap=put(found.gap, again.gap),
        )

    def _compare(self, network: nn.Module, inputs: torch.Tensor, start: Start) -> None:
        """Compare the logits of the canonical form with the network's own, once."""
        with torch.inference_mode():
            own = network(inputs)
        found = torch.from_numpy(self._method.attribute(inputs, start).logits)
        worst = float((found - own.double()).abs().max())
        relative = worst / max(1.0, float(own.abs().max()))
        if not relative <= LOGIT_TOLERANCE:
            raise RelevanceError(f"its logits differ from the network's by {worst:.1e}")
        self.logit_gap = relative

    def _fall_back(self, network: nn.Module, why: str) -> None:
        self.note = f"{why} Gradient times input is used instead, which does not conserve relevance."
        self.preset = "gradient-x-input"
        self._method = Surrogate(network, self.preset)


def _checked(network: nn.Module) -> nn.Module:
    """Return the network in at least single precision; reject one whose heatmaps could not be valid."""
    for name, module in network.named_modules():
        if module.training:
            raise RelevanceError(
                f"LRP needs the network in evaluation mode, but {name or 'it'} is in training mode; call eval() on it first."
            )
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not _is_finite(tensor):
            raise RelevanceError(f"The network's {name} contains values that are not finite; train or export it again.")
    if any(p.dtype in (torch.float16, torch.bfloat16) for p in network.parameters()):
        return copy.deepcopy(network).float()
    return network


def _is_finite(tensor: torch.Tensor) -> bool:
    """Say whether no value is infinite or NaN, which both become the least and the largest; nothing of the tensor's size is made."""
    return tensor.numel() == 0 or all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor))
