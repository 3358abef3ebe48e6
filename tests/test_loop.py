from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from audit.errors import ModelError
from audit.models.preprocessing import Preprocessing
from audit.training.augmentation import Augmentation
from audit.training.curves import EpochRow
from audit.training.loop import train
from audit.training.prediction import predict
from audit.training.rates import parameter_groups
from audit.training.recipes import Phase, Step
from audit.training.samples import Samples
from audit.training.scores import balanced_accuracy, mean_auc
from audit.training.transfer import StartingWeights, start_network, torch_generator

NO_START = StartingWeights(state=None, statement="random", digest="random")
SIZE = Preprocessing(size_px=(64, 64))


@pytest.fixture(autouse=True)
def one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def images(n: int, seed: int, *, findings: bool = False, augmentation: Augmentation | None = None) -> Samples:
    """Class k has stripes of width 2, 6 or 18."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.normal(80, 10, (n, 64, 64))
    for i, label in enumerate(labels):
        images[i] += 60 * (np.arange(64)[:, None] // (2 * 3**label) % 2)
    targets = torch.from_numpy(labels)
    if findings:
        targets = functional.one_hot(targets, 3).float()
    return Samples(
        ids=tuple(f"{seed}-{i}" for i in range(n)),
        images=list(np.clip(images, 0, 255).astype(np.uint8)),
        targets=targets,
        preprocessing=SIZE,
        augmentation=augmentation or Augmentation(),
        copies=() if findings else (1, 1, 1),
    )


def phase(**changes: object) -> Phase:
    return Phase(**{"name": "all", "trains": "all", "epochs": 3, "rate": 3e-3, **changes})


def step(*phases: Phase, **changes: object) -> Step:
    return Step(**{"batch": 6, "optimiser": "adamw", "validation_share": 0.2, "phases": phases, **changes})


def run(network: nn.Module, recipe: Step, *, findings: bool = False, seed: int = 0, **options: object):
    movement = Augmentation(rotation_deg=5, shift_share=0.02, flip_share=0.5)
    return train(
        network,
        images(18, 1, findings=findings, augmentation=movement),
        images(9, 2, findings=findings),
        recipe,
        loss="binary cross entropy" if findings else "cross entropy",
        score=mean_auc if findings else balanced_accuracy,
        seed=seed,
        **options,
    ).epochs


def tiny(architecture: str, seed: int = 0) -> nn.Module:
    return start_network(architecture, 3, NO_START, torch_generator(seed))


def same(one: nn.Module, two: nn.Module) -> bool:
    other = two.state_dict()
    return all(torch.equal(v, other[k]) for k, v in one.state_dict().items())


@pytest.mark.parametrize("findings", [False, True])
def test_it_learns_and_keeps_the_best(tiny_architecture: str, findings: bool) -> None:
    network = tiny(tiny_architecture)
    rows = run(network, step(phase(epochs=12, rate=1e-2)), findings=findings)
    assert rows[-1].train_loss < 0.6 * rows[0].train_loss
    best = min(rows, key=lambda r: r.validation_loss)
    assert best.validation_score > 0.9
    # the network that is left is the one whose validation loss was smallest
    validation = images(9, 2, findings=findings)
    logits = predict(network, validation, batch=4)
    loss = (
        functional.binary_cross_entropy_with_logits(logits, validation.targets)
        if findings
        else functional.cross_entropy(logits, validation.targets)
    )
    assert float(loss) == pytest.approx(best.validation_loss, rel=1e-4)
    assert not network.training and all(p.requires_grad for p in network.parameters())
    losses = [r.validation_loss for r in rows]
    assert [r.best for r in rows] == [v == min(losses[: i + 1]) for i, v in enumerate(losses)]


def test_same_seed_same_weights_and_no_global_state(tiny_architecture: str) -> None:
    recipe = step(phase(name="head", trains="head", epochs=1), phase(epochs=2))
    networks = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        networks.append(tiny(tiny_architecture))
        state = torch.random.get_rng_state()
        rows = run(networks[-1], recipe)
        assert torch.equal(state, torch.random.get_rng_state())
    assert same(*networks)
    other = tiny(tiny_architecture)
    assert run(other, recipe, seed=1) != rows
    assert not same(networks[0], other)


def test_sgd_epoch_equals_the_formula(tiny_architecture: str) -> None:
    """One epoch of two batches, written out: momentum 0.9 and weight decay as torch defines them."""
    recipe = step(phase(epochs=1, rate=0.01, weight_decay=0.1), optimiser="sgd", momentum=0.9, batch=9)
    network, naive = tiny(tiny_architecture), tiny(tiny_architecture)
    rows = run(network, recipe)
    training = images(18, 1, augmentation=Augmentation(rotation_deg=5, shift_share=0.02, flip_share=0.5))
    order = training.epoch_order(seed=0, epoch=1)
    naive.train()
    velocity: dict[str, torch.Tensor] = {}
    losses = []
    for rows_of_batch in (order[:9], order[9:]):
        inputs, targets = training.training_batch(rows_of_batch, seed=0, epoch=1)
        value = functional.cross_entropy(naive(inputs), targets)
        gradients = torch.autograd.grad(value, list(naive.parameters()))
        losses.append(value.item())
        with torch.no_grad():
            for (name, parameter), gradient in zip(naive.named_parameters(), gradients, strict=True):
                moved = gradient + 0.1 * parameter
                velocity[name] = moved if name not in velocity else 0.9 * velocity[name] + moved
                parameter -= 0.01 * velocity[name]
    assert rows[0].train_loss == pytest.approx(np.mean(losses), rel=1e-6)
    for (name, one), two in zip(network.named_parameters(), naive.parameters(), strict=True):
        torch.testing.assert_close(one, two, msg=name)


def test_head_phase_leaves_the_backbone_alone(tiny_architecture: str) -> None:
    network = tiny(tiny_architecture)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    run(network, step(phase(trains="head", epochs=2, rate=1e-2)))
    changed = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_rates_fall_by_block(tiny_architecture: str) -> None:
    network = tiny(tiny_architecture)
    groups = parameter_groups(network, phase(rate=1e-2, rate_factor_per_block=0.1))
    assert [g["lr"] for g in groups] == pytest.approx([1e-2, 1e-3, 1e-4])
    names = {id(p): n for n, p in network.named_parameters()}
    found = [{".".join(names[id(p)].split(".")[:2]) for p in g["params"]} for g in groups]
    assert found == [
        {"classifier.weight", "classifier.bias"},
        {"features.denseblock2", "features.norm5"},
        {"features.denseblock1", "features.transition1", "features.conv0", "features.norm0"},
    ]
    assert sum(len(g["params"]) for g in groups) == len(names)
    head = parameter_groups(network, phase(trains="head", rate=0.5))
    assert [(g["lr"], len(g["params"])) for g in head] == [(0.5, 2)]


def test_rates_of_the_papers_second_phase() -> None:
    from audit.models.networks import build_network

    network = build_network("densenet-small", 3)
    groups = parameter_groups(network, phase(rate=1e-4, rate_factor_per_block=0.1))
    assert [g["lr"] for g in groups] == pytest.approx([1e-4, 1e-5, 1e-6, 1e-7, 1e-8])


def test_early_stop_counts_from_the_best(tiny_architecture: str) -> None:
    # A rate this large never gets better after the first epochs.
    recipe = step(phase(epochs=30, rate=1.0, patience=2), optimiser="sgd")
    rows = run(tiny(tiny_architecture), recipe)
    last_best = max(i for i, r in enumerate(rows) if r.best)
    assert len(rows) == last_best + 3 < 30


def test_next_phase_starts_from_the_best(tiny_architecture: str) -> None:
    seen: list[EpochRow] = []
    network = tiny(tiny_architecture)
    good = phase(name="good", epochs=6, rate=1e-2)
    bad = phase(name="bad", epochs=2, rate=5.0)
    rows = run(network, step(good, bad), on_epoch=seen.append)
    assert tuple(seen) == rows and [r.epoch for r in rows] == list(range(1, 9))
    assert not any(r.best for r in rows if r.phase == "bad")
    alone = tiny(tiny_architecture)
    run(alone, step(good))
    assert same(network, alone)


def test_progress_counts_every_image(tiny_architecture: str) -> None:
    counted: list[int] = []
    run(tiny(tiny_architecture), step(phase(epochs=2)), on_images=counted.append)
    assert sum(counted) == 2 * (18 + 9)


def test_divergence_is_one_clear_error(tiny_architecture: str) -> None:
    network = tiny(tiny_architecture)
    with torch.no_grad():
        network.get_parameter("classifier.weight").fill_(float("inf"))
    with pytest.raises(ModelError, match="smaller learning rate"):
        run(network, step(phase()))
