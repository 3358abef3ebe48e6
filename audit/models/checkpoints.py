"""Foreign checkpoints -> bundles: tensors are found, renamed as torchvision names them, and fitted to an architecture."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from audit.errors import ModelError, UnknownNameError, UsageError
from audit.files import file_sha256
from audit.models import networks
from audit.models.bundle import save_bundle
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
# torchxrayvision's input: (2 x / 255 - 1) * 1024.
_ONE_CHANNEL_STD = 1 / 2048


def import_checkpoint(
    file: Path,
    architecture: str,
    out: Path,
    *,
    classes: Sequence[str] | None = None,
    input_px: int = 224,
    admit: Collection[str] = (),
) -> tuple[Path, tuple[str, ...]]:
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
    input_px : int
        Side of the square input, in pixels.
    admit : collection of str
        As in `read_checkpoint`.

    Returns
    -------
    Path, tuple of str
        The bundle's folder, and the classes of its outputs.

    Raises
    ------
    ModelError
        If the file is refused, damaged, or of another architecture.
    UnknownNameError, UsageError
        If the architecture is not known, or classes and outputs do not match.
    """
    if architecture not in networks.ARCHITECTURES:
        raise UnknownNameError("architecture", architecture, networks.ARCHITECTURES)
    content = read_checkpoint(file, admit=admit)
    state, said = _find_state(file, content)
    body, weight, bias = _split_head(file, state)
    names = _class_names(classes, said, len(weight))
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
    return out, kept_names


def _find_state(file: Path, content: Any) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Return the tensors by name, and the class names that the file holds, if any."""
    if isinstance(content, Shell):
        said = next((v for k in ("targets", "pathologies") if (v := content.__dict__.get(k))), ())
        names = tuple(str(name) for name in said) if isinstance(said, (list, tuple)) else ()
        return dict(_tensors(content, "", 0)), names
    if isinstance(content, Mapping):
        tensors = {str(k): v for k, v in content.items() if isinstance(v, torch.Tensor)}
        if any(k.endswith(_STEM) for k in tensors):
            return {k: v.detach() for k, v in tensors.items()}, ()
        for key in _WRAPPERS:
            if key in content:
                return _find_state(file, content[key])
    raise ModelError(
        f"The checkpoint {file} holds no DenseNet: a state dictionary or module with {_STEM} is expected, alone or under "
        f"{', '.join(_WRAPPERS)}; found {_describe(content)}."
    )


def _tensors(shell: Shell, prefix: str, depth: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Walk a pickled module as `state_dict` would."""
    if depth > 50:  # no network is that deep; a shell that holds itself is
        return
    for kind in ("_parameters", "_buffers"):
        for name, value in (shell.__dict__.get(kind) or {}).items():
            if isinstance(value, torch.Tensor):
                yield f"{prefix}{name}", value.detach()
    for name, child in (shell.__dict__.get("_modules") or {}).items():
        if isinstance(child, Shell):
            yield from _tensors(child, f"{prefix}{name}.", depth + 1)


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
            f"The checkpoint {file} holds a module without {_STEM}, so it is no DenseNet of torchvision's form."
        )
    prefix = stem[: -len(_STEM)]
    body, weights, biases = {}, [], []
    for key, value in state.items():
        name = _OLD_KEY.sub(r"\1\2", key.removeprefix(prefix))
        if name.startswith("features."):
            body[name] = value.clone()
        elif value.ndim == 2:
            weights.append((key, value))
            biases.append(state.get(key.removesuffix("weight") + "bias", torch.zeros(len(value))))
    widths = {value.shape[1] for _, value in weights}
    if len(widths) != 1:
        found = ", ".join(f"{key} {tuple(value.shape)}" for key, value in weights) or "none"
        raise ModelError(f"The head of {file} must be one linear layer, or several side by side; found {found}.")
    return body, torch.cat([value for _, value in weights]).clone(), torch.cat(biases).clone()


def _class_names(classes: Sequence[str] | None, said: tuple[str, ...], n_outputs: int) -> tuple[str, ...]:
    usual = {len(order): order for order in ORDERS.values()}
    names = tuple(classes) if classes is not None else said if len(said) == n_outputs else usual.get(n_outputs, ())
    if len(names) != n_outputs:
        raise UsageError(
            f"The checkpoint has {n_outputs} outputs, but {len(names) or 'no'} classes are named. Name one for each output, "
            f"in order, with --classes a,b,c or one of the orders {', '.join(ORDERS)}; an empty name drops its output."
        )
    given = [name for name in names if name]
    if len(set(given)) < len(given) or len(given) < 2:
        raise UsageError(
            f"At least two different classes are needed, each named once; found {', '.join(given) or 'none'}."
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
            f"shape, first {wrong[0]}.{hint}"
        )
    network.load_state_dict({key: value.to(own[key].dtype) for key, value in state.items()})
    network.eval()


def _describe(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"a mapping with {', '.join(map(str, list(content)[:6])) or 'nothing in it'}"
    return type(content).__name__
