"""Steps of a canonical network that torch has no module for, so that every step of it can be given a rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from audit.relevance.presets import PROPORTION


def scale_and_shift(norm: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Return s and t (c,) of the affine map s x + t that a BatchNorm is in evaluation mode."""
    assert isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = torch.rsqrt(norm.running_var + norm.eps)
    shift = -norm.running_mean * scale
    if norm.weight is not None:
        scale, shift = scale * norm.weight.detach(), shift * norm.weight.detach()
    return scale, shift if norm.bias is None else shift + norm.bias.detach()


class Affine(nn.Module):
    """y = weight * x + bias, channel by channel: a BatchNorm that precedes its ReLU, or a layer scale."""

    def __init__(self, scale: torch.Tensor, shift: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(scale, requires_grad=False)
        self.bias = nn.Parameter(shift, requires_grad=False)

    @classmethod
    def from_norm(cls, norm: nn.Module) -> Affine:
        """Make the affine map of a BatchNorm in evaluation mode."""
        scale, shift = scale_and_shift(norm)
        shape = (-1, 1, 1) if isinstance(norm, nn.BatchNorm2d) else (-1,)
        return cls(scale.reshape(shape), shift.reshape(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, c, ...) to the same shape."""
        return self.weight * x + self.bias


class Standardise(nn.Module):
    """A LayerNorm whose division counts as a constant, so that what is left is linear (Ali et al. 2022)."""

    def __init__(self, shape: Sequence[int], weight: torch.Tensor, bias: torch.Tensor, eps: float) -> None:
        super().__init__()
        self._axes = tuple(range(-len(shape), 0))
        self._eps = eps
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, ..., c) to the same shape."""
        centred = x - x.mean(self._axes, keepdim=True)
        spread = torch.sqrt(x.detach().var(self._axes, unbiased=False, keepdim=True) + self._eps)
        return centred / spread * self.weight + self.bias


class Mean(nn.Module):
    """The mean over some axes."""

    def __init__(self, axes: Sequence[int], *, keepdim: bool) -> None:
        super().__init__()
        self._axes, self._keepdim = tuple(axes), keepdim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reduce the axes."""
        return x.mean(self._axes, keepdim=self._keepdim)


class Add(nn.Module):
    """A residual connection: each summand gets back what it gave (z-rule)."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Add two tensors of one shape."""
        total: torch.Tensor = _Add.apply(a, b)
        return total


class Gate(nn.Module):
    """A product of a signal and a weight between 0 and 1: the signal takes all relevance (Arras et al. 2017)."""

    def forward(self, signal: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """Multiply; the shapes may broadcast towards the signal's."""
        product: torch.Tensor = _Gate.apply(signal, gate.detach())
        return product


class _Add(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(a, b)
        return a + b

    @staticmethod
    def backward(ctx: Any, *relevance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, b = ctx.saved_tensors
        total = a + b
        share = relevance[0] / (total + torch.copysign(torch.full_like(total, PROPORTION), total))
        return share * a, share * b


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, signal: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        return signal * gate

    @staticmethod
    def backward(ctx: Any, *relevance: torch.Tensor) -> tuple[torch.Tensor, None]:
        return relevance[0], None


class Booked(nn.Module):
    """A module whose relevance is counted going in and coming out; the difference is what it kept."""

    def __init__(self, inner: nn.Module, ledger: Ledger, account: str) -> None:
        super().__init__()
        self.inner = inner
        self._ledger, self._account = ledger, account

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Map as `inner` does."""
        # Clones: a tensor that several layers read gathers the relevance of all of them, its clone of this one alone.
        own = [x.clone() for x in inputs]
        y: torch.Tensor = self.inner(*own)
        if y.requires_grad:
            y.register_hook(lambda relevance: self._ledger.enter(self._account, relevance, 1.0))  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            for x in own:
                if x.requires_grad:
                    x.register_hook(lambda relevance: self._ledger.enter(self._account, relevance, -1.0))  # type: ignore[no-untyped-call]
        return y


class Ledger:
    """What the layers of a canonical network keep, image by image and account by account."""

    def __init__(self) -> None:
        self.kept: dict[str, torch.Tensor] = {}

    def enter(self, account: str, relevance: torch.Tensor, sign: float) -> None:
        """Count relevance (n, ...) that arrives at a layer (sign +1) or that it hands down (-1)."""
        total = sign * relevance.detach().double().flatten(1).sum(1)
        self.kept[account] = self.kept[account] + total if account in self.kept else total


def plain_conv(conv: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Conv2d:
    """Copy a convolution with other weights."""
    copy = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        kernel_size=(conv.kernel_size[0], conv.kernel_size[1]),
        stride=(conv.stride[0], conv.stride[1]),
        padding=conv.padding if isinstance(conv.padding, str) else (conv.padding[0], conv.padding[1]),
        dilation=(conv.dilation[0], conv.dilation[1]),
        groups=conv.groups,
        bias=bias is not None,
    )
    copy.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        copy.bias = nn.Parameter(bias, requires_grad=False)
    return copy
