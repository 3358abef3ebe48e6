"""The architectures that a bundle may name; every one ends in a linear layer called `classifier`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torchvision
from torch import nn

from audit.errors import UnknownNameError


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


def build_network(architecture: str, n_outputs: int) -> nn.Module:
    """Build a freshly initialised network with `n_outputs` logits.

    Parameters
    ----------
    architecture : str
        A key of `ARCHITECTURES`: densenet121, densenet169, densenet201 (Huang et al. 2017), densenet-small.
    n_outputs : int
        Number of outputs k; the network maps (n, 3, h, w) to (n, k) logits.

    Raises
    ------
    UnknownNameError
        If the architecture is not known.
    """
    if architecture not in ARCHITECTURES:
        raise UnknownNameError("architecture", architecture, ARCHITECTURES)
    return ARCHITECTURES[architecture](n_outputs)
