"""The rules of LRP on DenseNets: against a slow replica, zennit, iNNvestigate, and their own books."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from audit.errors import UsageError
from audit.models.networks import build_network
from audit.relevance.canonical import CanonicalNetwork
from audit.relevance.composites import make_composite
from audit.relevance.lrp import Attributor
from audit.relevance.methods import Relevance, Zennit
from audit.relevance.presets import PRESETS, find_preset
from audit.relevance.start import start_each, start_relevance
from tests.lrp_replica import images, lively, replica, tiny, winner

CLASSES = ("normal", "pneumonia", "covid-19")
GOLDEN = Path(__file__).parent / "golden"


def attribute(network: nn.Module, inputs: torch.Tensor, preset: str = "epsilon-plus-flat") -> Relevance:
    return Attributor(network, preset).attribute(inputs, winner)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(float), b.astype(float)
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize(("seed", "side"), [(0, 32), (1, 33), (2, 46)])
def test_map_equals_the_rules_written_out(preset: str, seed: int, side: int) -> None:
    network = tiny().double()
    image = images(1, side, seed).double()
    expected = replica(network, image, find_preset(preset)).numpy()
    found = attribute(network, image, preset).maps[0, 0]
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    assert cosine(found, expected) > 0.999999


@pytest.fixture(scope="module")
def dense(request: pytest.FixtureRequest) -> nn.Module:
    """Return a DenseNet in double precision; attributing changes none, as another test checks."""
    torch.manual_seed(0)
    build = getattr(torchvision.models, request.param, None)
    return lively(build(weights=None, num_classes=3) if build else build_network(request.param, 3)).double()


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("dense", ["densenet-small", "densenet121", "densenet169", "densenet201"], indirect=True)
def test_explicit_pass_equals_zennit_on_the_canonical_network(preset: str, dense: nn.Module) -> None:
    network, inputs = dense, images(1, 64).double()
    ours = attribute(network, inputs, preset)
    zennit = Zennit(network, find_preset(preset)).attribute(inputs, winner)
    assert np.abs(ours.logits - zennit.logits).max() <= 1e-10
    assert np.abs(ours.maps - zennit.maps).max() <= 1e-5 * np.abs(zennit.maps).max()
    close = 1e-5 * np.abs(ours.start).max()
    assert ours.kept["shift"] == pytest.approx(zennit.kept["shift"], abs=close)
    # zennit's layers do not tell their bias from their stabiliser.
    together = [r.kept["bias"] + r.kept["stabiliser"] for r in (ours, zennit)]
    assert together[0] == pytest.approx(together[1], abs=close)


def test_paper_preset_equals_innvestigate() -> None:
    golden = np.load(GOLDEN / "innvestigate-preset-a-flat.npz", allow_pickle=False)
    weights = {name.split(":")[1]: torch.from_numpy(golden[name]) for name in golden.files if ":" in name}
    network = torchvision.models.DenseNet(
        growth_rate=4, block_config=(2, 2), num_init_features=6, bn_size=2, num_classes=3
    ).eval()
    assert all("num_batches" in name for name in network.load_state_dict(weights, strict=False).missing_keys)
    found = attribute(network, torch.from_numpy(golden["image"]), "preset-a-flat")
    assert found.logits[0] == pytest.approx(golden["logits"], abs=1e-5)
    assert np.abs(found.maps[0, 0] - golden["relevance"]).max() <= 1e-4 * np.abs(golden["relevance"]).max()


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("architecture", ["densenet-small", "densenet121"])
def test_books_balance_and_precision_does_not_matter(preset: str, architecture: str) -> None:
    torch.manual_seed(0)
    network = lively(build_network(architecture, 3))
    inputs = images(2, 64)
    single = attribute(network, inputs, preset)
    assert single.gap.max() <= 1e-5
    total = single.maps.astype(float).sum((2, 3)) + sum(single.kept.values())
    assert total == pytest.approx(single.start, rel=1e-5)
    double = attribute(copy.deepcopy(network).double(), inputs.double(), preset)
    for a, b in zip(single.maps, double.maps, strict=True):
        assert cosine(a, b) >= 0.9999


@pytest.mark.parametrize(("architecture", "output"), [("densenet121", 1e-4), ("resnet18", 1e-5)])
def test_an_output_near_zero_is_attributed_in_double_precision(architecture: str, output: float) -> None:
    """A small difference of large relevances: single precision loses more of it than the books may."""
    torch.manual_seed(0)
    network = lively(build_network(architecture, 3))
    inputs = images(3, 64)
    head = network.classifier if architecture == "densenet121" else network.fc

    def first(logits: torch.Tensor) -> torch.Tensor:
        return torch.eye(3, dtype=logits.dtype)[:1].expand(len(logits), 1, 3) * logits[:, None]

    head.bias[0] -= network(inputs)[1, 0] - output
    attributor = Attributor(network)
    raw = attributor._method.attribute(inputs, first)
    assert raw.gap[1, 0] > 1e-5, "else this shows nothing"
    found = attributor.attribute(inputs, first)
    assert found.gap.max() <= 1e-5
    double = Attributor(copy.deepcopy(network).double()).attribute(inputs.double(), first)
    assert cosine(found.maps[1], double.maps[1]) > 0.999999
    kept = raw.gap[:, 0] <= 1e-5
    assert np.array_equal(found.maps[kept], raw.maps[kept]), "the others stay as they were"


def test_a_network_that_insists_on_single_precision_keeps_its_gap() -> None:
    class Insists(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.conv(x.float())).mean((2, 3)))

    torch.manual_seed(0)
    attributor = Attributor(Insists().eval().requires_grad_(False))
    found = attributor.attribute(images(2, 16), start_each)
    off = dataclasses.replace(found, gap=np.full_like(found.gap, 1e-4))
    assert attributor._mended(off, images(2, 16), start_each) is off


def test_books_notice_relevance_that_vanishes() -> None:
    method = Zennit(tiny(), find_preset("epsilon-plus-flat"))
    clean = method.attribute(images(1, 32), winner).gap.max()
    # A layer that drops half of what it is given, outside the books.
    relu = next(m for m in method._canonical.modules() if isinstance(m, nn.ReLU))
    relu.register_forward_hook(lambda m, i, o: o * 0.5 + (o * 0.5).detach())
    assert method.attribute(images(1, 32), winner).gap.max() > 100 * max(clean, 1e-9)


def test_explicit_books_notice_weights_that_lose_relevance() -> None:
    attributor = Attributor(tiny())
    weights = attributor._method._pass._weights.blocks[0][0].narrow
    with torch.inference_mode():
        weights._backward *= 0.5
    assert attributor.attribute(images(1, 32), winner).gap.max() > 1e-3


@pytest.mark.parametrize("architecture", ["densenet-small", "densenet121"])
def test_canonical_form_is_the_same_function_and_leaves_the_network_alone(architecture: str) -> None:
    torch.manual_seed(0)
    network = lively(build_network(architecture, 3))
    before = copy.deepcopy(network.state_dict())
    inputs = images(2, 64)
    logits = network(inputs)
    for merged in (True, False):
        assert torch.allclose(CanonicalNetwork(network, merged=merged)(inputs), logits, atol=1e-5)
    for preset in PRESETS:
        assert np.abs(attribute(network, inputs, preset).logits - logits.numpy()).max() <= 1e-5
    with pytest.raises(RuntimeError):
        Attributor(network).attribute(images(1, 64), lambda logits: logits[:, :1, None] @ torch.ones(2, 2))
    assert torch.equal(network(inputs), logits)
    after = network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in network.modules())


def test_a_map_does_not_depend_on_its_batch() -> None:
    network = tiny()
    inputs = images(4, 48)
    for method in (Attributor(network)._method, Zennit(network, find_preset("epsilon-plus-flat"))):
        together = method.attribute(inputs, winner).maps
        order = [2, 0, 3, 1]
        assert np.allclose(method.attribute(inputs[order], winner).maps, together[order], rtol=1e-4, atol=1e-7)
        alone = np.concatenate([method.attribute(inputs[i : i + 1], winner).maps for i in range(4)])
        assert np.allclose(alone, together, rtol=1e-4, atol=1e-7)


def test_flat_rule_treats_channels_alike() -> None:
    network = tiny()
    method = Zennit(network, find_preset("preset-a-flat"))
    seen = images(1, 32).requires_grad_(True)
    logits = method._canonical(seen)
    (relevance,) = torch.autograd.grad(logits[0, 0], seen)
    assert torch.allclose(relevance[:, 0], relevance[:, 1])
    assert torch.allclose(relevance[:, 0], relevance[:, 2])


# --- where relevance starts


def test_starts_by_hand() -> None:
    logits = torch.tensor([[1.0, -2.0, 5.0], [3.0, 0.5, -1.0]])
    assert start_relevance(logits, CLASSES).tolist() == [[[0, 0, 5]], [[3, 0, 0]]]
    assert start_relevance(logits, CLASSES, "pneumonia").tolist() == [[[0, -2, 0]], [[0, 0.5, 0]]]
    assert start_relevance(logits, CLASSES, "covid-19-normal").tolist() == [[[-1, 0, 5]], [[-3, 0, -1]]]
    assert start_each(logits)[1].tolist() == [[3, 0, 0], [0, 0.5, 0], [0, 0, -1]]
    for wrong in ("covid", "normal-normal", "normal-covid", "", "-"):
        with pytest.raises(UsageError, match="The classes are normal, pneumonia, covid-19"):
            start_relevance(logits, CLASSES, wrong)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_contrast_is_the_difference_of_two_maps(seed: int) -> None:
    network = tiny()
    inputs = images(1, 32, seed)
    attributor = Attributor(network)
    each = attributor.attribute(inputs, start_each).maps[0]
    contrast = attributor.attribute(inputs, lambda z: start_relevance(z, CLASSES, "pneumonia-covid-19")).maps[0, 0]
    assert np.allclose(contrast, each[1] - each[2], atol=1e-6 * np.abs(each).max())


def test_random_weights_change_the_map() -> None:
    inputs = images(2, 48)
    torch.manual_seed(99)
    other = lively(
        torchvision.models.DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=6, bn_size=2, num_classes=3),
        5,
    )
    a, b = (Attributor(n).attribute(inputs, start_each).maps[0, 0] for n in (tiny(), other))
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.9


def test_composites_cover_every_preset() -> None:
    for preset in PRESETS.values():
        assert make_composite(preset) is not None
