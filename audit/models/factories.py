"""Any torch module: a function of the user's own that builds it, alone or with the facts that nobody else knows."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from msgspec import ValidationError, convert
from torch import nn

from audit.data.tasks import Task
from audit.errors import ModelError, ModelUsageError, UnknownNameError, UsageError, shown_value
from audit.models.classifier import Outputs
from audit.models.foreign import RefusedError, shown
from audit.models.identity import example_inputs, identified, state_sha256
from audit.models.logits import Answers, answered, find_answers
from audit.models.prepared_input import prepared_input
from audit.models.preprocessing import Preprocessing
from audit.models.references import load_reference
from audit.models.requests import DeclaredInput, ModelRequest, OpenedModel, class_names, model_name
from audit.models.tasks import foreign_task, operating_points
from audit.models.tensors import read_tensors
from audit.models.torch_classifier import TorchClassifier, settled

_FACTS: Mapping[str, Any] = {
    "classes": tuple[str, ...],
    "task": Task,
    "answers": Answers,
    "operating_points": tuple[float | None, ...],
    **{field.name: field.type for field in fields(DeclaredInput)},
}


def open_factory(request: ModelRequest) -> OpenedModel:
    """Build the network of `package.module:function`, and open it."""
    network, facts = _built(request)
    load_weights(network, request)
    told = with_facts(request, facts)
    return open_module(told, network)


def load_weights(network: nn.Module, request: ModelRequest) -> None:
    """Give a network the weights that its bundle holds; nothing where it holds none.

    Raises
    ------
    ModelError
        If they are not the network's.
    """
    if not request.weights:
        return
    try:
        network.load_state_dict(read_tensors(Path(request.weights)))
    except (RuntimeError, RefusedError, OSError) as error:
        first = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__).strip()
        raise ModelError(f"The weights of {request.model} do not fit its network: {shown(first)}") from error


def open_module(
    request: ModelRequest,
    network: nn.Module,
    *,
    told: Preprocessing | None = None,
    names: tuple[str, ...] = (),
    architecture: str = "",
    content: str = "",
    channels: int | None = None,
    size_px: tuple[int, int] | None = None,
) -> OpenedModel:
    """Open a torch module.

    Parameters
    ----------
    request : ModelRequest
        What its owner declares.
    network : nn.Module
        Maps (n, c, h, w) to one row for each image. It is put into evaluation mode.
    told : Preprocessing, optional
        What its library says of the input.
    names : tuple of str
        Classes that the file tells.
    architecture : str
        What reports call it; omitted, its class.
    content : str
        SHA-256 of the file; omitted, that of its weights.
    channels : int, optional
        Channels of the input, where the file fixes them; omitted, those of the first convolution.
    size_px : tuple, optional
        The input's height and width, where the file fixes them.
    """
    what = request.model
    single = _in_single_precision(network)
    classes = class_names(request, names)
    steps, assumed = prepared_input(
        request, channels=channels or _channels(network), size_px=size_px, told=told, knows_fit=told is not None
    )
    examples = example_inputs(steps)
    values = answered(network.eval(), examples, what)
    task, guessed = foreign_task(what, request.task, classes, values.shape[1])
    answers, further = find_answers(values, request.answers, what, task)
    form = settled(network, len(classes), answers, examples, what, task)
    points = operating_points(what, request.operating_points, task, len(classes))
    classifier = TorchClassifier(form, Outputs(names=classes, task=task, points=points), steps, body=network)
    kind = architecture or type(network).__name__
    return OpenedModel(
        classifier=classifier,
        name=model_name(request),
        architecture=kind,
        content=identified(classifier, f"{kind}\x1f{content or state_sha256(network.state_dict())}", what),
        answers=answers,
        body=network,
        assumed=(*single, *guessed, *further, *assumed),
    )


def _in_single_precision(network: nn.Module) -> tuple[str, ...]:
    """Convert weights of another precision, for images come in single precision; return what was done, in words."""
    if isinstance(network, torch.jit.ScriptModule):
        return ()
    others = {
        str(t.dtype).removeprefix("torch.")
        for t in network.state_dict().values()
        if t.is_floating_point() and t.dtype != torch.float32
    }
    if not others:
        return ()
    network.float()
    return (f"weights of {' and '.join(sorted(others))} are converted to float32",)


def with_facts(request: ModelRequest, facts: Mapping[str, Any]) -> ModelRequest:
    """Return a request with what a factory says beside its network; what the user declares counts more.

    Raises
    ------
    UsageError
        If a fact is unknown or of another type.
    """
    for name in facts:
        if name not in _FACTS:
            raise UnknownNameError(f"fact beside the network of {request.model}", name, _FACTS)
    found = {}
    for name, value in facts.items():
        try:
            one = isinstance(value, (int, float)) and name in ("input_px", "mean", "std", "operating_points")
            found[name] = convert([value] if one else value, _kind_of(name))
        except ValidationError as error:
            raise UsageError(
                f"{request.model} returns {name} = {shown_value(value)} beside its network, which is not valid: {error}."
            ) from error
    declared = {k: v for k, v in found.items() if k in {f.name for f in fields(DeclaredInput)}}
    said = {f.name: getattr(request.declared, f.name) for f in fields(DeclaredInput)}
    kept = {name: value for name, value in said.items() if value not in (None, "", ())}
    if kept.keys() & {"scale", "mean", "std", "value_range", "per_image"}:  # one way to scale replaces the other
        declared = {k: v for k, v in declared.items() if k not in ("scale", "mean", "std", "value_range", "per_image")}
    return replace(
        request,
        classes=request.classes or found.get("classes", ()),
        task=request.task or found.get("task"),
        answers=request.answers or found.get("answers"),
        operating_points=request.operating_points or found.get("operating_points", ()),
        declared=DeclaredInput(**{**declared, **kept}),
    )


def _kind_of(name: str) -> Any:
    hints = _hints()
    return hints.get(name, _FACTS[name])


def _hints() -> Mapping[str, Any]:
    from typing import get_type_hints

    return get_type_hints(DeclaredInput)


def _built(request: ModelRequest) -> tuple[nn.Module, Mapping[str, Any]]:
    if isinstance(request.live, nn.Module):
        return copy.deepcopy(request.live), {}
    reference = request.detail or request.model
    factory = load_reference(reference, "model")
    if isinstance(factory, nn.Module):
        return factory, {}
    arguments = [request.checkpoint] if request.checkpoint else []
    try:
        made = factory(*arguments)
    except (Exception, SystemExit) as error:  # the user's code may raise anything, or end the process
        hint = "" if arguments else " If it needs a file of weights, name it with --checkpoint."
        raise ModelError(f"The function {reference} failed: {error!r}.{hint}") from error
    network, facts = made if isinstance(made, tuple) and len(made) == 2 else (made, {})
    if not isinstance(network, nn.Module) or not isinstance(facts, Mapping):
        found = type(network).__name__ if not isinstance(network, nn.Module) else f"(network, {type(facts).__name__})"
        raise ModelUsageError(
            f"The function {reference} must return a torch.nn.Module, alone or with a dictionary of facts (classes, input_px, ...), "
            f"found {found}. A function that predicts images itself is named with --as callable."
        )
    return network, facts


def _channels(network: nn.Module) -> int | None:
    """Return how many channels the first convolution reads; None where there is none, or it is not one of images."""
    first = next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)
    return first.in_channels if first is not None and first.in_channels in (1, 3) else None
