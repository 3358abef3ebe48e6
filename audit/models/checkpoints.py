"""Foreign checkpoints -> bundles: a network and its head are found, renamed as torchvision names them, and fitted to an architecture."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from audit.data.input_choices import Scale
from audit.data.tasks import Task
from audit.errors import ModelUsageError, UnknownNameError, UsageError
from audit.files import file_sha256
from audit.models import networks
from audit.models.backbones import STEM, choose_backbone
from audit.models.foreign import shown
from audit.models.heads import choose_head
from audit.models.outputs import find_task, is_torchxrayvision, name_outputs
from audit.models.prepared_input import SCALES
from audit.models.preprocessing import Preprocessing
from audit.models.saving import save_bundle
from audit.models.states import collect_states, operating_thresholds
from audit.models.unpickling import read_checkpoint

_BLOCK = re.compile(r"features\.denseblock(\d+)\.denselayer(\d+)\.")
_SIZES: Mapping[tuple[int, ...], str] = {
    (6, 12, 24, 16): "densenet121",
    (6, 12, 32, 32): "densenet169",
    (6, 12, 48, 32): "densenet201",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What an import made."""

    folder: Path
    """The bundle."""
    classes: tuple[str, ...]
    """Class of each output (k)."""
    class_order: str
    """Where the order of the classes comes from."""
    task: Task
    """What the outputs mean."""
    prefix: str
    """Prefix of the network in the file."""
    heads: tuple[str, ...]
    """Names of the layers in the file that give the outputs."""
    left_out: tuple[str, ...]
    """Names of weights other than the network's that the user decided not to use."""
    scale: Scale
    """How the network's input is scaled, a key of `SCALES`."""


def import_checkpoint(
    file: Path,
    architecture: str,
    out: Path,
    *,
    classes: Sequence[str] | None = None,
    task: Task | None = None,
    input_px: int = 224,
    scale: Scale | None = None,
    prefix: str | None = None,
    head: Sequence[str] = (),
    admit: Collection[str] = (),
) -> Imported:
    """Convert a checkpoint to a bundle, once; the file is never needed again.

    Known: state dictionaries and whole modules of torchvision, torchxrayvision, timm and MONAI, alone or under any keys of
    mappings, lists and inert objects; under the wrappers of DataParallel, torch.compile, FSDP and Lightning. The outputs are
    those of one linear layer under the network's own prefix; several networks or layers are named in the message, and
    chosen with `prefix` and `head`.

    Parameters
    ----------
    file : Path
        The checkpoint.
    architecture : str
        A key of `audit.models.networks.ARCHITECTURES`.
    out : Path
        Folder of the bundle.
    classes : sequence of str, optional
        Class of each output, in order; where omitted, what the file itself says, or the order that was published with files
        of these names and this shape. The number of outputs alone names none. An empty name drops its output.
    task : {"single-label", "multi-label"}, optional
        What the outputs mean; where omitted, what is known of the file: a last layer of sigmoids or a softmax, the class
        orders of CheXNet and torchxrayvision, that of the paper.
    input_px : int
        Side of the square input, in pixels.
    scale : str, optional
        A key of `SCALES`; where omitted, ImageNet's for three channels and torchxrayvision's for its own networks.
    prefix : str, optional
        Prefix of the network, where the file has several.
    head : sequence of str
        Names of the linear layers that give the outputs, where the file has other layers too.
    admit : collection of str
        As in `read_checkpoint`.

    Returns
    -------
    Imported
        The bundle's folder, and what was taken from the file.

    Raises
    ------
    ModelError
        If the file is refused, damaged, or of another architecture.
    UnknownNameError, UsageError
        If the architecture or scale is not known, several networks or layers could be meant, classes and outputs do not
        match, or the task is not known or another one.
    """
    if architecture not in networks.ARCHITECTURES:
        raise UnknownNameError("architecture", architecture, networks.ARCHITECTURES)
    if scale is not None and scale not in SCALES:
        raise UnknownNameError("scale", scale, SCALES)
    content = read_checkpoint(file, admit=admit)
    states = collect_states(file, content)
    backbone = choose_backbone(file, content, states, prefix)
    layer = choose_head(file, states, backbone, head)
    names, class_order = name_outputs(classes, content, states, backbone, layer)
    meaning = find_task(file, task, states, layer, names)
    kept = [i for i, name in enumerate(names) if name]
    points = operating_thresholds(states.tensors, len(names))
    body = {name: value.clone() for name, value in backbone.body.items()}
    one_channel = body[STEM].shape[1] == 1
    known: Scale | None = (
        "torchxrayvision" if is_torchxrayvision(states, backbone, layer) else None if one_channel else "imagenet"
    )
    scaled = _scale(file, scale or known, one_channel=one_channel)
    if one_channel:
        # Three equal channels through a third of the weights are one channel through the whole.
        body[STEM] = body[STEM].repeat(1, 3, 1, 1) / 3
    network = networks.build_network(architecture, len(kept))
    weight, bias = layer.weight[kept], layer.bias[kept]
    _load(file, architecture, network, {**body, "classifier.weight": weight, "classifier.bias": bias})
    kept_names = tuple(names[i] for i in kept)
    mean, std = SCALES[scaled]
    save_bundle(
        out,
        network,
        name=out.name,
        architecture=architecture,
        classes=kept_names,
        task=meaning,
        preprocessing=Preprocessing(size_px=(input_px, input_px), mean=mean, std=std),
        provenance={
            "imported_from": file.name,
            "imported_sha256": file_sha256(file),
            "imported_prefix": backbone.prefix,
            "imported_head": list(layer.names),
            "class_order": class_order,
        },
        metrics={},
        splits={},
        operating_points=tuple(points[i] for i in kept) if points and meaning == "multi-label" else (),
    )
    return Imported(
        folder=out,
        classes=kept_names,
        class_order=class_order,
        task=meaning,
        prefix=backbone.prefix,
        heads=layer.names,
        left_out=layer.left_out,
        scale=scaled,
    )


def _scale(file: Path, scale: Scale | None, *, one_channel: bool) -> Scale:
    if scale is None or (one_channel and scale == "imagenet"):
        raise UsageError(
            f"The network in {file} reads one grey channel, and the file does not state how grey values were scaled. Use --scale unit "
            "(0 to 1), --scale symmetric (-1 to 1) or --scale torchxrayvision (-1024 to 1024)."
        )
    return scale


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
        raise ModelUsageError(
            f"The checkpoint {file} does not fit {architecture}: {len(wrong)} tensors are missing, left over or of another "
            f"shape, first {shown(wrong[0])}.{hint}"
        )
    network.load_state_dict({key: value.to(own[key].dtype) for key, value in state.items()})
    network.eval()
