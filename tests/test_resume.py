"""A training that is killed ends as if it had not been; two processes learn what one learns; a full disk loses nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from audit.errors import StoreError
from audit.models.bundle import load_bundle
from audit.training.augmentation import Augmentation
from audit.training.chain import train_network
from audit.training.features import FrozenFeatures
from audit.training.loop import train
from audit.training.recipes import Phase, Recipe, Step
from audit.training.resume import Keeper
from audit.training.scores import balanced_accuracy, mean_auc
from audit.training.team import Team
from audit.training.transfer import StartingWeights, start_network, torch_generator

from .test_loop import images

NO_START = StartingWeights(state=None, statement="random", digest="random")


def a_recipe(architecture: str) -> Recipe:
    def step(batch: int) -> Step:
        return Step(
            batch=batch,
            optimiser="adamw",
            validation_share=0.25,
            augmentation=Augmentation(rotation_deg=10, shift_share=0.05, flip_share=0.5),
            phases=(
                Phase(name="head", trains="head", epochs=1, rate=1e-3),
                Phase(name="all", trains="all", epochs=3, rate=1e-3),
            ),
        )

    return Recipe(
        name="test", about="", expected="", cost="", architecture=architecture, input_px=64, test_per_class=4,
        findings=step(4), classes=step(3),
    )  # fmt: skip


VICTIM = """
import json, os, sys, time
import torch, torchvision
torch.set_num_threads(1)
from audit.models import networks
def tiny(k):
    torch.manual_seed(0)
    return torchvision.models.DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, bn_size=2, num_classes=k)
networks.ARCHITECTURES = {**networks.ARCHITECTURES, "tiny": tiny}
sys.path.insert(0, os.environ["TESTS"])
from pathlib import Path
from tests.test_resume import a_recipe
from audit.training import loop
from audit.training.chain import train_network
from audit.training.team import join_team
wait = float(os.environ.get("WAIT_S", "0"))
real = loop._losses
def slowly(*a):
    time.sleep(wait)
    return real(*a)
loop._losses = slowly
with join_team() as team:
    train_network("A", Path(sys.argv[1]), a_recipe("tiny"), Path(sys.argv[2]), team=team, checkpoint_batches=2)
"""


def start(
    tmp_path: Path, manifest: Path, out: Path, *, launcher: tuple[str, ...] = (), **environment: str
) -> subprocess.Popen[bytes]:
    program = tmp_path / "victim.py"
    program.write_text(textwrap.dedent(VICTIM))
    root = str(Path(__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, *launcher, str(program), str(manifest), str(out)],
        env={**os.environ, "PYTHONPATH": root, "TESTS": root, "OMP_NUM_THREADS": "1", **environment},
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
def test_killed_in_mid_epoch_ends_with_the_same_weights(
    write_cohort: Callable[..., Path], tmp_path: Path, tiny_architecture: str
) -> None:
    manifest = write_cohort(12)
    whole = train_network("A", manifest, a_recipe(tiny_architecture), tmp_path / "whole", checkpoint_batches=2)
    out = tmp_path / "killed"
    checkpoint = out / ".classes.checkpoint"
    victim = start(tmp_path, manifest, out, WAIT_S="0.05")
    deadline = time.monotonic() + 90
    position: dict = {}
    # Into the second phase, inside an epoch.
    while not (position.get("phase") == 1 and position.get("row", 0) > 0 and position.get("epoch_of_phase", 0) > 0):
        assert victim.poll() is None, (victim.stderr.read() if victim.stderr else b"").decode()[-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.01)
        if checkpoint.is_file():
            position = torch.load(checkpoint, weights_only=True)["position"]
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert checkpoint.is_file()
    assert not (out / "model.json").exists()
    assert train_network("A", manifest, a_recipe(tiny_architecture), out, checkpoint_batches=2) == out
    assert (out / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    one, two = (json.loads((folder / "model.json").read_text())["metrics"]["curves"] for folder in (whole, out))
    assert one == two, "every loss of every epoch, the broken one too"
    assert not checkpoint.exists()


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(
    write_cohort: Callable[..., Path], tmp_path: Path, tiny_architecture: str
) -> None:
    manifest = write_cohort(12)
    alone = train_network("A", manifest, a_recipe(tiny_architecture), tmp_path / "alone")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    pair = start(tmp_path, manifest, tmp_path / "pair", launcher=launcher)
    error = pair.communicate(timeout=180)[1]
    assert pair.returncode == 0, error.decode()[-3000:]
    one, two = (load_bundle(folder) for folder in (alone, tmp_path / "pair"))
    assert two.provenance["processes"] == 2
    curves = [b.metrics["curves"]["epochs"] for b in (one, two)]
    # The head's phase has no batch statistics: the averaged gradients are those of one process.
    assert curves[1][0]["train_loss"] == pytest.approx(curves[0][0]["train_loss"], rel=1e-3)
    assert curves[1][0]["validation_loss"] == pytest.approx(curves[0][0]["validation_loss"], rel=1e-3)
    # Later each process normalises with half of the batch: the same within noise.
    assert curves[1][-1]["validation_loss"] == pytest.approx(curves[0][-1]["validation_loss"], rel=0.25)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Keeper(path=tmp_path / "c", fingerprint="f", every_batches=1, writes=True)
    keeper.save({"weights": {"w": torch.ones(3)}})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("audit.files.os.fsync", full)
    with pytest.raises(StoreError, match=r"No space left on device.*last checkpoint is intact"):
        keeper.save({"weights": {"w": torch.zeros(3)}})
    saved = keeper.load()
    assert saved is not None
    assert torch.equal(saved["weights"]["w"], torch.ones(3))
    assert [p.name for p in tmp_path.iterdir()] == ["c"], "no half of a file is left"


def test_a_checkpoint_of_another_training_is_not_used(tmp_path: Path) -> None:
    keeper = Keeper(path=tmp_path / "c", fingerprint="f", every_batches=1, writes=True)
    keeper.save({"weights": {}})
    assert keeper.load() is not None
    assert dataclasses.replace(keeper, fingerprint="g").load() is None
    (tmp_path / "c").write_bytes(b"damaged")
    assert keeper.load() is None
    quiet = dataclasses.replace(keeper, path=tmp_path / "d", writes=False)
    quiet.save({})
    assert quiet.load() is None


@pytest.mark.parametrize("flip_share", [0.0, 0.5])
def test_kept_features_train_the_same_head(tiny_architecture: str, flip_share: float) -> None:
    """A head trained on kept features is the head that is trained by running the frozen backbone every time."""
    movement = Augmentation(flip_share=flip_share)
    training, validation = images(18, 1, findings=True, augmentation=movement), images(9, 2, findings=True)
    step = Step(
        batch=5, optimiser="sgd", momentum=0.9, validation_share=0.2, augmentation=movement,
        phases=(Phase(name="head", trains="head", epochs=4, rate=0.1, weight_decay=0.01),),
    )  # fmt: skip
    network = start_network(tiny_architecture, 3, NO_START, torch_generator(0))
    naive = start_network(tiny_architecture, 3, NO_START, torch_generator(0)).eval()
    curves = train(
        network, training, validation, step, loss="binary cross entropy", score=mean_auc, seed=3,
        on_images=lambda n: None,
    )  # fmt: skip
    head = naive.get_submodule("classifier")
    velocity = [torch.zeros_like(p) for p in head.parameters()]
    losses = []
    for epoch in range(1, 5):
        order = training.epoch_order(seed=3, epoch=epoch)
        total = 0.0
        for start_row in range(0, 18, 5):
            rows = order[start_row : start_row + 5]
            inputs, targets = training.training_batch(rows, seed=3, epoch=epoch)
            value = functional.binary_cross_entropy_with_logits(naive(inputs), targets)
            total += value.item() * len(rows)
            gradients = torch.autograd.grad(value, list(head.parameters()))
            with torch.no_grad():
                for p, g, v in zip(head.parameters(), gradients, velocity, strict=True):
                    v.mul_(0.9).add_(g + 0.01 * p)
                    p -= 0.1 * v
        losses.append(total / 18)
    assert [row.train_loss for row in curves.epochs] == pytest.approx(losses, rel=1e-4)
    if min(row.validation_loss for row in curves.epochs) == curves.epochs[-1].validation_loss:
        torch.testing.assert_close(network.get_parameter("classifier.weight"), naive.get_parameter("classifier.weight"))


def test_kept_features_are_computed_once(tiny_architecture: str) -> None:
    samples = images(18, 1, findings=True, augmentation=Augmentation(flip_share=0.5))
    network = start_network(tiny_architecture, 3, NO_START, torch_generator(0)).eval()
    seen: list[int] = []
    kept = FrozenFeatures(network, samples, batch=4, team=Team(), on_images=seen.append)
    assert sum(seen) == 36, "two views of every image"
    assert isinstance(network.get_submodule("classifier"), torch.nn.Linear), "the head is back"
    rows = samples.epoch_order(seed=0, epoch=1)[:7]
    features, targets = kept.training_batch(rows, seed=0, epoch=1)
    inputs, expected = samples.training_batch(rows, seed=0, epoch=1)
    assert torch.equal(targets, expected)
    with torch.no_grad():
        logits = network.get_submodule("classifier")(features)
        torch.testing.assert_close(logits, network(inputs), rtol=1e-4, atol=1e-5)
    assert sum(seen) == 36
    turned = images(6, 1, augmentation=Augmentation(rotation_deg=5))
    assert turned.n_views is None, "a rotated image is never seen twice"


def test_moved_validation_is_balanced_and_drawn_anew(tiny_architecture: str) -> None:
    movement = Augmentation(rotation_deg=20, flip_share=0.5)
    validation = dataclasses.replace(images(9, 2, augmentation=movement), copies=(2, 3, 2))
    orders = [validation.epoch_order(seed=0, epoch=epoch) for epoch in (1, 2)]
    for order in orders:
        labels = validation.targets.numpy()[order[:, 0]]
        assert np.bincount(labels).tolist() == [6, 6, 6]
    assert not np.array_equal(*orders)
    step = Step(
        batch=6, optimiser="sgd", validation_share=0.2, moves_validation=True, augmentation=movement,
        phases=(Phase(name="all", trains="all", epochs=1, rate=1e-3),),
    )  # fmt: skip
    network = start_network(tiny_architecture, 3, NO_START, torch_generator(0))
    counted: list[int] = []
    curves = train(
        network, dataclasses.replace(images(18, 1, augmentation=movement)), validation, step, loss="cross entropy",
        score=lambda logits, targets: float(len(targets)), seed=0, on_images=counted.append,
    )  # fmt: skip
    assert curves.epochs[0].validation_score == 18
    inputs, targets = validation.training_batch(orders[0], seed=0, epoch=1)
    with torch.no_grad():
        expected = functional.cross_entropy(network(inputs), targets)
    assert curves.epochs[0].validation_loss == pytest.approx(float(expected), rel=1e-4)


def test_tensorboard_gets_every_epoch(
    write_cohort: Callable[..., Path], tmp_path: Path, tiny_architecture: str
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = train_network(
        "A", write_cohort(12), a_recipe(tiny_architecture), tmp_path / "A", tensorboard=tmp_path / "board"
    )
    events = EventAccumulator(str(tmp_path / "board/classes"))
    events.Reload()
    rows = json.loads((out / "model.json").read_text())["metrics"]["curves"]["epochs"]
    written = [e.value for e in events.Scalars("validation_loss")]
    assert written == pytest.approx([row["validation_loss"] for row in rows], rel=1e-5)


@pytest.mark.parametrize(("every_s", "n_saved"), [(0.0, 4), (1e6, 0)])
def test_short_epochs_do_not_each_write_a_checkpoint(
    every_s: float, n_saved: int, tiny_architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.training.loop.EPOCHS_SAVED_EVERY_S", every_s)
    saved: list[int] = []
    monkeypatch.setattr(Keeper, "save", lambda _, state: saved.append(state["position"]["epoch"]))
    step = Step(
        batch=6, optimiser="adamw", validation_share=0.2,
        phases=(Phase(name="head", trains="head", epochs=4, rate=1e-3),),
    )  # fmt: skip
    train(
        start_network(tiny_architecture, 3, NO_START, torch_generator(0)), images(6, 1), images(3, 2), step, loss="cross entropy",
        score=balanced_accuracy, seed=0, keeper=Keeper(path=tmp_path / "c", fingerprint="f", every_batches=100, writes=True),
    )  # fmt: skip
    assert len(saved) == n_saved
