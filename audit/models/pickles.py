"""A machine for pickles that can build plain values, tensors and inert shells, and nothing else.

Python's own unpickler imports what a pickle names and calls it. This one never imports, never looks up an attribute and
calls only the builders of its own table: an instruction or a name that is not listed is refused. What a pickle may cost is
bounded as well: instructions, the length of numbers, keys whose hashes a file could choose.
"""

from __future__ import annotations

import io
import pickletools
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch

from audit.models.foreign import RefusedError
from audit.models.pickle_names import CONTAINERS, Mention, Shell, find_name

MAX_STEPS = 1_000_000
"""Instructions, and items copied by them; a whole DenseNet-201 takes 120,000."""
_MAX_INTEGER_BITS = 128
# The hashes of numbers are known beforehand, so a file can choose keys that all collide: a few are cheap, millions are not.
_MAX_CHOSEN_HASHES = 20_000
_MAX_KEY_ITEMS = 16


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
    return _Machine(persistent, tuple(admit)).run(stream)


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
    def __init__(self, persistent: Persistent, admit: tuple[str, ...]) -> None:
        self._persistent = persistent
        self._admit = admit
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._steps = 0
        self._chosen = 0

    def run(self, stream: io.BytesIO) -> Any:
        # genops checks every length against what is left of the stream, and stops behind STOP.
        try:
            with warnings.catch_warnings():
                # Of a string with an escape that Python does not know it would warn, and print the string.
                warnings.simplefilter("error")
                for opcode, argument, _ in _instructions(stream):
                    self._spend(1)
                    if opcode == "STOP":
                        return self._stack.pop()
                    self._step(opcode, argument)
        except (IndexError, KeyError, TypeError, ValueError, OverflowError, Warning) as error:
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
            stack.append(find_name(module, name, self._admit))
        elif opcode == "STACK_GLOBAL":
            name, module = stack.pop(), stack.pop()
            stack.append(find_name(module, name, self._admit))
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

    def _call(self, called: object, arguments: object) -> Any:
        if not isinstance(called, Mention) or type(arguments) is not tuple or called.dtype is not None:
            raise RefusedError("it calls something that is not allowed")
        if called.build is None:
            return Shell(kind=called.kind)
        # Builders may copy their argument, and a tensor costs more than its instruction.
        first = arguments[0] if arguments else None
        self._spend(8 + (len(first) if isinstance(first, (dict, list, tuple, set)) else 0))
        made = called.build(arguments)
        if called.kind not in CONTAINERS:
            return made
        for item in made:
            self._key(item[0] if called.kind == "collections.OrderedDict" else item)
        return CONTAINERS[called.kind](made)

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
