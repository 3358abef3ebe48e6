"""What a name in a pickle stands for: a plain container, the parts of a tensor, an inert shell, or a reason to refuse the file.

No name is ever imported or looked up. A class that is not listed can be admitted by its package; what it becomes is a shell then, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch

from audit.models.foreign import RefusedError, shown

_MAX_DIMENSIONS = 16
# Beyond this torch's own arithmetic of strides may overflow.
_MAX_EXTENT = 2**48


@dataclass(kw_only=True, eq=False)
class Shell:
    """What stands for an object of a class that is not loaded: its attributes, and no behaviour."""

    kind: str
    """Module and name of the class."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """What the pickle says of the object."""
    items: dict[str, Any] = field(default_factory=dict)
    """Of a class that is a dictionary as well: what it holds under text."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mention:
    """A name in a pickle that was found on the list; never the thing itself."""

    kind: str
    """Module and name."""
    build: Callable[[tuple[Any, ...]], Any] | None = None
    """What a call of it makes of its arguments; None for a shell."""
    dtype: torch.dtype | None = None
    """For a kind of storage: the type of its elements."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Storage:
    """The numbers behind one or more tensors."""

    elements: torch.Tensor
    """One-dimensional (n), on the CPU or without values (meta)."""


def as_tensor(storage: object, offset: object, size: object, stride: object) -> torch.Tensor:
    """Return the tensor that lies at an offset of a storage; every element of it exists there.

    Raises
    ------
    RefusedError
        If it reaches beyond its storage or names more elements than that holds.
    """
    if not isinstance(storage, Storage) or not isinstance(size, (tuple, list)) or not isinstance(stride, (tuple, list)):
        raise RefusedError("it rebuilds a tensor from something that is not a storage with size and stride")
    if len(size) != len(stride) or len(size) > _MAX_DIMENSIONS:
        raise RefusedError(f"it contains a tensor with {len(size)} sizes and {len(stride)} strides")
    sizes = [_count(value) for value in size]
    strides = [_count(value) for value in stride]
    begin, available = _count(offset), storage.elements.numel()
    n = math.prod(sizes)
    last = begin + sum((extent - 1) * step for extent, step in zip(sizes, strides, strict=True)) if n else begin - 1
    if n > available or last >= available or math.prod(max(v, 1) for v in (*sizes, *strides)) > _MAX_EXTENT:
        raise RefusedError(f"it contains a tensor that exceeds its storage of {available} elements")
    # torch counts from the beginning of the memory, of which the elements may be a part.
    return torch.as_strided(storage.elements, sizes, strides, storage.elements.storage_offset() + begin)


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_EXTENT:
        raise RefusedError("it contains a tensor whose size, stride or offset is not a whole number in range")
    return value


def _rebuild(arguments: tuple[Any, ...]) -> torch.Tensor:
    storage, offset, size, stride, *_ = arguments
    return as_tensor(storage, offset, size, stride)


def _parameter(arguments: tuple[Any, ...]) -> torch.Tensor:
    if not arguments or not isinstance(arguments[0], torch.Tensor):
        raise RefusedError("it rebuilds a parameter from something that is not a tensor")
    return arguments[0]


def _pairs(arguments: tuple[Any, ...]) -> list[tuple[Any, Any]]:
    found = arguments[0] if arguments else ()
    return list(found.items()) if isinstance(found, dict) else [(key, value) for key, value in found]


def _items(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    found = arguments[0] if arguments else ()
    if not isinstance(found, (list, tuple, set)):
        raise RefusedError("it builds a set or a size from something that is not a list")
    return tuple(found)


_BUILDERS: Mapping[str, Callable[[tuple[Any, ...]], Any]] = MappingProxyType(
    {
        "torch._utils._rebuild_tensor": _rebuild,
        "torch._utils._rebuild_tensor_v2": _rebuild,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter,
        # Before torch 0.4 a parameter was an object around a tensor.
        "torch.nn.parameter.Parameter": _parameter,
        "torch.autograd.variable.Variable": _parameter,
        "torch.Size": _items,
    }
)
CONTAINERS: Mapping[str, Callable[[Collection[Any]], Any]] = MappingProxyType(
    {"collections.OrderedDict": dict, "builtins.set": set, "builtins.frozenset": frozenset}
)
"""What is only filled once its keys were looked at."""
_DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {f"torch.{name}": value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
)
_STORAGES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        f"{module}.{name}Storage": dtype
        for module in ("torch", "torch.cuda")
        for name, dtype in (
            ("Double", torch.float64), ("Float", torch.float32), ("Half", torch.float16), ("BFloat16", torch.bfloat16),
            ("Long", torch.int64), ("Int", torch.int32), ("Short", torch.int16), ("Char", torch.int8),
            ("Byte", torch.uint8), ("Bool", torch.bool), ("ComplexFloat", torch.complex64),
            ("ComplexDouble", torch.complex128),
        )
    }
)  # fmt: skip
# What networks are made of, and what training frameworks store beside them (settings, paths, counts, callbacks): all become
# shells. None of them is ever imported or called, so a name here can only make a file readable, never make it run.
_SHELLED_PACKAGES = (
    "torch.nn", "torchvision", "torchxrayvision", "timm", "monai.networks", "__main__",
    "pathlib", "omegaconf", "pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities", "yacs.config",
    "mmengine.config", "addict", "easydict", "munch", "box", "torch.optim", "numpy.dtypes",
)  # fmt: skip
_SHELLED_NAMES = frozenset(
    {
        "argparse.Namespace",
        "types.SimpleNamespace",
        "collections.Counter",
        "collections.defaultdict",
        "collections.deque",
        "datetime.datetime",
        "datetime.date",
        "datetime.timedelta",
        "uuid.UUID",
        # What a defaultdict makes of a missing key, and the types that settings state for their fields.
        "builtins.dict",
        "builtins.list",
        "builtins.tuple",
        "builtins.int",
        "builtins.float",
        "builtins.str",
        "builtins.bool",
        "typing.Any",
        "torch.torch_version.TorchVersion",
        "torch.device",
        "numpy.dtype",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
        "numpy.ndarray",
        "_codecs.encode",
    }
)


def find_name(module: object, name: object, admit: Sequence[str]) -> Mention | torch.dtype:
    """Return what a name stands for.

    Parameters
    ----------
    module, name : object
        As the pickle gives them.
    admit : sequence of str
        Packages whose classes become shells, besides those that networks are made of.

    Raises
    ------
    RefusedError
        If it is not on the list.
    """
    if not isinstance(module, str) or not isinstance(name, str):
        raise RefusedError("it names something by a value that is not a name")
    # What Python 2 called __builtin__ is what protocol 2 still writes.
    kind = f"{module.replace('__builtin__', 'builtins')}.{name}"
    if kind in _BUILDERS or kind in CONTAINERS:
        return Mention(kind=kind, build=_BUILDERS.get(kind, _pairs if kind == "collections.OrderedDict" else _items))
    if kind in _STORAGES:
        return Mention(kind=kind, dtype=_STORAGES[kind])
    if kind in _DTYPES:
        return _DTYPES[kind]
    packages = (*_SHELLED_PACKAGES, *admit)
    inside = any(module == package or module.startswith(f"{package}.") for package in packages)
    if inside or kind in _SHELLED_NAMES:
        return Mention(kind=kind)
    raise RefusedError(
        f"it names {shown(kind)}, which rebuilding a network does not need and which could run code. If this is a class "
        "of the network's own code, admit its package with --admit; the class then becomes a shell without behaviour. "
        "Otherwise do not trust the file"
    )
