"""Every tensor of a checkpoint under one dotted name, whatever it was wrapped in."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from audit.errors import ModelError
from audit.models.foreign import shown
from audit.models.pickle_names import Shell

# What a file may cost beyond its own bytes: one tensor under many names, modules that contain each other.
MAX_TENSORS = 20_000
"""Tensors of a checkpoint, all its networks together."""
MAX_NAME = 300
"""Characters of a tensor's name."""
_THRESHOLDS = "op_threshs"
_MAX_CONTAINERS = 100_000
_MAX_DEPTH = 6
# torch.compile, FSDP and activation checkpointing put these names between those of the modules, at any depth.
_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})


@dataclass(frozen=True, kw_only=True)
class States:
    """What a checkpoint contains, without its containers."""

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    """Name -> tensor; the name begins with the keys of the mappings that contain it (`state_dict.model.classifier.weight`)."""
    roots: dict[str, str] = field(default_factory=dict)
    """Name of a tensor -> name of the state dictionary or module that contains it, with a final dot; empty for the file itself."""
    shells: dict[str, Shell] = field(default_factory=dict)
    """Name of a module, with a final dot -> the module."""


def collect_states(file: Path, content: Any) -> States:
    """Walk mappings, lists of mappings, and pickled modules as `state_dict` would.

    Tensors below keys that are not text are left out: those of optimizers, which number their parameters.

    Parameters
    ----------
    file : Path
        For messages.
    content : object
        What `read_checkpoint` returned.

    Raises
    ------
    ModelError
        If containers contain each other, two tensors have one name, or there are too many or too long names.
    """
    found = States()
    waiting: list[tuple[str, str, Any, int]] = [("", "", content, 0)]
    met = 0
    while waiting:
        prefix, root, held, depth = waiting.pop()
        met += 1
        if met > _MAX_CONTAINERS or len(prefix) > MAX_NAME:
            raise ModelError(
                f"The checkpoint {file} is refused: its modules contain each other more than {_MAX_CONTAINERS} times, or a name "
                f"of one is longer than {MAX_NAME} characters."
            )
        if isinstance(held, Shell):
            found.shells[_unwrapped(prefix)] = held
        module = isinstance(held, Shell) and _is_module(held)
        inside = []
        for key, value in _parts(held):
            if isinstance(value, torch.Tensor):
                _add(file, found, prefix + key, root, value.detach())
            elif module:
                if isinstance(value, Shell):
                    inside.append((f"{prefix}{key}.", root, value, depth))
            elif depth < _MAX_DEPTH and _is_container(value):
                inside.append((f"{prefix}{key}.", _unwrapped(f"{prefix}{key}."), value, depth + 1))
        waiting += inside[::-1]
    return found


def describe(content: Any) -> str:
    """Return what a checkpoint contains at its top, in a few words."""
    if isinstance(content, Mapping):
        first = [shown(key) if isinstance(key, str) else type(key).__name__ for key in itertools.islice(content, 6)]
        return f"a mapping with {', '.join(first) or 'no entries'}"
    return shown(content.kind) if isinstance(content, Shell) else type(content).__name__


def _add(file: Path, found: States, name: str, root: str, tensor: torch.Tensor) -> None:
    if len(name) > MAX_NAME or len(found.tensors) >= MAX_TENSORS:
        raise ModelError(
            f"The checkpoint {file} is refused: at most {MAX_TENSORS} tensors, each with a name of at most {MAX_NAME} characters, "
            "are read."
        )
    clean = _unwrapped(name)
    # A file can hold the compiled network and the plain one: the second keeps its own names, and is another network.
    known = clean if clean not in found.tensors else name
    if known in found.tensors:
        raise ModelError(f"The checkpoint {file} is refused: two of its tensors have the name {shown(name)}.")
    found.tensors[known] = tensor
    found.roots[known] = root


def _unwrapped(name: str) -> str:
    parts = name.split(".")
    # `features` alone in DataParallel, as early training scripts of torchvision had it.
    kept = [
        part
        for i, part in enumerate(parts)
        if part not in _WRAPPERS and not (part == "module" and i and parts[i - 1] == "features")
    ]
    return ".".join(kept)


def _is_module(shell: Shell) -> bool:
    return any(kind in shell.attributes for kind in ("_parameters", "_buffers", "_modules"))


def _is_container(value: Any) -> bool:
    return isinstance(value, (Mapping, Shell, list, tuple))


def _parts(held: Any) -> list[tuple[str, Any]]:
    """Return what a container holds under names; of a list, its containers alone."""
    if isinstance(held, Shell):
        if _is_module(held):
            kinds = (held.attributes.get(kind) for kind in ("_parameters", "_buffers", "_modules"))
            return [pair for kind in kinds if isinstance(kind, dict) for pair in _named(kind)]
        return [*_named(held.attributes), *_named(held.items)]
    if isinstance(held, Mapping):
        return _named(held)
    if isinstance(held, (list, tuple)):
        return [(str(i), value) for i, value in enumerate(held) if isinstance(value, (Mapping, Shell))]
    return []


def _named(held: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in held.items() if isinstance(key, str)]


def operating_thresholds(tensors: Mapping[str, torch.Tensor], n_outputs: int) -> tuple[float | None, ...]:
    """Return the thresholds that torchxrayvision keeps beside its weights, as probabilities of each output.

    Parameters
    ----------
    tensors : mapping
        Of one file.
    n_outputs : int
        Of its network.

    Returns
    -------
    tuple of (float or None)
        None for an output without one; empty where the file has none, or several, or another number of them.
    """
    found = [t for name, t in tensors.items() if name.rpartition(".")[2] == _THRESHOLDS]
    if len(found) != 1 or found[0].shape != (n_outputs,):
        return ()
    return tuple(value if 0 < value < 1 else None for value in found[0].double().tolist())
