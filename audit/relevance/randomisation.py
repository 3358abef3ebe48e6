"""Sanity check: a heatmap that does not change when weights are shuffled does not depend on the network (Adebayo et al. 2018)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import nn

from audit.data.images import read_record
from audit.data.records import Record
from audit.prediction.experiment import Experiment
from audit.prediction.tasks import all_tasks
from audit.randomness import generator_for
from audit.relevance.lrp import Attributor
from audit.relevance.methods import Relevance
from audit.relevance.start import start_each
from audit.store.relevance import Randomisation

_LAYERS = (nn.Conv2d, nn.Linear)


def randomise_weights(
    experiment: Experiment, records: Sequence[Record], *, preset: str, workers: int = 1
) -> tuple[Randomisation, ...]:
    """Shuffle the weights within each layer, and compare the maps of the outputs that won before.

    Parameters
    ----------
    experiment : Experiment
        The network, and the seed of the shuffles.
    records : sequence of Record
        A handful is enough: the network is the same for all.
    preset : str
        LRP preset.
    workers : int
        Processes; their number changes no byte.

    Raises
    ------
    RelevanceError
        If the network cannot be attributed.

    Returns
    -------
    tuple of Randomisation
        Empty where there are no layers to shuffle.
    """
    network = experiment.bundle.classifier.ability("network")
    if not records or not isinstance(network, nn.Module):
        return ()
    n_layers = len(_names(network))
    if not n_layers:  # a program of fused steps: nothing of it could be shuffled, and unchanged maps would mean nothing
        return ()
    upto = {"the output layer": 1, "the upper half of the layers": max(1, n_layers // 2), "all layers": n_layers}
    asked = _Asked(records=tuple(records), preset=preset)
    own, *others = all_tasks(experiment, _maps, asked, [0, *upto.values()], workers=workers, on_item=lambda: None)
    winners = own.logits.argmax(axis=1)
    found = []
    for label, other in zip(upto, others, strict=True):
        values = [_similarity(own.maps[i, k], other.maps[i, k]) for i, k in enumerate(winners)]
        found.append(Randomisation(layers=label, ssim=float(np.mean(values)), n_images=len(records)))
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    records: tuple[Record, ...]
    preset: str


def _names(network: nn.Module) -> list[str]:
    """Return the names of the layers that have weights, the last one first."""
    return [name for name, module in network.named_modules() if isinstance(module, _LAYERS)][::-1]


def _maps(experiment: Experiment, asked: _Asked, n_shuffled: int) -> Relevance:
    """Return the maps of the network, or of a copy of it whose last layers are shuffled."""
    network, wants = experiment.bundle.network, experiment.bundle.preprocessing
    if n_shuffled:
        network = copy.deepcopy(network)
        for name in _names(network)[:n_shuffled]:
            _shuffle(network.get_submodule(name), generator_for(experiment.seed, "randomisation", name))
    inputs = torch.stack([wants.prepare(read_record(record)) for record in asked.records])
    return Attributor(network, asked.preset).attribute(inputs, start_each)


def _shuffle(layer: nn.Module, rng: np.random.Generator) -> None:
    with torch.no_grad():
        for parameter in layer.parameters(recurse=False):
            order = torch.from_numpy(rng.permutation(parameter.numel()))
            parameter.copy_(parameter.flatten()[order].reshape(parameter.shape))


def _similarity(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the SSIM of two maps (h, w), each scaled to its own largest value: size says nothing, place and sign do."""
    scaled = [np.asarray(m, dtype=np.float64) / (float(np.abs(m).max()) or 1.0) for m in (a, b)]
    return float(structural_similarity(*scaled, data_range=2.0))  # type: ignore[no-untyped-call]  # unannotated
