"""One step of the chain: records of two splits, a network, a loss -> the trained network and its curves."""

from __future__ import annotations

import hashlib
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import sklearn
import torch
import torchvision
from numpy.typing import NDArray
from torch import nn

from audit.models.preprocessing import Preprocessing
from audit.randomness import generator_for
from audit.records import Record
from training.loop import Loss, predict, train
from training.progress import OnProgress, Reporter
from training.recipes import Recipe, Step
from training.samples import Samples, resize_all
from training.transfer import StartingWeights


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all steps of one training share."""

    recipe: Recipe
    """Architecture, input size, phases."""
    start: StartingWeights
    """What the first step starts from."""
    out: Path
    """Folder of the bundle; scratch files live there too."""
    seed: int
    """Of everything random."""
    on_progress: OnProgress
    """The caller who is told."""

    @property
    def preprocessing(self) -> Preprocessing:
        """The network's input, squashed to the recipe's square."""
        return Preprocessing(size_px=(self.recipe.input_px, self.recipe.input_px))

    def seed_of(self, name: str) -> int:
        """Return the seed of one step; the network's name is no part of it, so that B and C share steps."""
        return int(generator_for(self.seed, "chain", name).integers(2**62))


@dataclass(frozen=True, kw_only=True)
class TrainedStep:
    """What a step hands over."""

    network: nn.Module
    """With its best weights."""
    epochs: Sequence[Any]
    """Rows of the training curves."""
    seconds: float
    """Wall-clock time of the training."""
    test_logits: torch.Tensor | None = None
    """Logits (n, k) of the test split, where the step has one."""


def run_step(
    name: Literal["findings", "classes"],
    network: nn.Module,
    by_split: Mapping[str, Sequence[Record]],
    targets: Mapping[str, torch.Tensor],
    step: Step,
    setting: Setting,
    *,
    loss: Loss,
    score: Callable[[torch.Tensor, torch.Tensor], float],
    copies: tuple[int, ...] = (),
) -> TrainedStep:
    """Read the pixels once, train, and predict the test split if there is one.

    Parameters
    ----------
    name : {"findings", "classes"}
        Stands in progress, and seeds the step.
    network : nn.Module
        Trained in place.
    by_split : mapping of str to records
        `train`, `validation` and perhaps `test`.
    targets : mapping of str to torch.Tensor
        The same splits: int64 (n) or float32 (n, k).
    step : Step
        The recipe's part for this step.
    setting : Setting
        What all steps share.
    loss, score
        As in `training.loop.train`.
    copies : tuple of int
        For each class the copies that a balanced epoch draws from; empty where images have many findings.
    """
    everything = [record for records in by_split.values() for record in records]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=setting.out, prefix=".images-") as scratch:
        reading = Reporter("images", len(everything), setting.on_progress)
        pixels = resize_all(everything, setting.preprocessing, Path(scratch), reading.images)
        sets = {
            split: _samples(records, pixels, targets[split], step, setting.preprocessing, copies)
            for split, records in by_split.items()
        }
        passes = sets["train"].epoch_size() + len(sets["validation"])
        reporter = Reporter(name, sum(phase.epochs for phase in step.phases) * passes, setting.on_progress)
        epochs = train(
            network,
            sets["train"],
            sets["validation"],
            step,
            loss=loss,
            score=score,
            seed=setting.seed_of(name),
            on_images=reporter.images,
            on_epoch=reporter.epoch,
        )
        test_logits = predict(network, sets["test"], batch=step.batch) if "test" in sets else None
    seconds = round(time.monotonic() - began, 1)
    return TrainedStep(network=network, epochs=epochs, seconds=seconds, test_logits=test_logits)


def versions() -> dict[str, str]:
    """Return the versions that the weights depend on."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "scikit-learn": str(sklearn.__version__),
    }


def weights_sha256(network: nn.Module) -> str:
    """Return the SHA-256 over the names and bytes of all weights."""
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode() + b"\x1f" + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _samples(
    records: Sequence[Record],
    pixels: Mapping[str, NDArray[np.uint8]],
    targets: torch.Tensor,
    step: Step,
    preprocessing: Preprocessing,
    copies: tuple[int, ...],
) -> Samples:
    return Samples(
        ids=tuple(r.id for r in records),
        images=[pixels[r.id] for r in records],
        targets=targets,
        preprocessing=preprocessing,
        augmentation=step.augmentation,
        copies=copies,
    )
