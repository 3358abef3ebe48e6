"""The architectures that a bundle may name: those of the training chain, and those that are only audited."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torchvision
from torch import nn

from audit.errors import ModelError, UnknownNameError


def _small_densenet(n_outputs: int) -> nn.Module:
    """Build a DenseNet of some 40 layers for two cores: the same blocks, transitions and head."""
    return _module(
        torchvision.models.DenseNet(
            growth_rate=12, block_config=(3, 5, 7, 5), num_init_features=24, bn_size=4, num_classes=n_outputs
        )
    )


def _module(network: object) -> nn.Module:
    assert isinstance(network, nn.Module)
    return network


ARCHITECTURES: Mapping[str, Callable[[int], nn.Module]] = MappingProxyType(
    {
        "densenet-small": _small_densenet,
        "densenet121": lambda k: _module(torchvision.models.densenet121(weights=None, num_classes=k)),
        "densenet169": lambda k: _module(torchvision.models.densenet169(weights=None, num_classes=k)),
        "densenet201": lambda k: _module(torchvision.models.densenet201(weights=None, num_classes=k)),
    }
)
"""What the chain trains; every one ends in a linear layer called `classifier`."""
AUDITED_ONLY = (
    "resnet18", "resnet34", "resnet50", "resnet101", "vgg11_bn", "vgg16", "vgg16_bn", "efficientnet_b0", "efficientnet_b3",
    "efficientnet_v2_s", "convnext_tiny", "convnext_small", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large",
    "densenet161", "swin_t",
)  # fmt: skip
"""Those of torchvision's other networks that are tested one by one; a bundle may hold any of `library_networks`."""


def library_networks() -> list[str]:
    """Return the names of torchvision's image classifiers."""
    return sorted(torchvision.models.list_models(module=torchvision.models))


def build_network(architecture: str, n_outputs: int) -> nn.Module:
    """Build a freshly initialised network with `n_outputs` logits.

    Parameters
    ----------
    architecture : str
        A key of `ARCHITECTURES`, densenet121, densenet169, densenet201 (Huang et al. 2017) or densenet-small; or one
        of `library_networks`, by torchvision's name.
    n_outputs : int
        Number of outputs k; the network maps (n, 3, h, w) to (n, k) logits.

    Raises
    ------
    UnknownNameError
        If the architecture is not known.
    """
    if architecture in ARCHITECTURES:
        return ARCHITECTURES[architecture](n_outputs)
    if architecture not in library_networks():
        raise UnknownNameError("architecture", architecture, [*ARCHITECTURES, *library_networks()])
    return _module(torchvision.models.get_model(architecture, weights=None, num_classes=n_outputs))


def last_layer(network: nn.Module) -> nn.Linear:
    """Return the layer that gives the logits: the last linear one.

    Raises
    ------
    ModelError
        If there is none.
    """
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ModelError(f"A {type(network).__name__} without a linear layer has no features before its logits.")
    return linear[-1]
