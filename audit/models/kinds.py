"""Kinds of models that can be opened, and which kind a model is; other packages add theirs under the entry point `audit.models`."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from torch import nn

from audit.errors import ModelUsageError, UnknownNameError, UsageError
from audit.models.networks import ARCHITECTURES, library_networks
from audit.models.references import is_reference
from audit.models.requests import ModelRequest, OpenedModel
from audit.registry import Registry

Opener = Callable[[ModelRequest], OpenedModel]

KINDS: Registry[Opener] = Registry("kind of model", "audit.models")
"""How each kind of model is opened."""

# Each is imported when it is asked for: they load libraries that other audits do not need.
_OPENERS: Mapping[str, str] = MappingProxyType(
    {
        "torch": "audit.models.factories:open_factory",
        "callable": "audit.models.callables:open_callable",
        "onnx": "audit.models.onnx_models:open_onnx",
        "pt2": "audit.models.exported:open_exported",
        "torchscript": "audit.models.exported:open_script",
        "torchvision": "audit.models.libraries:open_torchvision",
        "timm": "audit.models.libraries:open_timm",
        "torchxrayvision": "audit.models.libraries:open_torchxrayvision",
        "monai": "audit.models.libraries:open_monai",
        "hf": "audit.models.huggingface:open_huggingface",
    }
)
NEEDS_TRUST = frozenset({"torch", "callable", "pt2", "torchscript"})
"""Kinds that run code which is named by, or lies in, what they open."""
_SUFFIXES: Mapping[str, str] = MappingProxyType({".onnx": "onnx", ".pt2": "pt2", ".torchscript": "torchscript"})
_WEIGHTS = (".pt", ".pth", ".ckpt", ".safetensors", ".bin", ".tar", ".h5", ".keras")


def _lazily(place: str) -> Opener:
    def opened(request: ModelRequest) -> OpenedModel:
        module, _, name = place.partition(":")
        opener: Opener = getattr(import_module(module), name)
        return opener(request)

    return opened


for _name, _place in _OPENERS.items():
    KINDS.register(_name)(_lazily(_place))


def open_directly(request: ModelRequest) -> OpenedModel:
    """Open a model that is no bundle, by its kind.

    Raises
    ------
    AuditError
        If the kind is unknown, or the model cannot be used; the message says what to do.
    """
    return KINDS[request.base](request)


def with_kind(request: ModelRequest) -> ModelRequest:
    """Return a request with the kind of its model; without one if it is a bundle.

    `--as` takes a kind, a kind with an architecture (`timm:NAME`), an architecture of torchvision alone, or a reference to a
    function that builds the network.

    Raises
    ------
    UsageError
        If the model is a file of weights alone, whose network nobody names.
    """
    asked = request.kind
    if is_reference(asked) and asked.partition(":")[0] not in KINDS.names():
        return replace(request, kind=f"torch:{asked}", checkpoint=request.checkpoint or request.model)
    if asked in ARCHITECTURES or asked in library_networks():
        return replace(request, kind=f"torchvision:{asked}")
    if asked:
        if request.base not in KINDS.names():
            raise UnknownNameError(
                "kind of model or network", asked, [*KINDS.names(), *ARCHITECTURES, *library_networks()]
            )
        return request
    if request.live is not None:
        return replace(request, kind="torch" if isinstance(request.live, nn.Module) else "callable")
    kind = _recognised(request.model)
    # With the function's name: a bundle keeps the kind, and has a model of another name.
    return replace(request, kind=f"torch:{request.model}" if kind == "torch" else kind)


def _recognised(model: str) -> str:
    """Return the kind that a model shows; empty for a bundle, or what can only be one."""
    path = Path(model)
    if is_reference(model) and not path.exists():
        return "torch"
    if path.is_dir():
        is_folder = (path / "config.json").is_file() and not (path / "model.json").is_file()
        return "hf" if is_folder else ""
    suffix = path.suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if path.is_file() and _is_script(path):
        return "torchscript"
    if suffix in _WEIGHTS and path.is_file():
        raise UsageError(
            f"{model} holds weights, but not the network that they belong to. Name it: --as package.module:function, --as "
            "timm:NAME, --as torchvision:NAME, --as torchxrayvision:NAME or --as monai:NAME."
        )
    return ""


def _is_script(path: Path) -> bool:
    """Say whether a file is a TorchScript program, by the names in its zip alone."""
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()[:1000]
    except (zipfile.BadZipFile, OSError, ValueError):
        return False
    return any(name.endswith("/constants.pkl") or "/code/" in name for name in names)


def check_trust(kind: str, function: str, trust: bool, what: str) -> None:
    """Refuse a bundle that would run code, unless its user trusts it.

    Raises
    ------
    ModelError
        If it names code, and `trust` is not given.
    """
    base, _, detail = kind.partition(":")
    code = [name for name in (detail if base == "torch" else "", function) if name]
    if trust or (base not in NEEDS_TRUST and not function):
        return
    named = f"runs {' and '.join(code)} on this machine" if code else f"holds a program of the kind {base}"
    raise ModelUsageError(f"The bundle {what} {named}. If you trust its author, repeat the command with --trust.")
