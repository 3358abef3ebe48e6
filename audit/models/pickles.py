"""A machine for pickles that can build plain values, tensors and inert shells, and nothing else.

Python's own unpickler imports what a pickle names and calls it. This one never imports, never looks up an attribute and
calls only the builders of its own table: an instruction or a name that is not listed is refused. What a pickle may cost is
bounded as well: instructions, the length of numbers, keys whose hashes a file could choose.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch

from audit.models.foreign import RefusedError, shown

MAX_STEPS = 1_000_000
"""Instructions, and items copied by them; a whole DenseNet-201 takes 120,000."""
_MAX_INTEGER_BITS = 128
# The hashes of numbers are known beforehand, so a file can choose keys that all collide: a few are cheap, millions are not.
_MAX_CHOSEN_HASHES = 20_000
_MAX_KEY_ITEMS = 16
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


Persistent = Callable[[Any], Any]
"""What a reader of a file format makes of a reference that leaves the pickle."""


def run_pickle(stream: io.BytesIO, *, persistent: Persistent, admit: Collection[str] = ()) -> Any:
    """Build the value of the pickle that begins at the stream's position, and leave the stream behind it.

    Parameters
    ----------
    stream : io.BytesIO
        Bounded by whoever filled it.
    persistent : callable
        Gets each reference that leaves the pickle, and returns a `Storage`, a value, or raises `RefusedError`.
    admit : collection of str
        Packages whose classes become shells, beside those that networks are made of.

    Raises
    ------
    RefusedError
        If the pickle names what is not on the list, uses an instruction that is not, costs too much, or is damaged.
    """
    return _Machine(persistent, (*_SHELLED_PACKAGES, *admit)).run(stream)


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
# Containers are only filled once their keys were looked at.
_CONTAINERS: Mapping[str, Callable[[Collection[Any]], Any]] = MappingProxyType(
    {"collections.OrderedDict": dict, "builtins.set": set, "builtins.frozenset": frozenset}
)
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
_PUSHED = frozenset(
    {
        "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
        "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    }
)  # fmt: skip
_CONSTANTS: Mapping[str, object] = MappingProxyType({"NONE": None, "NEWTRUE": True, "NEWFALSE": False})
_EMPTY: Mapping[str, Callable[[], object]] = MappingProxyType(
    {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": set, "EMPTY_TUPLE": tuple}
)
_TUPLES: Mapping[str, int] = MappingProxyType({"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3})


class _Machine:
    def __init__(self, persistent: Persistent, packages: tuple[str, ...]) -> None:
        self._persistent = persistent
        self._packages = packages
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._steps = 0
        self._chosen = 0

    def run(self, stream: io.BytesIO) -> Any:
        # genops checks every length against what is left of the stream, and stops behind STOP.
        try:
            for opcode, argument, _ in _instructions(stream):
                self._spend(1)
                if opcode == "STOP":
                    return self._stack.pop()
                self._step(opcode, argument)
        except (IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise RefusedError(f"its pickle is damaged near byte {stream.tell()} ({type(error).__name__})") from error
        raise RefusedError("its pickle has no end")

    def _step(self, opcode: str, argument: Any) -> None:
        stack = self._stack
        if opcode in _PUSHED:
            if type(argument) is int and argument.bit_length() > _MAX_INTEGER_BITS:
                raise RefusedError(f"it contains a number of {argument.bit_length()} bits")
            stack.append(argument)
        elif opcode in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif opcode in ("BINPUT", "LONG_BINPUT"):
            if argument > self._steps:  # numbered one by one; others could be chosen to collide
                raise RefusedError(f"its pickle stores a value under the number {argument}")
            self._memo[argument] = stack[-1]
        elif opcode == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode])
        elif opcode in _EMPTY:
            stack.append(_EMPTY[opcode]())
        elif opcode == "MARK":
            self._below.append(stack)
            self._stack = []
        elif opcode in _TUPLES:
            n = _TUPLES[opcode]
            if len(stack) < n:
                raise IndexError(opcode)
            stack[-n:] = [tuple(stack[-n:])]
        elif opcode == "TUPLE":
            items = self._marked()
            self._stack.append(tuple(items))
        elif opcode == "FROZENSET":
            items = self._marked()
            self._stack.append(frozenset(self._key(item) for item in items))
        elif opcode == "BINPERSID":
            stack.append(self._persistent(stack.pop()))
        elif opcode == "GLOBAL":
            module, _, name = argument.partition(" ")
            stack.append(self._find(module, name))
        elif opcode == "STACK_GLOBAL":
            name, module = stack.pop(), stack.pop()
            stack.append(self._find(module, name))
        elif opcode in ("REDUCE", "NEWOBJ"):
            arguments, called = stack.pop(), stack.pop()
            stack.append(self._call(called, arguments))
        elif opcode == "NEWOBJ_EX":
            _, arguments, called = stack.pop(), stack.pop(), stack.pop()
            stack.append(self._call(called, arguments))
        elif opcode == "BUILD":
            state = stack.pop()
            self._build(stack[-1], state)
        elif opcode in ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS"):
            self._fill(opcode)
        elif opcode == "POP":
            # A mark on top of the stack is what POP takes away then.
            if stack:
                stack.pop()
            else:
                self._marked()
        elif opcode == "POP_MARK":
            self._marked()
        elif opcode not in ("PROTO", "FRAME"):
            raise RefusedError(f"its pickle uses the instruction {opcode}, which torch.save does not write")

    def _fill(self, opcode: str) -> None:
        if opcode in ("APPEND", "SETITEM"):
            n = 1 if opcode == "APPEND" else 2
            if len(self._stack) <= n:
                raise IndexError(opcode)
            items = self._stack[-n:]
            del self._stack[-n:]
        else:
            items = self._marked()
        target = self._stack[-1]
        # A shell of a class that is a list or a set as well keeps its attributes alone.
        if isinstance(target, Shell):
            if opcode.startswith("SETITEM"):
                pairs = zip(map(self._key, items[::2]), items[1::2], strict=True)
                target.items.update({key: value for key, value in pairs if isinstance(key, str)})
            return
        if opcode.startswith("APPEND"):
            if type(target) is not list:
                raise TypeError(opcode)
            target.extend(items)
        elif opcode == "ADDITEMS":
            if type(target) is not set:
                raise TypeError(opcode)
            target.update(self._key(item) for item in items)
        else:
            if type(target) is not dict:
                raise TypeError(opcode)
            target.update(zip(map(self._key, items[::2]), items[1::2], strict=True))

    def _marked(self) -> list[Any]:
        items = self._stack
        self._stack = self._below.pop()
        return items

    def _find(self, module: object, name: object) -> Any:
        if not isinstance(module, str) or not isinstance(name, str):
            raise RefusedError("it names something by a value that is not a name")
        # What Python 2 called __builtin__ is what protocol 2 still writes.
        kind = f"{module.replace('__builtin__', 'builtins')}.{name}"
        if kind in _BUILDERS or kind in _CONTAINERS:
            return Mention(
                kind=kind, build=_BUILDERS.get(kind, _pairs if kind == "collections.OrderedDict" else _items)
            )
        if kind in _STORAGES:
            return Mention(kind=kind, dtype=_STORAGES[kind])
        if kind in _DTYPES:
            return _DTYPES[kind]
        inside = any(module == package or module.startswith(f"{package}.") for package in self._packages)
        if inside or kind in _SHELLED_NAMES:
            return Mention(kind=kind)
        raise RefusedError(
            f"it names {shown(kind)}, which rebuilding a network does not need and which could run code. If this is a class "
            "of the network's own code, admit its package with --admit; the class then becomes a shell without behaviour. "
            "Otherwise do not trust the file"
        )

    def _call(self, called: object, arguments: object) -> Any:
        if not isinstance(called, Mention) or type(arguments) is not tuple or called.dtype is not None:
            raise RefusedError("it calls something that is not allowed")
        if called.build is None:
            return Shell(kind=called.kind)
        # Builders may copy their argument, and a tensor costs more than its instruction.
        first = arguments[0] if arguments else None
        self._spend(8 + (len(first) if isinstance(first, (dict, list, tuple, set)) else 0))
        made = called.build(arguments)
        if called.kind not in _CONTAINERS:
            return made
        for item in made:
            self._key(item[0] if called.kind == "collections.OrderedDict" else item)
        return _CONTAINERS[called.kind](made)

    def _build(self, target: object, state: object) -> None:
        """Keep the attributes of a shell; those of dictionaries and tensors hold nothing that is needed."""
        if not isinstance(target, Shell):
            return
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self._spend(len(part))
                target.attributes.update({key: value for key, value in part.items() if isinstance(key, str)})

    def _key(self, value: Any) -> Any:
        """Return a key of a dictionary or set, if comparing and hashing it is cheap."""
        if isinstance(value, tuple):
            if len(value) > _MAX_KEY_ITEMS or any(isinstance(item, tuple) for item in value):
                raise RefusedError("it uses a nested tuple as a key")
            for item in value:
                self._key(item)
        elif isinstance(value, (int, float)):
            self._chosen += 1
            if self._chosen > _MAX_CHOSEN_HASHES:
                raise RefusedError(f"it uses more than {_MAX_CHOSEN_HASHES} numbers as keys")
        elif value is not None and not isinstance(value, (str, bytes, Shell, Mention, torch.dtype)):
            raise RefusedError(f"it uses a {type(value).__name__} as a key")
        return value

    def _spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise RefusedError(f"its pickle takes more than {MAX_STEPS} steps, far more than a network needs")


def _instructions(stream: io.BytesIO) -> Iterator[tuple[str, Any, int | None]]:
    for opcode, argument, position in pickletools.genops(stream):
        yield opcode.name, argument, position
