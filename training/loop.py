"""The training loop: phases, their learning rates by depth, early stopping, the best weights by validation loss.

Nothing here keeps a random state. The order of an epoch is a function of (seed, epoch), the movement of an
image of (seed, epoch, record), so that the same seed gives the same weights on the same machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from audit.errors import ModelError
from training.recipes import Phase, Step
from training.samples import Samples

Loss = Literal["cross entropy", "binary cross entropy"]
_BLOCK = re.compile(r"^features\.(?:denseblock|transition)(\d+)\.")


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRow:
    """One point of the training curves."""

    phase: str
    """Name of the phase."""
    epoch: int
    """Counted from 1 through all phases of the step."""
    train_loss: float
    """Mean over the epoch's images, while the weights were moving."""
    validation_loss: float
    """Every class with the same weight; images unmoved."""
    validation_score: float
    """Balanced accuracy (classes) or mean area under the ROC curve (findings)."""
    best: bool
    """Smallest validation loss so far?"""


def train(
    network: nn.Module,
    training: Samples,
    validation: Samples,
    step: Step,
    *,
    loss: Loss,
    score: Callable[[torch.Tensor, torch.Tensor], float],
    seed: int,
    on_images: Callable[[int], None] = lambda _: None,
    on_epoch: Callable[[EpochRow], None] = lambda _: None,
) -> tuple[EpochRow, ...]:
    """Train in place through all phases; the network ends with its best weights by validation loss.

    Parameters
    ----------
    network : nn.Module
        Maps (n, 3, h, w) to logits (n, k); has `features` and a linear `classifier`.
    training, validation : Samples
        Splits without a common patient.
    step : Step
        Batch size, optimiser and phases.
    loss : {"cross entropy", "binary cross entropy"}
        For classes that exclude each other, or for findings that do not.
    score : callable
        (logits, targets) -> the figure that stands beside the validation loss.
    seed : int
        Of the order and the movements.
    on_images, on_epoch : callable
        Progress: the number of images just visited, and each finished epoch.

    Raises
    ------
    ModelError
        If the loss stops being finite.
    """
    rows: list[EpochRow] = []
    best_loss, best = float("inf"), _copy_of(network)
    epoch = 0
    for phase in step.phases:
        network.load_state_dict(best)
        optimiser = _optimiser(network, step, phase)
        stale = 0
        for _ in range(phase.epochs):
            epoch += 1
            _set_mode(network, phase)
            total, order = 0.0, training.epoch_order(seed=seed, epoch=epoch)
            for start in range(0, len(order), step.batch):
                inputs, targets = training.training_batch(order[start : start + step.batch], seed=seed, epoch=epoch)
                optimiser.zero_grad()
                value = _losses(network(inputs), targets, loss).mean()
                torch.autograd.backward([value])
                optimiser.step()
                total += value.item() * len(inputs)
                on_images(len(inputs))
            logits = predict(network, validation, batch=step.batch, on_images=on_images)
            row = EpochRow(
                phase=phase.name,
                epoch=epoch,
                train_loss=total / len(order),
                validation_loss=float((_losses(logits, validation.targets, loss) * validation.weights()).sum()),
                validation_score=score(logits, validation.targets),
                best=False,
            )
            _check_finite(row)
            if row.validation_loss < best_loss:
                best_loss, best, stale = row.validation_loss, _copy_of(network), 0
                row = replace(row, best=True)
            else:
                stale += 1
            rows.append(row)
            on_epoch(row)
            if stale == phase.patience:
                break
    network.load_state_dict(best)
    network.eval().requires_grad_(True)
    return tuple(rows)


def predict(
    network: nn.Module, samples: Samples, *, batch: int, on_images: Callable[[int], None] = lambda _: None
) -> torch.Tensor:
    """Return the logits (n, k) of unmoved images, in evaluation mode."""
    network.eval()
    logits = []
    with torch.no_grad():
        for start in range(0, len(samples), batch):
            inputs, _ = samples.plain_batch(start, start + batch)
            logits.append(network(inputs))
            on_images(len(inputs))
    return torch.cat(logits)


def parameter_groups(network: nn.Module, phase: Phase) -> list[dict[str, Any]]:
    """Return the parameters that a phase trains, each depth with its learning rate.

    The output layer has `phase.rate`; each dense block further from it (with its transition; the last norm
    belongs to the last block, the stem to the first) has the rate of the one before times the factor.
    """
    if phase.trains == "head":
        return [{"params": list(network.get_submodule("classifier").parameters()), "lr": phase.rate}]
    blocks = [int(found.group(1)) for name, _ in network.named_parameters() if (found := _BLOCK.match(name))]
    n_blocks = max(blocks, default=0)
    groups: dict[int, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        found = _BLOCK.match(name)
        if found:
            depth = n_blocks + 1 - int(found.group(1))
        elif name.startswith("classifier."):
            depth = 0
        else:
            depth = n_blocks if name.startswith(("features.conv0.", "features.norm0.")) else 1
        groups.setdefault(depth, []).append(parameter)
    return [
        {"params": groups[depth], "lr": phase.rate * phase.rate_factor_per_block**depth} for depth in sorted(groups)
    ]


def _optimiser(network: nn.Module, step: Step, phase: Phase) -> torch.optim.Optimizer:
    groups = parameter_groups(network, phase)
    if step.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=step.momentum, weight_decay=phase.weight_decay)
    return torch.optim.AdamW(groups, weight_decay=phase.weight_decay)


def _set_mode(network: nn.Module, phase: Phase) -> None:
    """Put into training mode what is trained; a frozen backbone keeps its batch statistics too."""
    network.train()
    features = network.get_submodule("features")
    features.requires_grad_(phase.trains == "all")
    features.train(phase.trains == "all")


def _losses(logits: torch.Tensor, targets: torch.Tensor, loss: Loss) -> torch.Tensor:
    """Return the loss of each image (n)."""
    if loss == "cross entropy":
        return functional.cross_entropy(logits, targets, reduction="none")
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)


def _copy_of(network: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


def _check_finite(row: EpochRow) -> None:
    values = torch.tensor([row.train_loss, row.validation_loss])
    if not bool(torch.isfinite(values).all()):
        raise ModelError(
            f"Training diverged in epoch {row.epoch} ({row.phase}): training loss {row.train_loss}, validation loss "
            f"{row.validation_loss}. Use a recipe with a smaller learning rate."
        )
