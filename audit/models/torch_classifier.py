"""A torch module as a classifier, whatever it returns: logits or probabilities, one sigmoid, a tensor or an object with `logits`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from audit.data.tasks import Task
from audit.errors import ModelError
from audit.models.classifier import Ability, Outputs
from audit.models.logits import Answers, answered, called, check_answers, log_odds, tensor_of
from audit.models.networks import last_layer
from audit.models.preprocessing import Preprocessing


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: how it divides a convolution among several changes the last digits of logits.

    So the same plan gives the same bytes whatever the number of cores and of workers, which are how to use several.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class TorchClassifier:
    """A network in evaluation mode, which is only read.

    Parameters
    ----------
    network : nn.Module
        Maps (n, c, h, w) to logits (n, k) as `settled` returns it.
    outputs : Outputs
        What it answers.
    wants : Preprocessing
        The input that it wants.
    body : nn.Module, optional
        The network as its owner built it, whose last layer gives the features; omitted, `network` itself.
    """

    def __init__(
        self, network: nn.Module, outputs: Outputs, wants: Preprocessing, *, body: nn.Module | None = None
    ) -> None:
        self._network, self._outputs, self._wants = network, outputs, wants
        self._body = body or network

    @property
    def outputs(self) -> Outputs:
        """Names and task of the outputs."""
        return self._outputs

    @property
    def wants(self) -> Preprocessing:
        """The input that it wants."""
        return self._wants

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits (n, k) for prepared images (n, c, h, w)."""
        with torch.inference_mode():
            return torch.as_tensor(self._network(inputs.to(self._device()))).cpu()

    def ability(self, name: Ability) -> Any | None:
        """Return the network, its device, or its last linear layer and the features that it reads, where it has one."""
        if name == "network":
            return self._network
        if name == "device":
            return self._device()
        if name == "head":
            return last_layer(self._body) if _reads_features(self._body) else None
        return self._features if _reads_features(self._body) else None

    def _device(self) -> torch.device:
        return next((p.device for p in self._network.parameters()), torch.device("cpu"))

    def _features(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return what the last layer reads (n, f)."""
        seen: list[torch.Tensor] = []
        hook = last_layer(self._body).register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
        try:
            self.logits(inputs)
        finally:
            hook.remove()
        # A layer that is used for every patch of an image reads more rows than there are images.
        if not seen or len(seen[-1]) != len(inputs):
            raise ModelError(
                f"The last linear layer of {type(self._body).__name__} does not read one row for each image."
            )
        return seen[-1].flatten(1).cpu()


def _reads_features(network: nn.Module) -> bool:
    return not isinstance(network, torch.jit.ScriptModule) and any(isinstance(m, nn.Linear) for m in network.modules())


def settled(
    network: nn.Module, n_classes: int, answers: Answers, example: torch.Tensor, what: str, task: Task = "single-label"
) -> nn.Module:
    """Return a network in a form that gives logits (n, k): itself, if it already does.

    Parameters
    ----------
    network : nn.Module
        As its owner built it.
    n_classes : int
        Number of classes that it is said to tell apart.
    answers : {"logits", "probabilities"}
        What its outputs are.
    example : tensor (n, c, h, w)
        Prepared images of which it is tried.
    what : str
        Its name, for messages.
    task : Task
        What its outputs mean: of a multi-label network each probability has odds of its own.

    Raises
    ------
    ModelError
        If it does not take such images, its outputs are not (n, k), or they are not what they are said to be.
    """
    network.eval()
    for parameter in network.parameters():
        if not isinstance(network, torch.jit.ScriptModule):
            parameter.requires_grad_(False)
    plain = answered(network, example, what)
    check_answers(plain, n_classes, answers, what, task)
    form = network
    with torch.inference_mode():
        is_tensor = isinstance(called(network, example, what), torch.Tensor)
    if not is_tensor or answers == "probabilities":
        form = _Read(network, answers, apart=task == "multi-label")
    if plain.shape[1] == 1:
        form = nn.Sequential(form, _two_sided())
    # What is around the network is a module too: LRP refuses one in training mode.
    return form.eval()


class _Read(nn.Module):
    """Takes the logits out of what a network returns, or makes them of its probabilities."""

    def __init__(self, network: nn.Module, answers: Answers, *, apart: bool) -> None:
        super().__init__()
        self.network, self._answers, self._apart = network, answers, apart

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (n, c, h, w) to (n, k)."""
        found = tensor_of(self.network(inputs))
        assert isinstance(found, torch.Tensor)
        values = found.reshape(len(inputs), -1)
        return log_odds(values, apart=self._apart) if self._answers == "probabilities" else values


def _two_sided() -> nn.Linear:
    """Return the layer that turns one logit z into two, -z/2 and z/2, whose softmax is the sigmoid of z."""
    layer = nn.Linear(1, 2, bias=False).requires_grad_(False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-0.5], [0.5]]))
    return layer
