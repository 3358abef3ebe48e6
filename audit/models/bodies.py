"""Networks whose last layer is exchanged: the zoo's own, a bundle's, or any torch network that ends in a linear layer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from audit.data.bundle_record import OWN_KIND
from audit.errors import ModelError
from audit.models.bundle import Bundle
from audit.models.networks import last_layer
from audit.models.opening import open_model
from audit.models.preprocessing import Preprocessing
from audit.models.requests import ModelRequest
from audit.statistics.outputs import sigmoid, softmax

Features = NDArray[np.float32]
_BATCH = 32
_SAME = 1e-3
"""Largest difference of a probability at which the last linear layer gives the answers."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network whose head is exchanged."""

    network: nn.Module
    """In evaluation mode; never changed."""
    architecture: str
    """As `audit.models.networks.build_network` knows it, or in words."""
    preprocessing: Preprocessing
    """What it expects to see."""
    layer: str = ""
    """Name of the layer that is exchanged; empty for the last linear one."""
    output: int | None = None
    """Row of that layer whose sigmoid is what the head says, of a network with a sigmoid for each output; None where the head has a row
    for each class."""
    request: ModelRequest | None = None
    """What opens it in another process; None for a network that can be sent, and that a bundle holds by its architecture's name."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Send a foreign network by what opens it: its classes may live in modules that only the door finds."""
        if self.request is None:
            return super().__reduce_ex__(protocol)
        return _reopened, (self.request, self.output)

    @property
    def last(self) -> nn.Linear:
        """The layer that is exchanged."""
        if not self.layer:
            return last_layer(self.network)
        found = self.network.get_submodule(self.layer)
        assert isinstance(found, nn.Linear)
        return found

    def features(self, images: Sequence[NDArray[np.uint8]]) -> Features:
        """Return what the last layer reads of each image, float32 (n, f).

        Raises
        ------
        ModelError
            If it does not read one row for each image.
        """
        head = self.last
        found: list[torch.Tensor] = []
        hook = head.register_forward_pre_hook(lambda _, arguments: found.append(arguments[0].flatten(1)))
        try:
            with torch.inference_mode():
                for start in range(0, len(images), _BATCH):
                    batch = [self.preprocessing.prepare(image) for image in images[start : start + _BATCH]]
                    self.network(torch.stack(batch).to(head.weight.device))
        finally:
            hook.remove()
        if not found:
            return np.empty((0, head.in_features), dtype=np.float32)
        rows = np.asarray(torch.cat(found).float().cpu().numpy(), dtype=np.float32)
        if rows.shape != (len(images), head.in_features):
            raise ModelError(
                f"The last linear layer of the network ({self.architecture}) does not read one row for each image, so it cannot be "
                "trained again on planted shortcuts."
            )
        return rows


@dataclass(frozen=True, kw_only=True)
class Head:
    """A linear layer: logits = features @ weight.T + bias."""

    weight: NDArray[np.float32]
    """(k, f)."""
    bias: NDArray[np.float32]
    """(k)."""

    def probabilities(self, features: Features) -> NDArray[np.float64]:
        """Return the class probabilities (n, k) of features (n, f)."""
        return softmax(features.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias)


def body_of(bundle: Bundle) -> Backbone:
    """Return the network of a bundle, or of a model as its owner has it, as one whose head can be exchanged.

    Raises
    ------
    ModelError
        If it has no linear layer that gives its outputs.
    """
    if bundle.kind == OWN_KIND:
        return Backbone(network=bundle.network, architecture=bundle.architecture, preprocessing=bundle.preprocessing)
    layer, network = bundle.classifier.ability("head"), bundle.classifier.ability("network")
    if layer is None or network is None:
        raise ModelError(
            f"{bundle.where} is a {bundle.architecture}, which gives no linear output layer that could be trained again on planted "
            "shortcuts. Calibration needs the network as a torch module, or its weights with --as, that ends in a linear layer."
        )
    name = next((name for name, module in network.named_modules() if module is layer), "")
    return Backbone(
        network=network,
        architecture=bundle.architecture,
        preprocessing=bundle.preprocessing,
        layer=name,
        output=0 if layer.out_features == 1 else None,
        request=bundle.request,
    )


def _reopened(request: ModelRequest, output: int | None) -> Backbone:
    return replace(body_of(open_model(request)), output=output)


def check_head(body: Backbone, images: Sequence[NDArray[np.uint8]], *, multi_label: bool, where: str) -> None:
    """Refuse a network that changes what its last linear layer gives: a head fitted on features would not be its answers.

    Raises
    ------
    ModelError
        If its probabilities are others than those of the layer.
    """
    weight, bias = _rows(body)
    by_layer = body.features(images).astype(np.float64) @ weight.T.astype(np.float64) + bias
    with torch.inference_mode():
        batch = torch.stack([body.preprocessing.prepare(image) for image in images])
        logits = body.network(batch.to(body.last.weight.device)).cpu().numpy()
    if len(weight) == 1:
        by_layer = np.concatenate([-by_layer / 2, by_layer / 2], axis=1)
    read = sigmoid if multi_label else softmax
    same = by_layer.shape == logits.shape
    apart = float(np.abs(read(by_layer) - read(logits.astype(np.float64))).max()) if same else 1.0
    if apart > _SAME:
        raise ModelError(
            f"{where} changes what its last linear layer gives before it answers (probabilities differ by up to {apart:.2g}), so training "
            "this layer again would not train the network. Calibration needs a network that ends in a linear layer."
        )


def _rows(body: Backbone) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    last = body.last
    weight = np.array(last.weight.detach().float().cpu().numpy(), dtype=np.float32)
    bias = np.zeros(len(weight)) if last.bias is None else last.bias.detach().float().cpu().numpy()
    return weight, np.array(bias, dtype=np.float32)


def head_of(body: Backbone) -> Head:
    """Return the head that a network has; of one output that of two classes, absent and present."""
    weight, bias = _rows(body)
    if body.output is None:
        return Head(weight=weight, bias=bias)
    row, level = weight[body.output] / 2, bias[body.output] / 2
    return Head(weight=np.stack([-row, row]), bias=np.array([-level, level], dtype=np.float32))


def with_head(body: Backbone, head: Head) -> nn.Module:
    """Return a copy of the backbone that ends in this head; other outputs than that of the head stay as they are."""
    network = copy.deepcopy(body.network)
    weight, bias = head.weight, head.bias
    if body.output is not None:
        weight, bias = _rows(body)
        weight[body.output] = head.weight[1] - head.weight[0]
        bias[body.output] = head.bias[1] - head.bias[0]
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    name = body.layer or next(name for name, module in body.network.named_modules() if module is body.last)
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, layer)
    return network.eval().requires_grad_(False)
