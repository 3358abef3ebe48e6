"""Method 2: the last phase of training again, with the audit's edits as augmentation: half of the images are shown edited at random."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from audit.data.tasks import Task
from audit.errors import ModelError
from audit.models.bundle import Bundle
from audit.models.torch_classifier import one_thread
from audit.randomness import generator_for
from audit.store.typed import FormatError, typed
from audit.training.loop import train
from audit.training.mend.copies import Copies, Place
from audit.training.mend.learnt import Learnt
from audit.training.mend.measured import Logits
from audit.training.mend.samples import Copied, EditedSamples
from audit.training.recipes import Phase, Recipe, Step
from audit.training.resume import Keeper
from audit.training.samples import Samples
from audit.training.scores import balanced_accuracy, mean_auc
from audit.training.steps import fingerprint

_FOREIGN = Phase(name="edited", trains="all", epochs=5, rate=1e-4)
"""For a network whose own recipe is not known: few epochs, slow enough to keep what it has learnt."""
_BATCH = 16
_CHECKPOINT_BATCHES = 200


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A network that was trained on edited images."""

    network: nn.Module
    """Of the form of the old one, in evaluation mode."""
    phase: Phase
    """How it was trained."""
    logits: Logits
    """Its answers to the validation images and their copies; zeros elsewhere."""


class _Whole(nn.Module):
    """A network of any form as the training loop wants it: everything in `features`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.features = network

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (n, c, h, w) to logits (n, k)."""
        return torch.as_tensor(self.features(inputs))


def last_phase(bundle: Bundle) -> Step:
    """Return the classes step of the network's recipe with its last phase alone; for any other network a short, slow one."""
    try:
        step = typed(bundle.provenance.get("recipe"), Recipe).classes
    except (FormatError, TypeError):
        return Step(batch=_BATCH, optimiser="adamw", validation_share=0.2, phases=(_FOREIGN,))
    return replace(step, moves_validation=False, phases=step.phases[-1:])


def retrain(
    bundle: Bundle,
    task: Task,
    learnt: Learnt,
    copies: Copies,
    folder: Path,
    *,
    seed: int,
    on_stage: Callable[[str, int], Callable[[], None]],
) -> Trained:
    """Train the network's last phase again on training images of which half are edited; what was killed goes on.

    Parameters
    ----------
    bundle : Bundle
        The old network; left as it is.
    task : Task
        What its outputs mean.
    learnt : Learnt
        Training images train, validation images choose the epoch.
    copies : Copies
        Their edited copies.
    folder : Path
        For checkpoints.
    seed : int
        Of order, movement and edits.
    on_stage : callable
        Progress.

    Raises
    ------
    ModelError
        If the network cannot be trained, or too many findings are unknown.
    """
    network = check_trainable(bundle)
    step, multi_label = last_phase(bundle), task == "multi-label"
    targets = learnt.targets(multi_label=multi_label)
    known = (targets >= 0).all(axis=1) if multi_label else np.ones(len(targets), dtype=np.bool_)
    teaches = known & (~learnt.validation if not learnt.validation.all() else _four_fifths(learnt, seed))
    judges = known & ~teaches & learnt.validation
    if not teaches.any() or not judges.any():
        raise ModelError(
            "Training on edited images needs training and validation images whose findings are all known, and found none. Use --method "
            "last-layer, which also takes images of which some findings are unknown."
        )
    training = _training(learnt, copies, targets, np.flatnonzero(teaches), bundle, step)
    validation = _validation(learnt, copies, targets, np.flatnonzero(judges), bundle, step, seed)
    new = copy.deepcopy(network)
    # The chain's networks have their rates by depth; of others nothing is known.
    of_chain = hasattr(new, "features") and isinstance(getattr(new, "classifier", None), nn.Linear)
    trained = new if of_chain else _Whole(new)
    passes = training.epoch_size() + len(validation)
    listen = on_stage("training on edited images", step.phases[0].epochs * passes)
    keeper = Keeper(
        path=folder / ".augment.checkpoint",
        fingerprint=fingerprint(
            {"parent": bundle.digest, "step": step, "seed": seed, "ids": training.ids, "copies": training.copies_of}
        ),
        every_batches=_CHECKPOINT_BATCHES,
        writes=True,
    )
    train(
        trained,
        training,
        validation,
        step,
        loss="binary cross entropy" if multi_label else "cross entropy",
        score=mean_auc if multi_label else balanced_accuracy,
        seed=seed,
        keeper=keeper,
        on_images=lambda n: _repeated(listen, n),
    )
    keeper.done()
    new.eval().requires_grad_(False)
    rows = np.flatnonzero(learnt.validation)
    heard = on_stage("predicting validation images", len(rows))
    return Trained(network=new, phase=step.phases[0], logits=_answers(new, bundle, copies, rows, len(targets), heard))


def check_trainable(bundle: Bundle) -> nn.Module:
    """Return the network of a bundle.

    Raises
    ------
    ModelError
        If it is no torch module with weights that can be trained.
    """
    network = bundle.classifier.ability("network")
    if not isinstance(network, nn.Module) or isinstance(network, torch.jit.ScriptModule):
        raise ModelError(
            f"{bundle.where} is a {bundle.architecture}, which cannot be trained here. What can still be done: train it where it was made, "
            "with the audit's edits as augmentation (`audit run --emit FOLDER` writes edited images), or import its weights as a torch "
            "network (`audit import`)."
        )
    return network


def _four_fifths(learnt: Learnt, seed: int) -> NDArray[np.bool_]:
    """Return (n,) the images of four fifths of the patients: without validation images, the rest choose the epoch."""
    patients = learnt.patients
    order = generator_for(seed, "mend held out").permutation(int(patients.max()) + 1)
    return np.asarray(order[patients] % 5 != 0)


def _training(
    learnt: Learnt, copies: Copies, targets: NDArray[np.int64], rows: NDArray[np.intp], bundle: Bundle, step: Step
) -> EditedSamples:
    shown: list[tuple[Place, int]] = []
    copies_of: list[tuple[int, ...]] = []
    edits = [place for c in copies.edits for place in copies.draws(c.name)]
    for i in rows.tolist():
        mine = [(place, i) for place in edits if copies.applied[place][i]]
        copies_of.append(tuple(range(len(shown), len(shown) + len(mine))))
        shown += mine
    exclusive = targets.ndim == 1
    return EditedSamples(
        ids=tuple(learnt.records[i].id for i in rows),
        images=Copied(copies, [(("clean", 0), i) for i in rows.tolist()]),
        targets=_as_targets(targets[rows]),
        preprocessing=bundle.preprocessing,
        augmentation=step.augmentation,
        copies=tuple(step.copies.get(name, 1) for name in bundle.classes) if exclusive and step.copies else (),
        copies_of=tuple(copies_of),
        edited=Copied(copies, shown),
    )


def _validation(
    learnt: Learnt,
    copies: Copies,
    targets: NDArray[np.int64],
    rows: NDArray[np.intp],
    bundle: Bundle,
    step: Step,
    seed: int,
) -> Samples:
    """Return validation images, each as it is and, where an edit applies, under one draw of one edit."""
    edits = [place for c in copies.edits for place in copies.draws(c.name)]
    shown: list[tuple[Place, int]] = [(("clean", 0), i) for i in rows.tolist()]
    for i in rows.tolist():
        mine = [place for place in edits if copies.applied[place][i]]
        if mine:
            rng = generator_for(seed, "mend validation", learnt.records[i].id)
            shown.append((mine[int(rng.integers(len(mine)))], i))
    return Samples(
        ids=tuple(f"{learnt.records[i].id} {place[0]} {place[1]}" for place, i in shown),
        images=Copied(copies, shown),
        targets=_as_targets(targets[[i for _, i in shown]]),
        preprocessing=bundle.preprocessing,
        augmentation=step.augmentation,
    )


def _as_targets(targets: NDArray[np.int64]) -> torch.Tensor:
    found = torch.from_numpy(targets.copy())
    return found if targets.ndim == 1 else found.float()


def _answers(
    network: nn.Module,
    bundle: Bundle,
    copies: Copies,
    rows: NDArray[np.intp],
    n: int,
    on_image: Callable[[], None],
) -> Mapping[Place, NDArray[np.float32]]:
    """Return the logits (n, k) of validation images under every place."""
    places = list(copies.applied)
    found = {place: np.zeros((n, len(bundle.classes)), dtype=np.float32) for place in places}
    with one_thread(), torch.inference_mode():
        for i in rows.tolist():
            mine = [place for place in places if copies.applied[place][i]]
            inputs = torch.stack([bundle.preprocessing.normalise(copies.pixels(place, i)) for place in mine])
            answers = (
                torch.cat([torch.as_tensor(network(part)) for part in torch.split(inputs, _BATCH)]).float().numpy()
            )
            of_place = dict(zip(mine, answers, strict=True))
            for place in places:
                found[place][i] = of_place.get(place, of_place["clean", 0])
            on_image()
    return found


def _repeated(step: Callable[[], None], n: int) -> None:
    for _ in range(n):
        step()
