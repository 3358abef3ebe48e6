"""A torch module as a classifier, whatever it returns: logits or probabilities, one sigmoid, a tensor or an object with `logits`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from audit.data.tasks import Task
from audit.errors import ModelError, UsageError
from audit.models.classifier import Ability, Outputs
from audit.models.networks import last_layer
from audit.models.preprocessing import Preprocessing

Answers = Literal["logits", "probabilities"]
"""What the numbers of an output are."""
SMALLEST = 1e-7
"""Probabilities are kept this far from 0 and 1 before their logarithm is taken; single precision distinguishes no less from 1."""

_SUM_TOLERANCE = 1e-3


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
        is_tensor = isinstance(_called(network, example, what), torch.Tensor)
    if not is_tensor or answers == "probabilities":
        form = _Read(network, answers, apart=task == "multi-label")
    if plain.shape[1] == 1:
        form = nn.Sequential(form, _two_sided())
    # What is around the network is a module too: LRP refuses one in training mode.
    return form.eval()


def answered(network: nn.Module, example: torch.Tensor, what: str) -> torch.Tensor:
    """Return what a network answers to prepared images, as a matrix (n, outputs).

    Raises
    ------
    ModelError
        If it cannot be called with them, or answers something else.
    """
    with torch.inference_mode():
        found = _tensor_of(_called(network, example, what))
    if not isinstance(found, torch.Tensor) or found.ndim not in (1, 2) or len(found) != len(example):
        shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise ModelError(
            f"The network {what} must answer {len(example)} images with one row each, found {shape}. An image classifier with a tensor "
            "(n, outputs), or an object with such `logits`, is expected."
        )
    return found.reshape(len(example), -1)


def check_answers(
    values: torch.Tensor,
    n_classes: int,
    answers: Answers,
    what: str,
    task: Task = "single-label",
    *,
    at_door: bool = True,
) -> None:
    """Hold answers (n, outputs) against what is declared of them.

    Parameters
    ----------
    values : tensor (n, outputs)
        The answers.
    n_classes, answers, what, task
        What is declared, and the network's name.
    at_door : bool
        Whether these are the first answers, which show whether the declaration is right. Later, two independent findings of one image may
        sum to 1 by chance.

    Raises
    ------
    ModelError
        If there are other outputs than classes, they are not finite, or they are probabilities called logits or the reverse.
    """
    n_outputs = values.shape[1]
    if n_outputs != n_classes and (n_outputs, n_classes) != (1, 2):
        two = (
            " A network of one output (a sigmoid) has two classes: that of a low output, then that of a high one."
            if n_outputs == 1
            else ""
        )
        raise ModelError(
            f"The network {what} has {n_outputs} output{'' if n_outputs == 1 else 's'}, but {n_classes} classes are named.{two} Name one "
            "class per output with --classes a,b,c, in the order of the outputs."
        )
    if not bool(torch.isfinite(values).all()):
        bad = [i + 1 for i in range(n_outputs) if not bool(torch.isfinite(values[:, i]).all())]
        which = "outputs" if len(bad) == n_outputs else f"outputs ({', '.join(map(str, bad[:20]))} of {n_outputs})"
        raise ModelError(
            f"The network {what} gives {which} that are not finite. Its weights or its declared input are wrong."
        )
    inside = bool(((values >= 0) & (values <= 1)).all())
    sums = values.sum(1)
    whole = n_outputs > 1 and bool(((sums - 1).abs() < _SUM_TOLERANCE).all())
    if task == "multi-label":
        if answers == "probabilities" and not inside:
            raise ModelError(
                f"The network {what} is declared to give probabilities, but gives values from {float(values.min()):.3g} to "
                f"{float(values.max()):.3g}. Use --answers logits."
            )
        if at_door and inside and whole:
            raise ModelError(
                f"The network {what} is declared to be multi-label, but its outputs lie between 0 and 1 and sum to 1: they are those of a "
                "softmax. Use --task single-label."
            )
        return
    if answers == "probabilities" and not (inside and (whole or n_outputs == 1)):
        found = (
            f"rows that sum to {float(sums[0]):.3g}"
            if inside
            else f"values from {float(values.min()):.3g} to {float(values.max()):.3g}"
        )
        raise ModelError(
            f"The network {what} is declared to give probabilities, but gives {found}. For independent sigmoids, use --task multi-label; "
            "for logits, --answers logits."
        )
    if at_door and answers == "logits" and inside and whole:
        raise ModelError(
            f"The network {what} is declared to give logits, but its outputs lie between 0 and 1 and sum to 1: they are probabilities. "
            "Use --answers probabilities."
        )


def find_answers(
    values: torch.Tensor, asked: Answers | None, what: str, task: Task = "single-label"
) -> tuple[Answers, tuple[str, ...]]:
    """Return what the numbers of answers (n, outputs) are, and what was assumed, in words.

    Raises
    ------
    UsageError
        If one output, or those of a multi-label network, could be either.
    """
    if asked is not None:
        return asked, ()
    inside = bool(((values >= 0) & (values <= 1)).all())
    if values.shape[1] == 1:
        if inside:
            raise UsageError(
                f"The single output of {what} lies between 0 and 1 ({float(values[0, 0]):.3g}), so it may be a probability or a logit. Use "
                "--answers probabilities or --answers logits."
            )
        return "logits", ()
    if task == "multi-label":
        if inside:
            raise UsageError(
                f"All outputs of {what} lie between 0 and 1, so they may be probabilities or logits. Use --answers probabilities or "
                "--answers logits."
            )
        return "logits", ()
    whole = inside and bool(((values.sum(1) - 1).abs() < _SUM_TOLERANCE).all())
    return ("probabilities", ("outputs are probabilities, as they sum to 1",)) if whole else ("logits", ())


def as_logits(values: torch.Tensor, answers: Answers, task: Task | None = "single-label") -> torch.Tensor:
    """Return logits (n, k) of answers (n, outputs); of one output, those of both classes."""
    found = log_odds(values, apart=task == "multi-label") if answers == "probabilities" else values
    return (torch.cat([-found / 2, found / 2], 1) if found.shape[1] == 1 else found).float()


def log_odds(values: torch.Tensor, *, apart: bool = False) -> torch.Tensor:
    """Return logits whose softmax gives probabilities (n, k) again; of one column, or of findings apart, their log odds."""
    kept = values.clamp(SMALLEST, 1 - SMALLEST)
    odds = apart or values.shape[1] == 1
    return torch.log(kept) - torch.log1p(-kept) if odds else torch.log(values.clamp(min=SMALLEST))


class _Read(nn.Module):
    """Takes the logits out of what a network returns, or makes them of its probabilities."""

    def __init__(self, network: nn.Module, answers: Answers, *, apart: bool) -> None:
        super().__init__()
        self.network, self._answers, self._apart = network, answers, apart

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (n, c, h, w) to (n, k)."""
        found = _tensor_of(self.network(inputs))
        assert isinstance(found, torch.Tensor)
        values = found.reshape(len(inputs), -1)
        return log_odds(values, apart=self._apart) if self._answers == "probabilities" else values


def _two_sided() -> nn.Linear:
    """Return the layer that turns one logit z into two, -z/2 and z/2, whose softmax is the sigmoid of z."""
    layer = nn.Linear(1, 2, bias=False).requires_grad_(False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-0.5], [0.5]]))
    return layer


def _called(network: nn.Module, example: torch.Tensor, what: str) -> Any:
    try:
        return network(example)
    except Exception as error:  # anybody's forward may raise anything
        told = " ".join(str(error).split())[:300]
        raise ModelError(
            f"The network {what} does not take an input of {example.shape[1]} channels and {example.shape[3]} x {example.shape[2]} "
            f"pixels: {told} Declare its input with --channels and --input-px."
        ) from error


def _tensor_of(found: Any) -> Any:
    """Return the logits of what a network returned: a tensor, an object or mapping with `logits`, or the first of a sequence."""
    if isinstance(found, Mapping) and "logits" in found:
        return found["logits"]
    if not isinstance(found, torch.Tensor) and hasattr(found, "logits"):
        return found.logits
    if isinstance(found, (tuple, list)) and len(found) == 1:
        return found[0]
    # One output without an axis of its own.
    return found.reshape(-1, 1) if isinstance(found, torch.Tensor) and found.ndim == 1 else found
