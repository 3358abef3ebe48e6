"""Cheap networks: one backbone a corpus that sees plants and disease, cached features, and a head fitted for each case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from audit.calibration.bodies import Backbone, Features, Head
from audit.calibration.corpus import Corpus
from audit.calibration.kinds import all_kinds
from audit.calibration.plants import plant
from audit.errors import ModelError
from audit.files import read_regular, write_atomically
from audit.models.networks import build_network
from audit.models.preprocessing import Preprocessing
from audit.models.tensors import read_tensors
from audit.randomness import generator_for

ARCHITECTURE = "densenet-small"
_EPOCHS, _BATCH, _RATE = 12, 32, 4e-3
_PULL = 2e-3
"""Weight of the squared distance from the head that fitting starts at, in standardised features."""
_STILL = 4.0
"""Weight of the mean squared difference of twins' logits."""
_LAST_STEPS = 200
_TEXT_OFTEN, _PLAIN_OFTEN = 3.0, 4.0


def backbone(corpus: Corpus, file: Path, *, input_px: int, seed: int, epochs: int = _EPOCHS) -> Backbone:
    """Read the corpus's backbone from `file`, or train it and write it there.

    Every training image is shown with a plant of a random kind, and the network learns to tell the class and the kind: its last
    layer then holds what a head needs to rely on any of them.
    """
    kinds = list(all_kinds().values())
    network = build_network(ARCHITECTURE, len(corpus.classes) + len(kinds))
    preprocessing = Preprocessing(size_px=(input_px, input_px), mean=(0.4,) * 3, std=(0.25,) * 3)
    if file.is_file():
        try:
            network.load_state_dict(read_tensors(read_regular(file)))
        except (RuntimeError, OSError) as error:
            raise ModelError(
                f"The backbone {file} cannot be used ({error}). Remove it; it is trained again."
            ) from error
    else:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = build_network(ARCHITECTURE, len(corpus.classes) + len(kinds))
            _train(network, corpus, preprocessing, seed, epochs)
        state = {key: value.contiguous() for key, value in network.state_dict().items()}
        write_atomically(file, safetensors.torch.save(state))
    return Backbone(
        network=network.eval().requires_grad_(False), architecture=ARCHITECTURE, preprocessing=preprocessing
    )


def _train(network: nn.Module, corpus: Corpus, preprocessing: Preprocessing, seed: int, epochs: int) -> None:
    kinds = list(all_kinds().values())
    n, k = len(corpus.training), len(corpus.classes)
    network.to(memory_format=torch.channels_last)
    network.train()
    steps = epochs * -(-n // _BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.02)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps)
    # Letters are small and hard to see: they are shown more often. The last place is an image without a plant.
    weights = np.array([*(_TEXT_OFTEN if kind.family == "text" else 1.0 for kind in kinds), _PLAIN_OFTEN])
    for epoch in range(epochs):
        rng = generator_for(seed, "calibration backbone", epoch)
        shown = rng.choice(len(kinds) + 1, size=n, p=weights / weights.sum())
        for rows in np.array_split(rng.permutation(n), -(-n // _BATCH)):
            inputs, targets = [], torch.zeros(len(rows), k + len(kinds))
            for place, row in enumerate(rows.tolist()):
                specimen, picture = corpus.training[row], corpus.training[row].picture
                targets[place, specimen.label] = 1
                if shown[row] < len(kinds):
                    kind = kinds[shown[row]]
                    carried = bool(rng.integers(2)) or kind.otherwise is None
                    dose = kind.doses[int(rng.integers(2))]
                    picture = plant(kind, picture, dose, carried=carried, seed=epoch, name=specimen.id)
                    targets[place, k + int(shown[row])] = float(carried)
                inputs.append(preprocessing.prepare(picture.image))
            logits = network(torch.stack(inputs).to(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits[:, :k], targets[:, :k])
            loss = loss + 4 * functional.binary_cross_entropy_with_logits(logits[:, k:], targets[:, k:])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rates.step()
    network.to(memory_format=torch.contiguous_format)


def fit_head(
    features: Features,
    labels: NDArray[np.int64],
    n_classes: int,
    *,
    start: Head | None = None,
    nuisance: Features | None = None,
) -> Head:
    """Fit a head by cross entropy, held near where it starts (by default at zero); the same features give the same head.

    Parameters
    ----------
    features : float32 (n, f)
        Of the planted training images.
    labels : int64 (n)
        Their classes.
    n_classes : int
        k.
    start : Head, optional
        The user's own head, which is fine-tuned.
    nuisance : float32 (m, f), optional
        Differences between the features of twins that the logits should not follow, as training on both twins would teach.
    """
    middle = features.mean(axis=0, dtype=np.float64)
    # A feature that never moves in training tells nothing, and must not be blown up by a spread near zero.
    spread = features.std(axis=0, dtype=np.float64)
    spread = np.maximum(spread, 0.05 * max(float(spread.mean()), 1e-6))
    inputs = torch.from_numpy((features - middle) / spread)
    if start is None:
        first = torch.zeros(n_classes, features.shape[1], dtype=torch.float64)
        bias = torch.zeros(n_classes, dtype=torch.float64)
    else:
        first = torch.from_numpy(start.weight.astype(np.float64) * spread)
        bias = torch.from_numpy(start.bias.astype(np.float64) + start.weight.astype(np.float64) @ middle)
    weight = first.clone().requires_grad_(True)
    bias = bias.clone().requires_grad_(True)
    targets = torch.from_numpy(labels)
    twins = None if nuisance is None or not len(nuisance) else torch.from_numpy(nuisance / spread)
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=_LAST_STEPS, tolerance_change=1e-9, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = functional.cross_entropy(inputs @ weight.T + bias, targets) + _PULL * (weight - first).square().sum()
        if twins is not None:
            value = value + _STILL * (twins @ (weight - weight.mean(dim=0)).T).square().sum(dim=1).mean()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    fitted = weight.detach().numpy() / spread
    return Head(weight=fitted.astype(np.float32), bias=(bias.detach().numpy() - fitted @ middle).astype(np.float32))
