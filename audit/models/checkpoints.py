"""Foreign checkpoints -> bundles: tensors are found, renamed as torchvision names them, and fitted to an architecture."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from audit.data.tasks import Task
from audit.errors import ModelError, UnknownNameError, UsageError
from audit.files import file_sha256
from audit.models import networks
from audit.models.bundle import MAX_CLASS_NAME, MAX_CLASSES, save_bundle
from audit.models.foreign import shown
from audit.models.preprocessing import Preprocessing
from audit.models.unpickling import Shell, read_checkpoint

CHEXNET = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
ORDERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        # Zech's and arnoweng's reproductions of CheXNet have the same order.
        "chexnet": CHEXNET,
        "chestxray15": (*CHEXNET, "No Finding"),
        "torchxrayvision": (
            "Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema", "Emphysema", "Fibrosis", "Effusion",
            "Pneumonia", "Pleural_Thickening", "Cardiomegaly", "Nodule", "Mass", "Hernia", "Lung Lesion", "Fracture",
            "Lung Opacity", "Enlarged Cardiomediastinum",
        ),
        # The order of the tables of Bassi & Attux (2021); their checkpoints do not say it.
        "paper": ("normal", "pneumonia", "covid"),
    }
)  # fmt: skip
_STEM = "features.conv0.weight"
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network")
# torchvision once named layers norm.1; since attributes cannot hold a dot they are norm1.
_OLD_KEY = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")
_BLOCK = re.compile(r"features\.denseblock(\d+)\.denselayer(\d+)\.")
_SIZES: Mapping[tuple[int, ...], str] = {
    (6, 12, 24, 16): "densenet121",
    (6, 12, 32, 32): "densenet169",
    (6, 12, 48, 32): "densenet201",
}
# What a file may cost beyond its own bytes: one tensor under many names, modules that hold each other.
_MAX_TENSORS = 20_000
_MAX_MODULES = 100_000
_MAX_NAME = 300
_MAX_WRAPPERS = 5
_MAX_HEAD_DEPTH = 5
# Their networks answer with a sigmoid for each finding, the paper's with a softmax over three classes.
_KNOWN_TASKS: Mapping[str, Task] = MappingProxyType(
    {"chexnet": "multi-label", "chestxray15": "multi-label", "torchxrayvision": "multi-label", "paper": "single-label"}
)
_ACTIVATIONS: Mapping[str, Task] = MappingProxyType(
    {
        "torch.nn.modules.activation.Sigmoid": "multi-label",
        "torch.nn.modules.activation.LogSigmoid": "multi-label",
        "torch.nn.modules.activation.Softmax": "single-label",
        "torch.nn.modules.activation.LogSoftmax": "single-label",
    }
)
# torchxrayvision's input: (2 x / 255 - 1) * 1024.
_ONE_CHANNEL_STD = 1 / 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What an import made."""

    folder: Path
    """The bundle."""
    classes: tuple[str, ...]
    """Class of each output (k)."""
    task: Task
    """What the outputs mean."""


def import_checkpoint(
    file: Path,
    architecture: str,
    out: Path,
    *,
    classes: Sequence[str] | None = None,
    task: Task | None = None,
    input_px: int = 224,
    admit: Collection[str] = (),
) -> Imported:
    """Convert a checkpoint to a bundle, once; the file is never needed again.

    Known: torchvision's state dictionaries, CheXNet by Zech (whole module) and by arnoweng (wrapped state dictionary),
    the authors' networks A to E (whole modules, heads of one or several linear layers), torchxrayvision's DenseNets (one
    input channel: spread over three, its input range becomes the bundle's preprocessing), plain state dictionaries.

    Parameters
    ----------
    file : Path
        The checkpoint.
    architecture : str
        A key of `audit.models.networks.ARCHITECTURES`.
    out : Path
        Folder of the bundle.
    classes : sequence of str, optional
        Class of each output, in order; where omitted, what the file itself says, else the usual order for that many
        outputs (3, 14, 15, 18). An empty name drops its output.
    task : {"single-label", "multi-label"}, optional
        What the outputs mean; where omitted, what is known of the file: a last layer of sigmoids or a softmax, the class
        orders of CheXNet and torchxrayvision, that of the paper.
    input_px : int
        Side of the square input, in pixels.
    admit : collection of str
        As in `read_checkpoint`.

    Returns
    -------
    Imported
        The bundle's folder, the classes of its outputs, and its task.

    Raises
    ------
    ModelError
        If the file is refused, damaged, or of another architecture.
    UnknownNameError, UsageError
        If the architecture is not known, classes and outputs do not match, or the task is not known or another one.
    """
    if architecture not in networks.ARCHITECTURES:
        raise UnknownNameError("architecture", architecture, networks.ARCHITECTURES)
    content = read_checkpoint(file, admit=admit)
    state, module = _find_state(file, content)
    _check_cost(file, state)
    body, weight, bias = _split_head(file, state)
    said = _said_classes(module)
    names = _class_names(classes, said, len(weight))
    meaning = _task(file, task, module, names)
    kept = [i for i, name in enumerate(names) if name]
    one_channel = body[_STEM].shape[1] == 1
    if one_channel:
        # Three equal channels through a third of the weights are one channel through the whole.
        body[_STEM] = body[_STEM].repeat(1, 3, 1, 1) / 3
    network = networks.build_network(architecture, len(kept))
    _load(file, architecture, network, {**body, "classifier.weight": weight[kept], "classifier.bias": bias[kept]})
    kept_names = tuple(names[i] for i in kept)
    size = (input_px, input_px)
    std = _ONE_CHANNEL_STD
    preprocessing = (
        Preprocessing(size_px=size, mean=(0.5, 0.5, 0.5), std=(std, std, std))
        if one_channel
        else Preprocessing(size_px=size)
    )
    save_bundle(
        out,
        network,
        name=out.name,
        architecture=architecture,
        classes=kept_names,
        task=meaning,
        preprocessing=preprocessing,
        provenance={
            "imported_from": file.name,
            "imported_sha256": file_sha256(file),
            "class_order": "as asked"
            if classes is not None
            else "as the file says"
            if said
            else "assumed from the count",
        },
        metrics={},
        splits={},
    )
    return Imported(folder=out, classes=kept_names, task=meaning)


def _find_state(file: Path, content: Any, depth: int = 0) -> tuple[dict[str, torch.Tensor], Shell | None]:
    """Return the tensors by name, and the module that held them; None for a state dictionary."""
    if isinstance(content, Shell):
        return dict(_tensors(file, content)), content
    if isinstance(content, Mapping):
        tensors = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, torch.Tensor)}
        if any(k.endswith(_STEM) for k in tensors):
            return {k: v.detach() for k, v in tensors.items()}, None
        for key in _WRAPPERS:
            if key in content and depth < _MAX_WRAPPERS:
                return _find_state(file, content[key], depth + 1)
    raise ModelError(
        f"The checkpoint {file} contains no DenseNet: a state dictionary or module with {_STEM} is expected, alone or under "
        f"{', '.join(_WRAPPERS)}; found {_describe(content)}."
    )


def _tensors(file: Path, module: Shell) -> Iterator[tuple[str, torch.Tensor]]:
    """Walk a pickled module as `state_dict` would; shared modules are met under each of their names."""
    waiting = [("", module)]
    met = 0
    while waiting:
        prefix, shell = waiting.pop()
        met += 1
        if met > _MAX_MODULES or len(prefix) > _MAX_NAME:
            raise ModelError(
                f"The checkpoint {file} is refused: its modules contain each other more than {_MAX_MODULES} times, or a name "
                f"of one is longer than {_MAX_NAME} characters."
            )
        for kind in ("_parameters", "_buffers"):
            for name, value in _children(shell, kind):
                if isinstance(value, torch.Tensor):
                    yield f"{prefix}{name}", value.detach()
        waiting += [(f"{prefix}{name}.", v) for name, v in _children(shell, "_modules")[::-1] if isinstance(v, Shell)]


def _children(shell: Shell, kind: str) -> list[tuple[str, Any]]:
    held = shell.attributes.get(kind)
    items = held.items() if isinstance(held, dict) else ()
    return [(name, value) for name, value in items if isinstance(name, str) and len(name) <= _MAX_NAME]


def _check_cost(file: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Refuse what would grow when it is copied: the tensors together have about as many bytes as the file."""
    n_bytes, allowed = sum(value.nbytes for value in state.values()), 2 * file.stat().st_size
    if len(state) > _MAX_TENSORS or any(len(key) > _MAX_NAME for key in state) or n_bytes > allowed:
        raise ModelError(
            f"The checkpoint {file} is refused: it names {len(state)} tensors with {n_bytes} bytes. At most {_MAX_TENSORS} "
            f"tensors with {allowed} bytes (twice the file), each with a name of at most {_MAX_NAME} characters, are read."
        )
    odd = next((key for key, value in state.items() if value.is_complex()), None)
    if odd is not None:
        raise ModelError(f"The checkpoint {file} is refused: its tensor {shown(odd)} has complex numbers.")


def _split_head(
    file: Path, state: Mapping[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Return the backbone in today's names, and the head's weights (k, f) and biases (k).

    Whatever comes before `features.` is dropped (module., densenet121., model., ...). A head may be one linear layer
    (Linear, or Sequential with an activation) or several that stand for one class or more each.
    """
    stem = next((k for k in state if k.endswith(_STEM)), None)
    if stem is None:
        raise ModelError(
            f"The checkpoint {file} contains a module without {_STEM}, so it is not a DenseNet of torchvision's form."
        )
    if state[stem].ndim != 4:
        raise ModelError(
            f"The checkpoint {file} does not fit: {_STEM} must have 4 dimensions, found {state[stem].ndim}."
        )
    prefix = stem[: -len(_STEM)]
    body, weights, biases = {}, [], []
    for key, value in state.items():
        name = _OLD_KEY.sub(r"\1\2", key.removeprefix(prefix))
        if name.startswith("features."):
            body[name] = value.clone()
        elif value.ndim == 2:
            weights.append((key, value))
            bias = state.get(key.removesuffix("weight") + "bias", torch.zeros(len(value)))
            if bias.shape != value.shape[:1]:
                raise ModelError(
                    f"The head of {file} does not fit: {shown(key)} has {len(value)} outputs, its bias the shape {tuple(bias.shape)}."
                )
            biases.append(bias)
    widths = {value.shape[1] for _, value in weights}
    if len(widths) != 1:
        found = ", ".join(f"{shown(key)} {tuple(value.shape)}" for key, value in weights[:6]) or "none"
        raise ModelError(f"The head of {file} must be one linear layer, or several side by side; found {found}.")
    return body, torch.cat([value for _, value in weights]).clone(), torch.cat(biases).clone()


def _said_classes(module: Shell | None) -> tuple[str, ...]:
    """Return the class names that a module holds, as torchxrayvision's do."""
    attributes = {} if module is None else module.attributes
    said = next((v for k in ("targets", "pathologies") if (v := attributes.get(k))), ())
    return tuple(said) if isinstance(said, (list, tuple)) and all(isinstance(v, str) for v in said) else ()


def _task(file: Path, asked: Task | None, module: Shell | None, names: tuple[str, ...]) -> Task:
    """Return what the outputs mean: what the last layer shows, else what the user says, else what the names show."""
    shown_by_layers = None if module is None else _task_of_head(module)
    if asked is not None and shown_by_layers is not None and asked != shown_by_layers:
        raise UsageError(
            f"The checkpoint {file} is {shown_by_layers} by its last layer, but --task {asked} was given. Omit --task."
        )
    shown_by_names = next((task for order, task in _KNOWN_TASKS.items() if _follows(names, ORDERS[order])), None)
    task = shown_by_layers or asked or shown_by_names
    if task is None:
        raise UsageError(
            f"The meaning of the outputs of {file} is unknown. Use --task single-label if exactly one class applies to each image "
            "(softmax), or --task multi-label if each output is a separate finding (sigmoid)."
        )
    return task


def _follows(names: tuple[str, ...], order: tuple[str, ...]) -> bool:
    """Say whether names are those of an order, some of them perhaps dropped."""
    return len(names) == len(order) and all(name in ("", usual) for name, usual in zip(names, order, strict=True))


def _task_of_head(module: Shell) -> Task | None:
    """Look for a sigmoid or softmax outside the features, where it can only belong to the outputs."""
    waiting: list[tuple[Shell, int]] = [(module, 0)]
    while waiting:
        shell, depth = waiting.pop()
        if shell.kind in _ACTIVATIONS:
            return _ACTIVATIONS[shell.kind]
        if depth < _MAX_HEAD_DEPTH:
            children = _children(shell, "_modules")
            waiting += [(v, depth + 1) for name, v in children if name != "features" and isinstance(v, Shell)]
    return None


def _class_names(classes: Sequence[str] | None, said: tuple[str, ...], n_outputs: int) -> tuple[str, ...]:
    usual = {len(order): order for order in ORDERS.values()}
    names = tuple(classes) if classes is not None else said if len(said) == n_outputs else usual.get(n_outputs, ())
    if len(names) != n_outputs:
        raise UsageError(
            f"The checkpoint has {n_outputs} outputs, but {len(names) or 'no'} classes are named. Name one per output, "
            f"in order, with --classes a,b,c or one of the orders {', '.join(ORDERS)}; an empty name drops its output."
        )
    given = [name for name in names if name]
    if len(names) > MAX_CLASSES:
        raise UsageError(f"A network may have at most {MAX_CLASSES} outputs, found {len(names)}.")
    long = next((name for name in given if len(name) > MAX_CLASS_NAME), None)
    if long is not None:
        raise UsageError(f"A class may have at most {MAX_CLASS_NAME} characters, found {shown(long)}.")
    if len({name.strip().casefold() for name in given}) < len(given) or len(given) < 2:
        raise UsageError(
            f"At least two different classes are needed, each named once; found {', '.join(map(shown, given[:20])) or 'none'}."
        )
    return names


def _load(file: Path, architecture: str, network: nn.Module, state: dict[str, torch.Tensor]) -> None:
    depths: dict[int, int] = {}
    for key in state:
        if found := _BLOCK.match(key):
            depths[int(found.group(1))] = max(depths.get(int(found.group(1)), 0), int(found.group(2)))
    own = network.state_dict()
    # Files from before 2018 do not count batches; nothing that predicts reads the counts.
    for key, value in own.items():
        if key.endswith("num_batches_tracked"):
            state.setdefault(key, value)
    wrong = sorted(set(own) ^ set(state)) or sorted(k for k, v in state.items() if v.shape != own[k].shape)
    if wrong:
        likely = _SIZES.get(tuple(depths[i] for i in sorted(depths)))
        hint = f" It looks like {likely}: use --as {likely}." if likely and likely != architecture else ""
        raise ModelError(
            f"The checkpoint {file} does not fit {architecture}: {len(wrong)} tensors are missing, left over or of another "
            f"shape, first {shown(wrong[0])}.{hint}"
        )
    network.load_state_dict({key: value.to(own[key].dtype) for key, value in state.items()})
    network.eval()


def _describe(content: Any) -> str:
    if isinstance(content, Mapping):
        first = [shown(key) if isinstance(key, str) else type(key).__name__ for key in itertools.islice(content, 6)]
        return f"a mapping with {', '.join(first) or 'no entries'}"
    return shown(content.kind) if isinstance(content, Shell) else type(content).__name__
