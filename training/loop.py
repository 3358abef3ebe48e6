"""The training loop: phases, their learning rates by depth, early stopping, the best weights by validation loss.

Plain torch: four phases with rates by depth and a frozen backbone whose features are kept would fight a trainer's loop,
and the same page runs on a processor, a GPU, or several of them by torchrun. Nothing here keeps a random state. The order
of an epoch is a function of (seed, epoch), the movement of an image of (seed, epoch, record), so that the same seed gives
the same weights on the same machine, and a training that was killed goes on to the same weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from audit.errors import ModelError
from audit.training.curves import Curves, EpochRow, PhaseEnd
from audit.training.feeds import Feed, Loss, StepContext, make_feed, validation_logits
from audit.training.rates import make_optimiser
from audit.training.recipes import Phase, Step
from audit.training.resume import Keeper
from audit.training.samples import Samples
from audit.training.team import Team

EPOCHS_SAVED_EVERY_S = 10.0
"""Seconds between the checkpoints after epochs: to write those of short epochs took a quarter of their time."""


@dataclass(kw_only=True)
class _Position:
    """How far a training is; with the moving weights and the optimiser it is all that a checkpoint holds."""

    best: dict[str, torch.Tensor]
    phase_best: dict[str, torch.Tensor]
    phase: int = 0
    epoch: int = 0
    epoch_of_phase: int = 0
    row: int = 0
    loss_sum: float = 0.0
    stale: int = 0
    best_loss: float = float("inf")
    phase_best_loss: float = float("inf")
    rows: list[dict[str, Any]] = field(default_factory=list)
    ends: list[dict[str, Any]] = field(default_factory=list)


def train(
    network: nn.Module,
    training: Samples,
    validation: Samples,
    step: Step,
    *,
    loss: Loss,
    score: Callable[[torch.Tensor, torch.Tensor], float],
    seed: int,
    team: Team | None = None,
    keeper: Keeper | None = None,
    on_images: Callable[[int], None] = lambda _: None,
    on_epoch: Callable[[EpochRow], None] = lambda _: None,
    at_phase_end: Callable[[nn.Module], Mapping[str, Any]] = lambda _: {},
    keep: Callable[[nn.Module, int, bool], None] = lambda *_: None,
) -> Curves:
    """Train in place through all phases; the network ends with its best weights by validation loss.

    Every phase starts from the best weights before it. The best network of each phase is measured by `at_phase_end`.

    Parameters
    ----------
    network : nn.Module
        Maps (n, 3, h, w) to logits (n, k); has `features` and a linear `classifier`.
    training, validation : Samples
        Splits without a common patient.
    step : Step
        Batch size (over all processes of the team), optimiser and phases.
    loss : {"cross entropy", "binary cross entropy"}
        For classes that exclude each other, or for findings that do not.
    score : callable
        (logits, targets) -> the figure that stands beside the validation loss.
    seed : int
        Of the order and the movements.
    team : Team, optional
        Who trains; this process alone on the CPU if omitted.
    keeper : Keeper, optional
        Checkpoints; none if omitted.
    on_images, on_epoch : callable
        Progress: the number of images just visited, and each finished epoch.
    at_phase_end : callable
        Measures the best network of a phase; what it returns goes into `PhaseEnd.found`.
    keep : callable
        Shown the network after every epoch, and the best of every phase: (network, its epoch, whether it is the best of a phase). It must
        not change it.

    Raises
    ------
    ModelError
        If the loss stops being finite.
    StoreError
        If a checkpoint cannot be written.
    """
    team = team or Team()
    # Convolutions over channels-last tensors train a tenth faster on processors, and faster on most accelerators.
    network.to(team.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    context = StepContext(
        step=step,
        training=training,
        validation=validation,
        loss=loss,
        score=score,
        seed=seed,
        team=team,
        on_images=on_images,
    )
    saved = keeper.load() if keeper is not None else None
    at = _Position(best={}, phase_best={}) if saved is None else _Position(**saved["position"])
    saved_at = time.monotonic()
    on_images(at.epoch * (training.epoch_size() + len(validation)) + at.row)
    for index, phase in list(enumerate(step.phases))[at.phase :]:
        if saved is not None or at.best:
            network.load_state_dict(at.best if saved is None else saved["weights"])
        feed = make_feed(network, phase, context)
        optimiser = make_optimiser(network, step, phase)
        if saved is not None:
            optimiser.load_state_dict(saved["optimiser"])
            saved = None
        while at.epoch_of_phase < phase.epochs and at.stale != phase.patience:
            _train_epoch(feed, optimiser, at, keeper)
            team.share_buffers(network)
            row = _validate(feed, at)
            at.epoch, at.epoch_of_phase, at.row, at.loss_sum = row.epoch, at.epoch_of_phase + 1, 0, 0.0
            at.stale += 1
            if row.validation_loss < at.phase_best_loss:
                at.phase_best_loss, at.phase_best = row.validation_loss, _copy_of(network)
            if row.validation_loss < at.best_loss:
                at.best_loss, at.best, at.stale = row.validation_loss, at.phase_best, 0
                row = replace(row, best=True)
            at.rows.append(asdict(row))
            on_epoch(row)
            keep(network, row.epoch, False)
            if time.monotonic() - saved_at >= EPOCHS_SAVED_EVERY_S:
                _save(keeper, at, network, optimiser)
                saved_at = time.monotonic()
        network.load_state_dict(at.phase_best)
        end = _phase_end(phase, at, at_phase_end(network))
        keep(network, end.best_epoch, True)
        at.ends.append(asdict(end))
        at.phase, at.epoch_of_phase, at.stale, at.phase_best_loss = index + 1, 0, 0, float("inf")
    if at.best is not at.phase_best:
        network.load_state_dict(at.best)
    network.eval().requires_grad_(True).to(memory_format=torch.contiguous_format)
    return Curves(epochs=tuple(EpochRow(**r) for r in at.rows), phases=tuple(PhaseEnd(**e) for e in at.ends))


def _train_epoch(feed: Feed, optimiser: torch.optim.Optimizer, at: _Position, keeper: Keeper | None) -> None:
    """Visit the rest of an epoch, from row `at.row`."""
    context, team = feed.context, feed.context.team
    source, epoch, batch = feed.kept or context.training, at.epoch + 1, context.step.batch
    order = context.training.epoch_order(seed=context.seed, epoch=epoch)
    # A frozen backbone keeps its batch statistics too.
    feed.network.train()
    feed.network.get_submodule("features").train(feed.phase.trains == "all")
    for start in range(at.row, len(order), batch):
        rows = order[start : start + batch]
        mine = rows[team.rank :: team.size]
        # A process without a row in the last batch still takes part in the average, with no weight.
        inputs, targets = source.training_batch(mine if len(mine) else rows[:1], seed=context.seed, epoch=epoch)
        optimiser.zero_grad()
        with team.autocast():
            logits = feed.module(inputs.to(team.device))
        value = _losses(logits.float(), targets.to(team.device), context.loss).sum() * bool(len(mine))
        # The team averages gradients over processes: this makes it the mean over the batch, as with one process.
        torch.autograd.backward([value * team.size / len(rows)])
        optimiser.step()
        at.loss_sum += value.item()
        at.row = start + len(rows)
        context.on_images(len(rows))
        if keeper is not None and at.row < len(order) and (start // batch + 1) % keeper.every_batches == 0:
            _save(keeper, at, feed.network, optimiser)


def _validate(feed: Feed, at: _Position) -> EpochRow:
    context, epoch = feed.context, at.epoch + 1
    logits, targets, weights = validation_logits(feed, epoch)
    row = EpochRow(
        phase=feed.phase.name,
        epoch=epoch,
        train_loss=context.team.total(at.loss_sum) / context.training.epoch_size(),
        validation_loss=float((_losses(logits, targets, context.loss) * weights).sum()),
        validation_score=context.score(logits, targets),
        best=False,
    )
    _check_finite(row)
    return row


def _save(keeper: Keeper | None, at: _Position, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    if keeper is not None:
        keeper.save({"position": vars(at), "weights": network.state_dict(), "optimiser": optimiser.state_dict()})


def _phase_end(phase: Phase, at: _Position, found: Mapping[str, Any]) -> PhaseEnd:
    rows = [row for row in at.rows if row["phase"] == phase.name]
    best = min(rows, key=lambda row: row["validation_loss"])
    return PhaseEnd(
        phase=phase.name,
        epoch=at.epoch,
        best_epoch=best["epoch"],
        validation_loss=best["validation_loss"],
        found=dict(found),
    )


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
