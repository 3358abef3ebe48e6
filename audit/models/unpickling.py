"""A reader of foreign checkpoints that never runs code from the file.

A pickle may name any function and have it called. Here every name is looked up in a short list: what torch needs to
rebuild tensors is admitted, classes of networks become inert shells that only keep their attributes, and everything else
is refused by name. So a whole pickled module of any torchvision version can be read, in the formats before and since
torch 1.6, although its classes have long changed.
"""

from __future__ import annotations

import collections
import pickle
import types
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
import torch._utils

from audit.errors import ModelError


class Shell:
    """What stands for an object of a class that is not loaded: its attributes, and no behaviour."""

    def __new__(cls, *_: object, **__: object) -> Shell:
        """Make an empty shell, whatever its class would have been given."""
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        """Keep the attributes."""
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, dict):
                self.__dict__.update(part)


_REBUILD = {
    name: getattr(torch._utils, name)
    for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_parameter_with_state")
}
_PLAIN = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
}
# What networks are made of, and the numbers that training scripts store beside them: all become shells.
_SHELLED_PACKAGES = ("torch.nn", "torchvision", "torchxrayvision", "__main__")
_SHELLED_NAMES = frozenset(
    {
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("_codecs", "encode"),
    }
)


class _RefusedError(Exception):
    """A name that is not on the list."""


def read_checkpoint(path: Path, *, admit: Collection[str] = ()) -> Any:
    """Read a checkpoint: tensors are real, objects of classes are shells, nothing is run.

    Parameters
    ----------
    path : Path
        safetensors, or what `torch.save` wrote: a state dictionary or a whole module, zip format or older.
    admit : collection of str
        Packages whose classes may become shells too, such as the module in which a network was defined.

    Returns
    -------
    Any
        Mappings, tensors, plain values and `Shell` objects.

    Raises
    ------
    ModelError
        If the file cannot be read, or names something that is not admitted.
    """
    if not path.is_file():
        raise ModelError(f"The checkpoint {path} does not exist or is no file.")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_pickle_module(admit))
    except _RefusedError as refused:
        raise ModelError(
            f"The checkpoint {path} is refused: it names {refused}, which rebuilding a network does not need and which "
            "could run code. If that is a class of the network's own code, admit it with --admit and its package; it then "
            "becomes a shell without behaviour. Otherwise do not trust the file."
        ) from None
    except (safetensors.SafetensorError, zipfile.BadZipFile) as error:
        raise ModelError(f"The checkpoint {path} is damaged: {error}.") from error
    # A damaged pickle makes its reader raise nearly anything: EOFError, KeyError, IndexError, RuntimeError.
    except Exception as error:
        raise ModelError(
            f"The checkpoint {path} cannot be read ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            "). A file written by torch.save or a .safetensors file is expected."
        ) from error


def _pickle_module(admit: Collection[str]) -> types.ModuleType:
    """Return what torch.load takes for the module pickle, with the list in place of an import."""
    packages = (*_SHELLED_PACKAGES, *admit)

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if module == "torch._utils" and name in _REBUILD:
                return _REBUILD[name]
            if (module, name) in _PLAIN:
                return _PLAIN[module, name]
            if module in ("torch", "torch.cuda") and name.endswith("Storage") and name.isidentifier():
                return getattr(torch, name)
            if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
                return getattr(torch, name)
            inside = any(module == package or module.startswith(f"{package}.") for package in packages)
            if inside or (module, name) in _SHELLED_NAMES:
                return type(name, (Shell,), {"__module__": module})
            raise _RefusedError(f"{module.replace('__builtin__', 'builtins')}.{name}")

    def load(file: Any, **options: Any) -> Any:
        return Unpickler(file, **options).load()

    restricted = types.ModuleType("restricted_pickle")
    restricted.__dict__.update(Unpickler=Unpickler, load=load)
    return restricted
