"""A DenseNet's weights, folded and split once for the explicit pass: what every rule multiplies with.

The canonical form: a BatchNorm that follows a convolution is folded into it (if the preset says so), a BatchNorm that
precedes its ReLU stays as s x + t, the transitions' pooling comes before their 1x1 convolution (the same function, but the
rule of a mean of signed numbers would divide by what crosses zero), and the last ReLU and pooling are steps like others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torchvision.models import DenseNet

from audit.errors import RelevanceError
from audit.relevance.layers import scale_and_shift
from audit.relevance.presets import STABILISER, Preset


class Split:
    """A convolution's weights, joined as its rule needs them: one product gives the output and the rule's denominators.

    Parameters
    ----------
    weight : tensor (o, c, kh, kw)
        Of a 1x1 convolution, or of a 3x3 one with padding 1, both of stride 1.
    bias : tensor (o,)
        Zero where there is none.
    preset : Preset
        Its `convolution` decides.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, preset: Preset) -> None:
        self._rule = preset.convolution
        self._epsilon = preset.epsilon
        self.n_out = len(weight)
        positive, negative = weight.clamp(min=0), weight.clamp(max=0)
        tiny = torch.full_like(bias, STABILISER)
        if self._rule == "alpha1-beta0":
            forward, biases = [weight, positive], [bias, bias.clamp(min=0) + tiny]
            backward, self.bias, self.tiny = [positive], bias.clamp(min=0), tiny
        elif self._rule == "alpha2-beta1":
            forward, biases = [positive, negative], [bias.clamp(min=0) + tiny, bias.clamp(max=0) - tiny]
            backward = [positive, negative]
            self.bias, self.tiny = torch.cat([bias.clamp(min=0), bias.clamp(max=0)]), torch.cat([tiny, -tiny])
        else:
            forward, biases, backward = [weight], [bias], [weight]
            self.bias, self.tiny = bias, torch.zeros_like(bias)
        joined, back = torch.cat(forward), torch.cat(backward)
        self._biases = torch.cat(biases)
        self._pointwise = weight.shape[2:] == (1, 1)
        if self._pointwise:
            self._forward, self._backward = joined[:, :, 0, 0].T.contiguous(), back[:, :, 0, 0].contiguous()
        else:
            # The transpose of a 3x3 convolution of padding 1 is the convolution with the kernel turned about.
            turned = back.flip(2, 3).transpose(0, 1)
            self._forward = joined.contiguous(memory_format=torch.channels_last)
            self._backward = turned.contiguous(memory_format=torch.channels_last)

    def forward(self, rows: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Map rows (h w, c) to the output (h w, o) and the stabilised denominators (h w, o or 2 o)."""
        if self._pointwise:
            product = torch.addmm(self._biases, rows, self._forward)
        else:
            product = _as_rows(F.conv2d(_as_maps(rows, size), self._forward, self._biases, padding=1))
        if self._rule == "alpha1-beta0":
            return product[:, : self.n_out], product[:, self.n_out :]
        if self._rule == "alpha2-beta1":
            # The stabilisers of the two halves cancel.
            return product[:, : self.n_out] + product[:, self.n_out :], product
        return product, product + torch.copysign(torch.full_like(product, self._epsilon), product)

    def quotient(self, relevance: torch.Tensor, denominators: torch.Tensor) -> torch.Tensor:
        """Return relevance (h w, o) over its denominators, weighted by alpha and beta."""
        if self._rule == "alpha2-beta1":
            return torch.cat(
                [2 * relevance / denominators[:, : self.n_out], -relevance / denominators[:, self.n_out :]], dim=1
            )
        return relevance / denominators

    def backward(self, quotient: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Carry quotients (h w, o or 2 o) to coefficients of the input (h w, c)."""
        if self._pointwise:
            return quotient @ self._backward
        return _as_rows(F.conv2d(_as_maps(quotient, size), self._backward, padding=1))

    def kept(self, quotient: torch.Tensor, denominators: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return how much relevance the bias kept, and how much the stabiliser: that of units without any input."""
        sums = column_sums(quotient)
        bias = sums @ self.bias.double()
        if self._rule == "epsilon":
            return bias, (
                quotient * torch.copysign(torch.full_like(quotient, self._epsilon), denominators)
            ).sum().double()
        return bias, sums @ self.tiny.double()


def column_sums(rows: torch.Tensor) -> torch.Tensor:
    """Sum rows (n, c) to (c,), in double precision; a product with ones takes two thirds of the time of a sum."""
    return (rows.new_ones(1, len(rows)) @ rows)[0].double()


def _as_maps(rows: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """View rows (h w, c) as maps (1, c, h, w), channels last."""
    return rows.contiguous().view(1, *size, -1).permute(0, 3, 1, 2)


def _as_rows(maps: torch.Tensor) -> torch.Tensor:
    """View maps (1, c, h, w) as rows (h w, c)."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


@dataclass(frozen=True, kw_only=True)
class Stem:
    """The first convolution, on pixels."""

    weight: torch.Tensor
    """(o, 3, kh, kw), with the BatchNorm folded in if the preset merges."""
    bias: torch.Tensor
    """(o,)"""
    scale: torch.Tensor
    """(o,) of the BatchNorm after it; ones where it is merged."""
    shift: torch.Tensor
    """(o,) of the BatchNorm after it; zeros where it is merged."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a dense block."""

    scale: torch.Tensor
    """(c,) of the BatchNorm before the 1x1 convolution."""
    shift: torch.Tensor
    """(c,)"""
    narrow: Split
    """The 1x1 convolution."""
    middle_scale: torch.Tensor | None
    """(m,) of the BatchNorm between the convolutions; None where it is merged."""
    middle_shift: torch.Tensor | None
    """(m,)"""
    grow: Split
    """The 3x3 convolution."""


@dataclass(frozen=True, kw_only=True)
class Transition:
    """Between two dense blocks."""

    scale: torch.Tensor
    """(c,)"""
    shift: torch.Tensor
    """(c,)"""
    narrow: Split
    """The 1x1 convolution, after the pooling."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Everything that the explicit pass multiplies with."""

    stem: Stem
    """The first convolution."""
    blocks: tuple[tuple[Layer, ...], ...]
    """Dense blocks."""
    transitions: tuple[Transition, ...]
    """One between each two of them."""
    scale: torch.Tensor
    """(c,) of the last BatchNorm."""
    shift: torch.Tensor
    """(c,)"""
    head: torch.Tensor
    """(k, c)"""
    head_bias: torch.Tensor
    """(k,)"""
    preset: Preset
    """What the weights were split for."""


def read_weights(network: DenseNet, preset: Preset) -> Weights:
    """Fold and split a DenseNet's weights; the network is only read.

    Raises
    ------
    RelevanceError
        If a part of it is not what torchvision's DenseNets have there.
    """
    parts = dict(network.features.named_children())
    blocks = [part for name, part in parts.items() if name.startswith("denseblock")]
    transitions = [part for name, part in parts.items() if name.startswith("transition")]
    expected = {"conv0", "norm0", "relu0", "pool0", "norm5"}
    others = {name for name in parts if not name.startswith(("denseblock", "transition"))}
    head = network.classifier
    if others != expected or len(transitions) != len(blocks) - 1 or not isinstance(head, nn.Linear):
        raise RelevanceError("This DenseNet differs from torchvision's, or its head is not a single linear layer.")
    norm5_scale, norm5_shift = scale_and_shift(parts["norm5"])
    return Weights(
        stem=_stem(parts["conv0"], parts["norm0"], preset),
        blocks=tuple(tuple(_layer(layer, preset) for layer in block.children()) for block in blocks),
        transitions=tuple(_transition(part, preset) for part in transitions),
        scale=norm5_scale,
        shift=norm5_shift,
        head=head.weight.detach(),
        head_bias=head.bias.detach() if head.bias is not None else head.weight.detach().new_zeros(head.out_features),
        preset=preset,
    )


def _stem(conv: nn.Module, norm: nn.Module, preset: Preset) -> Stem:
    weight, bias = _weight_and_bias(conv)
    scale, shift = scale_and_shift(norm)
    if preset.merged:
        weight, bias = weight * scale[:, None, None, None], bias * scale + shift
        scale, shift = torch.ones_like(scale), torch.zeros_like(shift)
    return Stem(weight=weight.contiguous(memory_format=torch.channels_last), bias=bias, scale=scale, shift=shift)


def _layer(layer: nn.Module, preset: Preset) -> Layer:
    scale, shift = scale_and_shift(layer.get_submodule("norm1"))
    middle_scale, middle_shift = scale_and_shift(layer.get_submodule("norm2"))
    weight, bias = _weight_and_bias(layer.get_submodule("conv1"))
    if preset.merged:
        weight, bias = weight * middle_scale[:, None, None, None], bias * middle_scale + middle_shift
    grow, grow_bias = _weight_and_bias(layer.get_submodule("conv2"))
    return Layer(
        scale=scale,
        shift=shift,
        narrow=Split(weight, bias, preset),
        middle_scale=None if preset.merged else middle_scale,
        middle_shift=None if preset.merged else middle_shift,
        grow=Split(grow, grow_bias, preset),
    )


def _transition(part: nn.Module, preset: Preset) -> Transition:
    scale, shift = scale_and_shift(part.get_submodule("norm"))
    weight, bias = _weight_and_bias(part.get_submodule("conv"))
    return Transition(scale=scale, shift=shift, narrow=Split(weight, bias, preset))


def _weight_and_bias(conv: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    assert isinstance(conv, nn.Conv2d)
    weight = conv.weight.detach()
    return weight, weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.detach()
