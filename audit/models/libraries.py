"""Networks of libraries, by name: torchvision, timm, torchxrayvision and MONAI; weights come from a file.

Nothing is downloaded, and no code of a file runs: checkpoints are read as weights alone. The input is what the library's own
configuration says, under what the user declares.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast, get_args

import torch
from torch import nn

from audit.data.input_choices import Interpolation
from audit.errors import ModelError, ModelUsageError, UnknownNameError, UsageError
from audit.models.factories import load_weights, open_module
from audit.models.foreign import shown
from audit.models.networks import ARCHITECTURES, build_network, library_networks
from audit.models.outputs import task_of_names
from audit.models.preprocessing import Preprocessing
from audit.models.requests import ModelRequest, OpenedModel, class_names
from audit.models.states import collect_states, operating_thresholds
from audit.models.unpickling import read_checkpoint
from audit.store.numbers import counted

Build = Callable[[int, int], nn.Module]
"""Channels and outputs -> a network."""
_UNCOUNTED = "num_batches_tracked"
_LISTS: Mapping[str, str] = {
    "timm": "List them with `python -c \"import timm; print(*timm.list_models(), sep='\\n')\"`.",
    "torchvision": "List them with `python -c \"import torchvision; print(*torchvision.models.list_models(), sep='\\n')\"`.",
}
"""Library -> how its names are listed, where they are too many for a message."""


def needed(package: str, extra: str) -> Any:
    """Import a package that not everybody has.

    Raises
    ------
    UsageError
        If it is not installed.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"This model needs the package {package}, which is not installed. Install it with `pip install 'imageaudit[{extra}]'`."
        ) from error


def open_torchvision(request: ModelRequest) -> OpenedModel:
    """Open weights of one of torchvision's networks."""
    import torchvision

    name = _named(request, [*ARCHITECTURES, *library_networks()])

    def build(channels: int, n: int) -> nn.Module:
        if channels != 3:
            raise ModelUsageError(
                f"torchvision's networks read 3 channels, but --channels {channels} was given. Omit --channels."
            )
        return build_network(name, n)

    told = None
    if name in library_networks():
        usual = torchvision.models.get_model_weights(name)
        preset = next(iter(usual)).transforms()
        told = Preprocessing(
            size_px=(preset.crop_size[0],) * 2,
            mean=tuple(preset.mean),
            std=tuple(preset.std),
            fit="shorter-side",
            shorter_px=preset.resize_size[0],
            interpolation=cast(Interpolation, preset.interpolation.value),
            colour="rgb",
        )
    return _opened(request, build, told, f"torchvision {name}", "torchvision", possible=(3,))


def open_timm(request: ModelRequest) -> OpenedModel:
    """Open weights of one of timm's networks."""
    timm = needed("timm", "timm")
    name = _named(request, timm.list_models())
    size = request.declared.input_px or (request.settled.input_px if request.settled is not None else ())

    def build(channels: int, n: int) -> nn.Module:
        made: nn.Module
        if size:
            try:  # transformers are built for one size, convolutions take any
                made = timm.create_model(
                    name, pretrained=False, num_classes=n, in_chans=channels, img_size=(size[0], size[-1])
                )
            except TypeError:
                pass
            else:
                return made
        made = timm.create_model(name, pretrained=False, num_classes=n, in_chans=channels)
        return made

    config = timm.data.resolve_data_config({}, model=build(3, 2))
    height, width = (size[0], size[-1]) if size else config["input_size"][1:]
    interpolation = config["interpolation"] if config["interpolation"] in get_args(Interpolation) else "bilinear"
    squashed = config.get("crop_mode") == "squash" or height != width
    told = Preprocessing(
        size_px=(height, width),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        fit="squash" if squashed else "shorter-side",
        shorter_px=None if squashed else math.floor(height / config["crop_pct"]),
        interpolation=cast(Interpolation, interpolation),
        colour="rgb" if len(config["mean"]) == 3 else "grey",
    )
    return _opened(request, build, told, f"timm {name}", "timm")


def open_torchxrayvision(request: ModelRequest) -> OpenedModel:
    """Open weights of one of torchxrayvision's DenseNets."""
    models = needed("torchxrayvision", "torchxrayvision").models
    name = _named(request, ["densenet121", "densenet169", "densenet201", "densenet161"])

    def build(channels: int, n: int) -> nn.Module:
        made: nn.Module = models.DenseNet(num_classes=n, in_channels=channels, **models.get_densenet_params(name))
        return made

    told = Preprocessing(size_px=(224, 224), mean=(0.0,), std=(1.0,), value_range=(-1024.0, 1024.0), fit="shorter-side")
    return _opened(request, build, told, f"torchxrayvision {name}", "torchxrayvision")


def open_monai(request: ModelRequest) -> OpenedModel:
    """Open weights of one of MONAI's classifiers for images of two dimensions."""
    nets = needed("monai.networks.nets", "monai")
    fitting = {}
    for name, kind in vars(nets).items():
        if inspect.isclass(kind) and issubclass(kind, nn.Module):
            known = inspect.signature(kind).parameters
            outputs = next((o for o in ("out_channels", "num_classes") if o in known), None)
            if outputs is not None and {"spatial_dims", "in_channels"} <= set(known):
                fitting[name] = kind, outputs
    name = _named(request, fitting)
    kind, outputs = fitting[name]

    def build(channels: int, n: int) -> nn.Module:
        made: nn.Module = kind(**{"spatial_dims": 2, "in_channels": channels, outputs: n})
        return made

    return _opened(request, build, None, f"MONAI {name}", "")


def _opened(
    request: ModelRequest,
    build: Build,
    told: Preprocessing | None,
    architecture: str,
    library: str,
    *,
    possible: tuple[int, ...] = (1, 3),
) -> OpenedModel:
    """Build the network that the weights fit, give it the weights, and open it; `possible` are numbers of channels to try."""
    names = class_names(request)
    file = Path(request.weights or request.model)
    tensors = {} if request.weights else collect_states(file, read_checkpoint(file)).tensors
    points = request.operating_points or operating_thresholds(tensors, len(names))
    if request.task == "multi-label" or (request.task is None and task_of_names(names) == "multi-label"):
        request = replace(request, operating_points=points)
    channels = request.declared.channels or (request.settled.channels if request.settled is not None else 0)
    tried = [channels] if channels else [told.channels if told is not None else 3, *possible]
    counts = [len(names), 1] if len(names) == 2 else [len(names)]
    first = ""
    for n in counts:
        for c in dict.fromkeys(tried):
            network = build(c, n)
            try:
                if request.weights:
                    load_weights(network, request)
                else:
                    network.load_state_dict(_chosen(file, tensors, network))
            except (ModelError, RuntimeError) as error:
                first = first or f"{error} {_option_that_decides(tensors, network, (c, n))}".strip()
                continue
            said = told if told is None or told.channels == c else None
            opened = open_module(request, network, told=said, architecture=architecture)
            by = (
                ()
                if said is None or request.settled is not None
                else (f"preprocessing of {library}'s own weights, where not declared",)
            )
            return replace(opened, assumed=(*opened.assumed, *by))
    kind = ModelError if request.weights else ModelUsageError
    raise kind(f"The weights {file} do not fit {architecture} with {len(names)} classes: {first}")


def _option_that_decides(tensors: Mapping[str, torch.Tensor], network: nn.Module, tried: tuple[int, int]) -> str:
    """Return which option decides the shape of the first tensor that does not fit, in a sentence.

    Parameters
    ----------
    tensors : mapping
        What the file holds.
    network : nn.Module
        What was built for it.
    tried : tuple of (channels, outputs)
        For which it was built.
    """
    channels, outputs = tried
    own = network.state_dict()
    found = {
        key: next((v for name, v in tensors.items() if name == key or name.endswith(f".{key}")), None) for key in own
    }
    wrong = {
        key: (tuple(v.shape), tuple(own[key].shape))
        for key, v in found.items()
        if v is not None and v.shape != own[key].shape
    }
    lacking = sum(v is None for key, v in found.items() if not key.endswith(_UNCOUNTED))
    if lacking > len(own) // 10:
        return "Name the network that the weights belong to with --as."
    for theirs, ours in wrong.values():
        if len(theirs) == len(ours) == 4 and theirs[1] != ours[1] and ours[1] == channels and theirs[1] in (1, 3):
            return f"The file's network reads {counted(theirs[1], 'channel')}: declare --channels {theirs[1]}."
    if any("pos_embed" in key or "position" in key for key in wrong):
        return "The size of the input decides this shape: declare the size that the network was trained for with --input-px."
    heads = [theirs[0] for theirs, ours in wrong.values() if theirs[1:] == ours[1:] and ours[:1] == (outputs,)]
    if heads and len(heads) == len(wrong):
        n = counted(heads[0], "output")
        return f"The file's network has {n}: name as many classes with --classes, one per output in order."
    return "Name the network that the weights belong to with --as." if wrong or lacking else ""


def _chosen(file: Path, tensors: Mapping[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights of a network out of a file, under whatever prefix they lie.

    Raises
    ------
    ModelError
        If they are not there, several are, or they are of another shape.
    """
    own = network.state_dict()
    counted = [key for key in own if not key.endswith(_UNCOUNTED)]
    anchor = max(counted, key=len)
    prefixes = [name[: -len(anchor)] for name in tensors if name == anchor or name.endswith(f".{anchor}")]
    whole = [p for p in prefixes if all(p + key in tensors for key in counted)]
    if not whole:
        best = min(prefixes, key=lambda p: sum(p + key not in tensors for key in counted), default="")
        lacking = [key for key in counted if best + key not in tensors]
        raise ModelError(
            f"{len(lacking)} of its {len(counted)} tensors are not in the file, first {shown(lacking[0])}."
        )
    if len(whole) > 1:
        raise ModelError(
            f"the file holds {len(whole)} such networks, under {', '.join(map(shown, whole[:4]))}. Save the right one alone."
        )
    found = {key: tensors[whole[0] + key] for key in counted}
    wrong = next((key for key in counted if found[key].shape != own[key].shape), None)
    if wrong is not None:
        raise ModelError(
            f"{shown(wrong)} has the shape {tuple(found[wrong].shape)} in the file, but {tuple(own[wrong].shape)} in the network."
        )
    rest = {key: tensors.get(whole[0] + key, value) for key, value in own.items() if key not in found}
    return {**found, **rest}


def _named(request: ModelRequest, known: Any) -> str:
    if request.detail not in known:
        raise UnknownNameError(f"network of {request.base}", request.detail, known, _LISTS.get(request.base, ""))
    return request.detail
