"""The linear layer that gives a network's outputs: the only one, or the one that the user names; never a guess."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from audit.errors import ModelError, UsageError
from audit.models.backbones import Backbone, quoted, resolve
from audit.models.foreign import shown
from audit.models.pickle_names import Shell
from audit.models.states import States
from audit.store.numbers import counted

LINEAR = "torch.nn.modules.linear.Linear"
"""Kind of a pickled linear layer."""
# Weights of losses and what is computed from the outputs after them; without a part in the prediction.
_UNUSED = re.compile(r"(^|\.)(loss|loss_fn|loss_func|criterion)\.|(^|\.)(pos_weight|op_threshs|num_batches_tracked)$")
# The paper's authors put one layer for each class side by side, in a module of their own.
_SIDE_BY_SIDE = re.compile(r"(.*\.|)linear([1-9][0-9]?)\.weight")
_NUMBERED = re.compile(r"((?:.*\.)?)([0-9]+)\.weight")


@dataclass(frozen=True, kw_only=True)
class Head:
    """The layer, or several side by side, that turns features into outputs."""

    names: tuple[str, ...]
    """Its weights' names in the file."""
    weight: torch.Tensor
    """Of the outputs (k, f)."""
    bias: torch.Tensor
    """Of the outputs (k)."""
    left_out: tuple[str, ...]
    """Weights other than the network's that the user decided not to use."""


def choose_head(file: Path, states: States, backbone: Backbone, keys: Sequence[str]) -> Head:
    """Return the layer under the backbone's own prefix, or those that the user names, in that order.

    Without names, everything beside the features must be that layer: another linear layer may be the real one, or give the
    age or the sex; other weights may stand between features and outputs.

    Raises
    ------
    UsageError
        If the layer is not the only one and none is named, or a name is not there.
    ModelError
        If it does not read the backbone's features, or is one of several layers in a row.
    """
    linear = [name for name in _not_elsewhere(backbone) if _is_linear(name, states.tensors[name])]
    names = [_find(file, linear, key) for key in keys] if keys else _own(file, states, backbone, linear)
    if len(set(names)) < len(names):
        raise UsageError(f"--head names the layer '{shown(names[0])}' twice; name each layer once.")
    for name in names:
        _check(file, states, backbone, name)
    biases = [_bias(file, states, name) for name in names]
    weights = [states.tensors[name] for name in names]
    widths = sorted({weight.shape[1] for weight in weights})
    if len(widths) > 1:
        raise ModelError(f"The head of {file} does not fit: its layers read {widths[0]} and {widths[-1]} values.")
    used = {*names, *(f"{name.removesuffix('weight')}bias" for name in names)}
    return Head(
        names=tuple(names),
        weight=torch.cat(weights).clone(),
        bias=torch.cat(biases).clone(),
        left_out=tuple(_others(states, backbone, used)),
    )


def _not_elsewhere(backbone: Backbone) -> list[str]:
    """Return the names that belong to no other network: its own, then those that belong to none."""
    return [*backbone.rest, *backbone.free]


def _is_linear(name: str, tensor: torch.Tensor) -> bool:
    return tensor.ndim == 2 and tensor.is_floating_point() and (name == "weight" or name.endswith(".weight"))


def _find(file: Path, linear: Sequence[str], key: str) -> str:
    meant = list(dict.fromkeys(name for form in (key, f"{key}.weight") for name in resolve(form, linear)))
    if len(meant) == 1:
        return meant[0]
    raise UsageError(
        f"The checkpoint {file} has {'several linear layers' if meant else 'no linear layer'} '{shown(key)}' for this network. "
        f"{'Its linear layers are ' + quoted(meant or linear) if linear else 'It has no linear layer'}; name one in full."
    )


def _own(file: Path, states: States, backbone: Backbone, linear: Sequence[str]) -> list[str]:
    """Return the only layer that can give the outputs."""
    inside = [name for name in linear if name in backbone.rest]
    side = _side_by_side(states.tensors, inside)
    near = [
        name
        for name in linear
        if name not in backbone.rest
        and (states.roots[name] == backbone.root or states.tensors[name].shape[1] == backbone.width)
        and not _UNUSED.search(name)
    ]
    if not inside:
        raise UsageError(
            f"The checkpoint {file} has no linear layer under the network's prefix '{shown(backbone.prefix)}'. "
            + (f"Elsewhere it has {quoted(near)}: name the one that gives the outputs with --head." if near else
               "Its outputs are missing: this seems to be a backbone without a classifier.")
        )  # fmt: skip
    if (len(inside) > 1 and not side) or near:
        for name in inside:
            _check_row(file, states, backbone, name)
        raise UsageError(
            f"The checkpoint {file} has more than one linear layer that can give the outputs: {_listed(states, [*inside, *near])}. "
            "Name the right one with --head."
        )
    names = side or inside
    used = {*names, *(f"{name.removesuffix('weight')}bias" for name in names)}
    for name in names:
        _check_row(file, states, backbone, name)
        kind = states.shells.get(name.removesuffix("weight"), Shell(kind="")).kind
        if kind not in ("", LINEAR) or (not kind and f"{name.removesuffix('weight')}bias" not in states.tensors):
            what = f"is of the class {shown(kind)}" if kind else "has no bias"
            raise UsageError(
                f"The layer '{shown(name)}' of the checkpoint {file} {what}, so it may not be a plain linear layer. If it is one, "
                f"name it with --head '{shown(name)}'."
            )
    others = _others(states, backbone, used)
    if others:
        raise UsageError(
            f"The checkpoint {file} has other weights besides the network: {quoted(others)}. If the outputs are the linear layer "
            f"'{shown(names[0])}' of the features alone, state so with --head '{shown(names[0])}'."
        )
    return names


def _listed(states: States, names: Sequence[str]) -> str:
    outputs = [f"{shown(name)} ({counted(len(states.tensors[name]), 'output')})" for name in names]
    return ", ".join(outputs[:6]) + (f" and {len(outputs) - 6} more" if len(outputs) > 6 else "")


def _side_by_side(tensors: Mapping[str, torch.Tensor], names: Sequence[str]) -> list[str]:
    """Return linear1, linear2, ... of one module in their order, if that is all and each has one output; else nothing."""
    found = [_SIDE_BY_SIDE.fullmatch(name) for name in names]
    ordered = sorted((int(match.group(2)), match.string) for match in found if match)
    whole = [number for number, _ in ordered] == list(range(1, len(names) + 1)) and len(names) > 1
    one_module = len({match.group(1) for match in found if match}) == 1
    return [name for _, name in ordered] if whole and one_module and all(len(tensors[n]) == 1 for n in names) else []


def _check(file: Path, states: States, backbone: Backbone, name: str) -> None:
    _check_row(file, states, backbone, name)
    width = states.tensors[name].shape[1]
    if backbone.width is not None and width != backbone.width:
        raise ModelError(
            f"The head of {file} does not fit: {shown(name)} reads {width} values, but the network has {backbone.width} features. "
            "Only one linear layer on the features can be imported."
        )


def _check_row(file: Path, states: States, backbone: Backbone, name: str) -> None:
    """Refuse a layer of a row: what stands before or behind it changes the outputs, and a bundle cannot hold it."""
    match = _NUMBERED.fullmatch(name)
    if match is None:
        return
    parent, number = match.groups()
    row = {
        other: tensor
        for other, tensor in states.tensors.items()
        if other.startswith(parent) and tensor.is_floating_point() and _another(other.removeprefix(parent), number)
    }
    # A list of heads has layers that all read the features, and none that gives as many values.
    heads = [states.tensors[name], *(tensor for other, tensor in row.items() if not other.endswith(".bias"))]
    parallel = all(t.ndim == 2 and t.shape[1] == backbone.width and len(t) != backbone.width for t in heads)
    if row and not parallel:
        raise ModelError(
            f"The head of {file} is more than one linear layer: besides {shown(name)} it has {quoted(row)}. Only one linear layer on "
            "the features can be imported."
        )


def _another(name: str, number: str) -> bool:
    first = name.partition(".")[0]
    return first.isdecimal() and first != number


def _bias(file: Path, states: States, name: str) -> torch.Tensor:
    weight = states.tensors[name]
    bias = states.tensors.get(f"{name.removesuffix('weight')}bias", torch.zeros(len(weight)))
    if bias.shape != weight.shape[:1]:
        raise ModelError(
            f"The head of {file} does not fit: {shown(name)} has {len(weight)} outputs, its bias the shape {tuple(bias.shape)}."
        )
    return bias


def _others(states: States, backbone: Backbone, used: set[str]) -> list[str]:
    """Return the names of other weights in the state dictionary or module of the network."""
    return [
        name
        for name in _not_elsewhere(backbone)
        if name not in used
        and (states.roots[name] == backbone.root or name in backbone.rest)
        and states.tensors[name].is_floating_point()
        and not _UNUSED.search(name)
    ]
