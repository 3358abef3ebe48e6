"""Carry weights from one task to the next: ImageNet's backbone, and output neuron keeping."""

from __future__ import annotations

import math
import re
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import nn
from torchvision.models import DenseNet121_Weights, DenseNet169_Weights, DenseNet201_Weights

from audit.errors import ModelError, UnknownNameError, UsageError
from audit.files import file_sha256
from audit.models.networks import build_network
from audit.models.unpickling import read_checkpoint

_IMAGENET_URLS: Mapping[str, str] = MappingProxyType(
    {
        "densenet121": str(DenseNet121_Weights.IMAGENET1K_V1.url),
        "densenet169": str(DenseNet169_Weights.IMAGENET1K_V1.url),
        "densenet201": str(DenseNet201_Weights.IMAGENET1K_V1.url),
    }
)
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.pth$")
# torchvision published these files before attribute names could not hold a dot: norm.1 is norm1 today.
_OLD_KEY = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.(?:weight|bias|running_mean|running_var))$")


@dataclass(frozen=True, kw_only=True)
class StartingWeights:
    """What the first step of the chain hands over."""

    state: Mapping[str, torch.Tensor] | None
    """Weights of the backbone (no head), in torchvision's names; None for a random start."""
    statement: str
    """Where they come from, in words; goes into the bundle's provenance."""
    digest: str
    """SHA-256 of the file, or `random`."""


def torch_generator(source: int) -> torch.Generator:
    """Return a generator on the CPU that is seeded by `source` alone."""
    return torch.Generator().manual_seed(source)


def fresh_head(n_features: int, n_outputs: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear layer drawn from U(-1/sqrt(f), 1/sqrt(f)), torch's default, by `generator` alone."""
    # Made without values, since torch would draw them from its global generator.
    head = nn.Linear(n_features, n_outputs, device="meta").to_empty(device="cpu")
    bound = 1 / math.sqrt(n_features)
    with torch.no_grad():
        head.weight.uniform_(-bound, bound, generator=generator)
        head.bias.uniform_(-bound, bound, generator=generator)
    return head


def keep_output_neurons(
    head: nn.Linear,
    old_classes: Sequence[str],
    new_classes: Sequence[str],
    kept: Mapping[str, str],
    generator: torch.Generator,
) -> nn.Linear:
    """Build the head of the next task, and copy the neurons of the classes that both tasks share.

    Output neuron keeping (Bassi & Attux 2021, section 4): the new task starts with what the old one
    learnt of a shared class, not only with the old features.

    Parameters
    ----------
    head : nn.Linear
        The trained head, weights (k_old, f) and biases (k_old); it is not changed.
    old_classes : sequence of str
        Class of each output of `head`.
    new_classes : sequence of str
        Class of each output of the new head.
    kept : mapping of str to str
        Old class -> new class for every neuron that is kept; empty for plain transfer learning.
    generator : torch.Generator
        Draws the neurons that are not kept. It draws for all of them, so that the fresh neurons do not
        depend on which others are kept: networks B and C differ in the kept neurons alone.

    Returns
    -------
    nn.Linear
        Weights (k_new, f) and biases (k_new); kept rows are equal to the bit.

    Raises
    ------
    ModelError
        If `old_classes` does not name every output of `head`.
    UnknownNameError
        If `kept` names a class that its task has not.
    UsageError
        If two old classes are kept for one new class.
    """
    if head.out_features != len(old_classes):
        raise ModelError(
            f"The head has {head.out_features} outputs but {len(old_classes)} classes are named "
            f"({', '.join(old_classes)}). Name one class per output, in order."
        )
    for old, new in kept.items():
        if old not in old_classes:
            raise UnknownNameError("output of the previous step", old, old_classes)
        if new not in new_classes:
            raise UnknownNameError("class of the next step", new, new_classes)
    if len(set(kept.values())) != len(kept):
        raise UsageError(f"Two output neurons are kept for one class: {dict(kept)}. Keep one neuron for each class.")
    fresh = fresh_head(head.in_features, len(new_classes), generator).to(head.weight.device, head.weight.dtype)
    with torch.no_grad():
        for old, new in kept.items():
            row, target = old_classes.index(old), new_classes.index(new)
            fresh.weight[target] = head.weight[row]
            # A head without biases behaves as one with zeros.
            fresh.bias[target] = 0 if head.bias is None else head.bias[row]
    return fresh


def head_of(network: nn.Module) -> nn.Linear:
    """Return the linear layer `classifier` that every architecture here ends in."""
    head = network.get_submodule("classifier")
    if not isinstance(head, nn.Linear):
        raise ModelError(f"The network's classifier is a {type(head).__name__}; a linear layer is needed.")
    return head


def start_network(architecture: str, n_outputs: int, start: StartingWeights, generator: torch.Generator) -> nn.Module:
    """Build a network from starting weights; what they do not hold is drawn by `generator` (He et al. 2015).

    Raises
    ------
    ModelError
        If the starting weights do not fit the architecture.
    """
    network = build_network(architecture, n_outputs)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
    network.add_module("classifier", fresh_head(head_of(network).in_features, n_outputs, generator))
    if start.state is not None:
        own = network.state_dict()
        expected = {k for k in own if not k.startswith("classifier.") and not k.endswith("num_batches_tracked")}
        wrong = sorted(expected ^ {k for k in start.state if not k.endswith("num_batches_tracked")})
        wrong = wrong or sorted(k for k, v in start.state.items() if v.shape != own[k].shape)
        if wrong:
            raise ModelError(
                f"The starting weights ({start.statement}) do not fit {architecture}: {len(wrong)} tensors are missing, "
                f"unexpected or of another shape, first {wrong[0]}. Use the file of this architecture."
            )
        network.load_state_dict(dict(start.state), strict=False)
    return network


def imagenet_weights(architecture: str, file: Path | None = None, *, timeout_s: float = 10.0) -> StartingWeights:
    """Find torchvision's ImageNet weights: the file given, else torch's cache, else a download, else none.

    Parameters
    ----------
    architecture : str
        Key of `audit.models.networks.ARCHITECTURES`.
    file : Path, optional
        Weights on disk (`.pth` state dictionary or `.safetensors`) with torchvision's names.
    timeout_s : float
        How long the download may stay silent, in seconds.

    Raises
    ------
    ModelError
        If the file that was given cannot be read; a cache or a network that fails only means a random start.
    """
    if file is not None:
        digest = file_sha256(file) if file.is_file() else ""
        state = _read_state(file)
        url = _IMAGENET_URLS.get(architecture)
        origin = "torchvision's ImageNet file" if url and digest.startswith(_hash_prefix(url)) else "not a known file"
        return StartingWeights(
            state=state, statement=f"weights of the file {file.name} ({origin}, SHA-256 {digest[:12]})", digest=digest
        )
    url = _IMAGENET_URLS.get(architecture)
    if url is None:
        return _random(f"no ImageNet weights are published for {architecture}")
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    failure = ""
    if not _is_published(cached, url):
        if cached.is_file():
            failure = f"the cached file {cached.name} is damaged (its SHA-256 differs from the published one); "
        try:
            _download(url, cached, timeout_s)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            return _random(f"{failure}ImageNet weights are not in torch's cache and cannot be downloaded ({reason})")
    return StartingWeights(
        state=_read_state(cached), statement=f"torchvision's ImageNet weights {cached.name}", digest=file_sha256(cached)
    )


def _random(reason: str) -> StartingWeights:
    return StartingWeights(state=None, statement=f"random weights, because {reason}", digest="random")


def _hash_prefix(url: str) -> str:
    found = _HASH_IN_NAME.search(url)
    assert found is not None, "torchvision writes the hash into the file's name"
    return found.group(1)


def _is_published(path: Path, url: str) -> bool:
    return path.is_file() and file_sha256(path).startswith(_hash_prefix(url))


def _download(url: str, target: Path, timeout_s: float) -> None:
    """Fetch a file into torch's cache; it appears there whole and checked, or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        part = Path(folder) / target.name
        # The address is torchvision's constant, never the user's.
        with urllib.request.urlopen(url, timeout=timeout_s) as answer, part.open("wb") as file:  # noqa: S310
            while piece := answer.read(1 << 20):
                file.write(piece)
        if not _is_published(part, url):
            raise ValueError("the download has another SHA-256 than the published file")
        part.replace(target)


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dictionary without running code from the file; the head is left out."""
    state = read_checkpoint(path)
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ModelError(f"The weights file {path} contains no state dictionary (names and tensors).")
    renamed = {_OLD_KEY.sub(r"\1\2", str(key)): value for key, value in state.items()}
    return {key: value for key, value in renamed.items() if not key.startswith("classifier.")}
