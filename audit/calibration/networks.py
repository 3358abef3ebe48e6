"""Cheap networks: one backbone a corpus that sees plants and disease, cached features, and a head fitted for each case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from audit.calibration.corpus import Corpus
from audit.calibration.kinds import all_kinds
from audit.calibration.plants import plant
from audit.errors import ModelError
from audit.files import read_regular, write_atomically
from audit.models.bodies import Backbone
from audit.models.networks import build_network
from audit.models.preprocessing import Preprocessing
from audit.models.tensors import read_tensors
from audit.randomness import generator_for

ARCHITECTURE = "densenet-small"
_EPOCHS, _BATCH, _RATE = 12, 32, 4e-3
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
