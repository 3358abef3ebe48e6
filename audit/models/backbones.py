"""The DenseNets of a checkpoint: which there are, and which one is meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from audit.errors import ModelError, ModelUsageError, UsageError
from audit.models.foreign import shown
from audit.models.states import States, describe

STEM = "features.conv0.weight"
"""First layer of a DenseNet, as torchvision names it."""
_STEM_END = "conv0.weight"
# torchvision once named layers norm.1; since attributes cannot hold a dot they are norm1. MONAI has them in `layers`.
_OLD_KEY = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")
_MONAI_KEY = re.compile(r"^(.*denselayer\d+\.)layers\.(.*)$")
_LISTED = 6
# Networks are only compared with each other up to this many.
_MAX_COMPARED = 8


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """One DenseNet of a checkpoint."""

    prefix: str
    """What comes before the names of its parts, with a final dot; may be empty."""
    root: str
    """Name of the state dictionary or module that contains it, with a final dot; may be empty."""
    body: Mapping[str, torch.Tensor]
    """Tensors of its features, by torchvision's names."""
    rest: Mapping[str, torch.Tensor]
    """What else lies under its prefix, by its name in the file."""
    free: tuple[str, ...]
    """Names of tensors that belong to no network of the file."""

    @property
    def width(self) -> int | None:
        """Number of features that a head reads; None if the last layer is not there."""
        last = self.body.get("features.norm5.weight")
        return None if last is None or last.ndim != 1 else len(last)


def choose_backbone(file: Path, content: Any, states: States, prefix: str | None) -> Backbone:
    """Return the network of a checkpoint, or the one of several that the user names.

    Copies with the same numbers, such as a module beside its state dictionary, count as one network.

    Raises
    ------
    ModelError
        If there is none, or its first layer is not one of a DenseNet for images.
    UsageError
        If there are several and none is named, or none has the name.
    """
    found = _backbones(states)
    if not found:
        flat = any(name.rsplit(".", 1)[-1] in ("flat_param", "_flat_param") for name in states.tensors)
        hint = " It has FSDP's flat parameters; save it again with a full state dictionary." if flat else ""
        kind = ModelError if flat else ModelUsageError
        raise kind(
            f"The checkpoint {file} contains no DenseNet: a state dictionary or module with {STEM} is expected, found "
            f"{describe(content)}.{hint}"
        )
    chosen = _only(file, found) if prefix is None else _named(file, found, prefix)
    stem = chosen.body[STEM]
    if stem.ndim != 4:
        raise ModelError(f"The checkpoint {file} does not fit: {STEM} must have 4 dimensions, found {stem.ndim}.")
    return chosen


def quoted(names: Iterable[str]) -> str:
    """List names from a file for a message: cut, and in a form that cannot steer a terminal."""
    listed = [f"'{shown(name)}'" for name in names]
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more


def resolve(asked: str, names: Sequence[str]) -> list[str]:
    """Return the names that a user can mean: the very same one, else those that end in it behind a dot."""
    return [asked] if asked in names else [name for name in names if name.endswith(f".{asked}")]


def _backbones(states: States) -> list[Backbone]:
    bodies = {}
    blocks = {name[: name.index("denseblock1.")] for name in states.tensors if "denseblock1." in name}
    for name in states.tensors:
        body = name.removesuffix(_STEM_END)
        if name.endswith(_STEM_END) and (body.endswith("features.") or body in blocks) and body[-1:] in ("", "."):
            last = body.rstrip(".").rsplit(".", 1)[-1]
            bodies[body] = body.removesuffix("features.") if last == "features" else body
    inside: dict[str, dict[str, torch.Tensor]] = {body: {} for body in bodies}
    beside: dict[str, dict[str, torch.Tensor]] = {prefix: {} for prefix in bodies.values()}
    free: list[str] = []
    for name, tensor in states.tensors.items():
        above = _above(name)
        within = next((place for place in above if place in inside), None)
        if within is not None:
            inside[within][_today(name.removeprefix(within))] = tensor
        else:
            prefix = next((place for place in above if place in beside), None)
            if prefix is None:
                free.append(name)
            else:
                beside[prefix][name] = tensor
    return [
        Backbone(
            prefix=prefix,
            root=states.roots[body + _STEM_END],
            body=inside[body],
            rest=beside[prefix],
            free=tuple(free),
        )
        for body, prefix in bodies.items()
    ]


def _above(name: str) -> list[str]:
    """Return every prefix of a name that ends in a dot, the longest first, and the empty one last."""
    places = [i for i, letter in enumerate(name) if letter == "."]
    return [*(name[: i + 1] for i in reversed(places)), ""]


def _today(name: str) -> str:
    return "features." + _MONAI_KEY.sub(r"\1\2", _OLD_KEY.sub(r"\1\2", name))


def _only(file: Path, found: Sequence[Backbone]) -> Backbone:
    first, *others = found
    if len(found) <= _MAX_COMPARED:
        for backbone in found:
            _check_cost(file, backbone)
        if all(_same(first, other) for other in others):
            return first
    raise UsageError(
        f"The checkpoint {file} contains {len(found)} networks, with the prefixes {quoted(b.prefix for b in found)}. Choose one "
        f"with --prefix, such as --prefix '{shown(found[-1].prefix)}'."
    )


def _same(one: Backbone, other: Backbone) -> bool:
    mine, theirs = _relative(one), _relative(other)
    return mine.keys() == theirs.keys() and all(
        mine[name].dtype == theirs[name].dtype and torch.equal(mine[name], theirs[name]) for name in mine
    )


def _relative(backbone: Backbone) -> dict[str, torch.Tensor]:
    rest = {name.removeprefix(backbone.prefix): value for name, value in backbone.rest.items()}
    return {**backbone.body, **rest}


def _named(file: Path, found: Sequence[Backbone], prefix: str) -> Backbone:
    asked = prefix if prefix.endswith(".") or not prefix else f"{prefix}."
    prefixes = [backbone.prefix for backbone in found]
    # A key of the file is enough where one network alone lies below it.
    meant = resolve(asked, prefixes) or [p for p in prefixes if asked and p.startswith(asked)]
    if len(meant) == 1:
        chosen = next(backbone for backbone in found if backbone.prefix == meant[0])
        _check_cost(file, chosen)
        return chosen
    raise UsageError(
        f"The checkpoint {file} has {'several networks' if meant else 'no network'} with the prefix '{shown(prefix)}'. Its networks "
        f"have the prefixes {quoted(meant or [b.prefix for b in found])}; name one of them in full."
    )


def _check_cost(file: Path, backbone: Backbone) -> None:
    """Refuse what would grow when it is copied: the tensors of a network have about as many bytes as the file."""
    tensors = {**backbone.body, **backbone.rest}
    n_bytes, allowed = sum(value.nbytes for value in tensors.values()), 2 * file.stat().st_size
    if n_bytes > allowed:
        raise ModelError(
            f"The checkpoint {file} is refused: a network in it names {len(tensors)} tensors with {n_bytes} bytes. At most {allowed} "
            "bytes (twice the file) are read."
        )
    odd = next((name for name, value in tensors.items() if value.is_complex()), None)
    if odd is not None:
        raise ModelError(f"The checkpoint {file} is refused: its tensor {shown(odd)} has complex numbers.")
