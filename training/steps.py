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

from audit.data.input_choices import Colour
from audit.data.records import Record
from audit.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from audit.randomness import generator_for
from audit.store.serialise import to_json
from audit.training.curves import Curves, EpochRow, tensorboard
from audit.training.feeds import Loss
from audit.training.loop import train
from audit.training.prediction import predict
from audit.training.progress import OnProgress, Reporter
from audit.training.recipes import Recipe, Step
from audit.training.resume import Keeper
from audit.training.samples import Samples, resize_all
from audit.training.team import Team
from audit.training.transfer import StartingWeights, torch_generator

KeepEvery = Literal["phase"] | int | None
"""Keep the best network of every phase, that of every so many epochs, or none."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all steps of one training share."""

    recipe: Recipe
    """Input size, phases."""
    architecture: str
    """Key of `audit.models.networks.ARCHITECTURES`."""
    start: StartingWeights
    """What the first step starts from."""
    out: Path
    """Folder of the bundle; scratch files live there too."""
    seed: int
    """Of everything random."""
    on_progress: OnProgress
    """The caller that progress is reported to."""
    team: Team
    """The processes that train."""
    checkpoint_batches: int
    """Batches between checkpoints."""
    tensorboard: Path | None = None
    """Folder for TensorBoard's files."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Of the input's channels."""
    std: tuple[float, ...] = IMAGENET_STD
    """Of the input's channels."""
    colour: Colour = "grey"
    """Whether the network is shown colours."""
    keep_every: KeepEvery = None
    """Which networks of the last step are kept besides the final one."""

    @property
    def preprocessing(self) -> Preprocessing:
        """The network's input, squashed to the recipe's square."""
        side = self.recipe.input_px
        return Preprocessing(size_px=(side, side), mean=self.mean, std=self.std, colour=self.colour)

    def seed_of(self, name: str) -> int:
        """Return the seed of one step; the network's name is no part of it, so that B and C share steps."""
        return int(generator_for(self.seed, "chain", name).integers(2**62))

    def generator(self, name: str) -> torch.Generator:
        """Return torch's generator for one purpose."""
        return torch_generator(self.seed_of(name))


@dataclass(frozen=True, kw_only=True)
class TrainedStep:
    """What a step hands over."""

    network: nn.Module
    """With its best weights."""
    curves: Curves | Mapping[str, Any]
    """Of this training; as JSON holds it where the step was trained before."""
    seconds: float
    """Wall-clock time of the training, since it was last started."""
    test: Mapping[str, Any]
    """Figures of the final network on the test split; empty where the step has none."""


def run_step(
    name: Literal["findings", "classes"],
    network: nn.Module,
    by_split: Mapping[str, Sequence[Record]],
    targets: Mapping[str, torch.Tensor],
    step: Step,
    setting: Setting,
    *,
    made_by: Mapping[str, Any],
    loss: Loss,
    score: Callable[[torch.Tensor, torch.Tensor], float],
    copies: tuple[int, ...] = (),
    test_figures: Callable[[torch.Tensor], Mapping[str, Any]] | None = None,
    keep: Callable[[nn.Module, int, bool], None] = lambda *_: None,
) -> TrainedStep:
    """Read the pixels once, train, and measure the best network of every phase on the test split if there is one.

    Parameters
    ----------
    name : {"findings", "classes"}
        Stands in progress, and seeds the step.
    network : nn.Module
        Trained in place; ends on the CPU.
    by_split : mapping of str to records
        `train`, `validation` and perhaps `test`.
    targets : mapping of str to torch.Tensor
        The same splits: int64 (n) or float32 (n, k).
    step : Step
        The recipe's part for this step.
    setting : Setting
        What all steps share.
    made_by : mapping
        Everything that the weights depend on; a checkpoint of anything else is not used.
    loss, score
        As in `audit.training.loop.train`.
    copies : tuple of int
        For each class the copies that a balanced epoch draws from; empty where images have many findings.
    test_figures : callable, optional
        Logits (n, k) of the test split -> figures.
    keep : callable
        As in `audit.training.loop.train`.
    """
    everything = [record for records in by_split.values() for record in records]
    began = time.monotonic()
    keeper = Keeper(
        path=setting.out / f".{name}.checkpoint",
        fingerprint=fingerprint(made_by),
        every_batches=setting.checkpoint_batches,
        writes=setting.team.leads,
    )
    with tempfile.TemporaryDirectory(dir=setting.out, prefix=".images-") as scratch:
        reading = Reporter("images", len(everything), setting.on_progress)
        pixels = resize_all(everything, setting.preprocessing, Path(scratch), reading.images)
        sets = {
            split: _samples(records, pixels, targets[split], step, setting.preprocessing, copies)
            for split, records in by_split.items()
        }
        validated = sets["validation"].epoch_size() if step.moves_validation else len(sets["validation"])
        passes = sets["train"].epoch_size() + validated
        reporter = Reporter(name, sum(phase.epochs for phase in step.phases) * passes, setting.on_progress)

        def at_phase_end(best: nn.Module) -> Mapping[str, Any]:
            if test_figures is None:
                return {}
            return test_figures(predict(best, sets["test"], batch=step.batch, team=setting.team))

        with tensorboard(setting.tensorboard if setting.team.leads else None, name) as log:

            def tell(row: EpochRow) -> None:
                reporter.epoch(row)
                log(row)

            curves: Curves = train(
                network,
                sets["train"],
                sets["validation"],
                step,
                loss=loss,
                score=score,
                seed=setting.seed_of(name),
                team=setting.team,
                keeper=keeper,
                on_images=reporter.images,
                on_epoch=tell,
                at_phase_end=at_phase_end,
                keep=keep,
            )
        final = at_phase_end(network)
    network.cpu()
    setting.team.wait()
    keeper.done()
    return TrainedStep(network=network, curves=curves, seconds=round(time.monotonic() - began, 1), test=dict(final))


def fingerprint(made_by: Mapping[str, Any]) -> str:
    """Return a hash of everything that weights depend on."""
    everything = {**made_by, "versions": versions(), "threads": torch.get_num_threads()}
    return hashlib.sha256(to_json(everything).encode("utf-8", "surrogateescape")).hexdigest()


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
