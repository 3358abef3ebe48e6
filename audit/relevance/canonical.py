"""A DenseNet in the form that LRP needs: the same function, every step a module that a rule can be given to.

Why torchvision's own form gives wrong maps: its last ReLU and pooling are functions that no hook sees; a BatchNorm that
follows a convolution belongs into it; and the transitions' average pooling sees signed convolution outputs, so that
its rule divides by a mean that crosses zero. Here the pooling comes before the 1x1 convolution, which is exactly the same
function. A BatchNorm that *precedes* its ReLU cannot be merged; it stays, as an affine map with a rule of its own.

The network that is audited is only read: what is built here is a copy, so there is nothing to restore.
"""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import DenseNet

from audit.errors import RelevanceError


class Affine(nn.Module):
    """A BatchNorm in evaluation mode: y = weight * x + bias, channel by channel."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        scale, shift = _scale_and_shift(norm)
        self.weight = nn.Parameter(scale[None, :, None, None], requires_grad=False)
        self.bias = nn.Parameter(shift[None, :, None, None], requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, c, h, w) to the same shape."""
        return self.weight * x + self.bias


class Booked(nn.Module):
    """A module whose relevance is counted going in and coming out; the difference is what it absorbed."""

    def __init__(self, inner: nn.Module, ledger: Ledger) -> None:
        super().__init__()
        self.inner = inner
        self._ledger = ledger

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map as `inner` does."""
        # A clone: a tensor that several layers read gathers the relevance of all of them, its clone of this one alone.
        own = x.clone()
        y: torch.Tensor = self.inner(own)
        if y.requires_grad:
            y.register_hook(self._ledger.add)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            own.register_hook(self._ledger.subtract)  # type: ignore[no-untyped-call]
        return y


class Ledger:
    """What the layers absorb, image by image: shifts, biases, stabilisers, dead units."""

    def __init__(self) -> None:
        self.absorbed: torch.Tensor | None = None

    def clear(self) -> None:
        """Start a new batch."""
        self.absorbed = None

    def add(self, relevance: torch.Tensor) -> None:
        """Count relevance (n, ...) that arrives at a layer from above."""
        self._count(relevance, 1.0)

    def subtract(self, relevance: torch.Tensor) -> None:
        """Count relevance (n, ...) that a layer hands down."""
        self._count(relevance, -1.0)

    def _count(self, relevance: torch.Tensor, sign: float) -> None:
        total = sign * relevance.detach().double().flatten(1).sum(1)
        self.absorbed = total if self.absorbed is None else self.absorbed + total


class _Layer(nn.Module):
    """Norm, ReLU, 1x1 convolution (with the norm after it), ReLU, 3x3 convolution."""

    def __init__(self, layer: nn.Module, ledger: Ledger) -> None:
        super().__init__()
        self.path = nn.Sequential(
            Booked(Affine(_norm(layer, "norm1")), ledger),
            nn.ReLU(),
            Booked(_merged(_conv(layer, "conv1"), _norm(layer, "norm2")), ledger),
            nn.ReLU(),
            Booked(_plain(_conv(layer, "conv2")), ledger),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Append the new features (n, growth, h, w) to x."""
        return torch.cat([x, self.path(x)], dim=1)


class CanonicalDenseNet(nn.Module):
    """The same function as a torchvision DenseNet in evaluation mode.

    Parameters
    ----------
    network : torchvision.models.DenseNet
        Read, never changed.

    Raises
    ------
    RelevanceError
        If the network is anything else.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if not isinstance(network, DenseNet):
            raise RelevanceError(
                f"LRP knows the DenseNets of torchvision, but this network is a {type(network).__name__}. "
                "Its accuracy and effects are measured all the same."
            )
        if network.training:
            raise RelevanceError("LRP needs the network in evaluation mode; call eval() on it first.")
        self.ledger = Ledger()
        stages: list[nn.Module] = []
        features = dict(network.features.named_children())
        stages.append(Booked(_merged(_conv(network.features, "conv0"), _norm(network.features, "norm0")), self.ledger))
        stages += [nn.ReLU(), nn.MaxPool2d(kernel_size=3, stride=2, padding=1)]
        for name, part in features.items():
            if name.startswith("denseblock"):
                stages += [_Layer(layer, self.ledger) for layer in part.children()]
            elif name.startswith("transition"):
                stages += [
                    Booked(Affine(_norm(part, "norm")), self.ledger),
                    nn.ReLU(),
                    Booked(nn.AvgPool2d(kernel_size=2, stride=2), self.ledger),
                    Booked(_plain(_conv(part, "conv")), self.ledger),
                ]
        stages += [
            Booked(Affine(_norm(network.features, "norm5")), self.ledger),
            nn.ReLU(),
            Booked(nn.AdaptiveAvgPool2d((1, 1)), self.ledger),
            nn.Flatten(),
        ]
        self.features = nn.Sequential(*stages)
        head = network.classifier
        if not isinstance(head, nn.Linear):
            raise RelevanceError(f"LRP needs one linear layer as classifier, this network has a {type(head).__name__}.")
        linear = nn.Linear(head.in_features, head.out_features)
        linear.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=False)
        bias = head.bias if head.bias is not None else torch.zeros(head.out_features, dtype=head.weight.dtype)
        linear.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.classifier = Booked(linear, self.ledger)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, 3, h, w) to logits (n, k)."""
        logits: torch.Tensor = self.classifier(self.features(x))
        return logits


def _conv(parent: nn.Module, name: str) -> nn.Conv2d:
    module = getattr(parent, name)
    assert isinstance(module, nn.Conv2d)
    return module


def _norm(parent: nn.Module, name: str) -> nn.BatchNorm2d:
    module = getattr(parent, name)
    assert isinstance(module, nn.BatchNorm2d)
    return module


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Return s and t (c,) of the affine map s x + t that a BatchNorm is after training."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias.detach() - norm.running_mean * scale


def _plain(conv: nn.Conv2d) -> nn.Conv2d:
    return _conv_like(conv, conv.weight.detach().clone(), None if conv.bias is None else conv.bias.detach().clone())


def _merged(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """Fold the BatchNorm that follows a convolution into it; exact with any padding."""
    scale, shift = _scale_and_shift(norm)
    bias = shift if conv.bias is None else shift + scale * conv.bias.detach()
    return _conv_like(conv, conv.weight.detach() * scale[:, None, None, None], bias)


def _conv_like(conv: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Conv2d:
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
