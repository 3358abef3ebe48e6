"""Sanity check: a heatmap that does not change when weights are shuffled does not depend on the network (Adebayo et al. 2018)."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import nn

from audit.models.bundle import Bundle
from audit.randomness import generator_for
from audit.relevance.lrp import Attributor
from audit.relevance.start import start_each
from audit.store.relevance import Randomisation

_LAYERS = (nn.Conv2d, nn.Linear)


def randomise_weights(
    bundle: Bundle, images: Sequence[NDArray[np.uint8]], *, preset: str, seed: int
) -> tuple[Randomisation, ...]:
    """Shuffle the weights within each layer, and compare the maps of the outputs that won before.

    Parameters
    ----------
    images : sequence of uint8 arrays (h, w)
        A handful is enough: the network is the same for all.
    preset : str
        LRP preset.
    seed : int
        Of the shuffles.

    Raises
    ------
    RelevanceError
        If the network cannot be attributed.

    Returns
    -------
    tuple of Randomisation
        Empty where there are no layers to shuffle.
    """
    network = bundle.classifier.ability("network")
    if not images or not isinstance(network, nn.Module):
        return ()
    names = [name for name, module in network.named_modules() if isinstance(module, _LAYERS)][::-1]
    if not names:  # a program of fused steps: nothing of it could be shuffled, and unchanged maps would mean nothing
        return ()
    inputs = torch.stack([bundle.preprocessing.prepare(image) for image in images])
    own = Attributor(network, preset).attribute(inputs, start_each)
    winners = own.logits.argmax(axis=1)
    shuffled = copy.deepcopy(network)
    found, done = [], 0
    for label, stop in (
        ("the output layer", 1),
        ("the upper half of the layers", len(names) // 2),
        ("all layers", len(names)),
    ):
        for name in names[done:stop]:
            _shuffle(shuffled.get_submodule(name), generator_for(seed, "randomisation", name))
        done = stop
        other = Attributor(shuffled, preset).attribute(inputs, start_each)
        values = [_similarity(own.maps[i, k], other.maps[i, k]) for i, k in enumerate(winners)]
        found.append(Randomisation(layers=label, ssim=float(np.mean(values)), n_images=len(images)))
    return tuple(found)


def _shuffle(layer: nn.Module, rng: np.random.Generator) -> None:
    with torch.no_grad():
        for parameter in layer.parameters(recurse=False):
            order = torch.from_numpy(rng.permutation(parameter.numel()))
            parameter.copy_(parameter.flatten()[order].reshape(parameter.shape))


def _similarity(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the SSIM of two maps (h, w), each scaled to its own largest value: size says nothing, place and sign do."""
    scaled = [np.asarray(m, dtype=np.float64) / (float(np.abs(m).max()) or 1.0) for m in (a, b)]
    return float(structural_similarity(*scaled, data_range=2.0))  # type: ignore[no-untyped-call]  # unannotated
