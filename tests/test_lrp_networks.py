"""LRP of other networks than DenseNets, and of networks that something is wrong with."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from audit.errors import RelevanceError, UnknownNameError
from audit.relevance.canonical import CanonicalNetwork
from audit.relevance.lrp import Attributor
from audit.relevance.methods import SURROGATES
from audit.relevance.presets import PRESETS
from audit.relevance.start import start_each
from tests.lrp_replica import images, lively, tiny, winner


def build(name: str) -> nn.Module:
    torch.manual_seed(1)
    network = getattr(torchvision.models, name)(weights=None, num_classes=3)
    if name.startswith("vgg"):
        network.classifier = nn.Linear(512 * 7 * 7, 3)  # its own head has a hundred million weights, and no other layer
    return lively(network)


@pytest.fixture(scope="module")
def known(request: pytest.FixtureRequest) -> nn.Module:
    """Return a network of torchvision, in double precision; nobody may change it, as the test of it checks."""
    return build(request.param).double()


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize(
    "known",
    ["resnet18", "vgg11_bn", "efficientnet_b0", "convnext_tiny", "mobilenet_v2", "mobilenet_v3_small", "squeezenet1_1"],
    indirect=True,
)
def test_known_architectures_are_canonized_and_their_books_balance(known: nn.Module, preset: str) -> None:
    network, inputs = known, images(2, 64).double()
    before = copy.deepcopy(network.state_dict())
    logits = network(inputs)
    attributor = Attributor(network, preset)
    # Every map of an image goes the same way back: several of each network by its cheapest rules, one by the others.
    found = attributor.attribute(inputs, start_each if preset == "epsilon" else winner)
    assert found.maps.shape[1] == (3 if preset == "epsilon" else 1)
    assert (attributor.note, attributor.preset) == ("", preset)
    assert attributor.method.startswith("LRP by zennit")
    assert np.abs(found.logits - logits.numpy()).max() <= 1e-9
    assert found.gap.max() <= 1e-5
    assert torch.equal(network(inputs), logits)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in network.modules())


class Odd(nn.Module):
    """In-place and functional activations, one module used three times, a residual sum, a functional pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.twice = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.first(x))
        x = self.relu(self.twice(x)) + x
        x = torch.relu_(self.twice(x))
        x = nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.head(self.relu(x))


class Plain(nn.Module):
    """The same function with nothing shared and nothing in place."""

    def __init__(self, odd: Odd) -> None:
        super().__init__()
        self.first, self.a, self.b, self.head = (copy.deepcopy(m) for m in (odd.first, odd.twice, odd.twice, odd.head))
        self.r1, self.r2, self.r3, self.pool, self.flat = (
            nn.ReLU(),
            nn.ReLU(),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.r1(self.first(x))
        x = self.r2(self.a(x)) + x
        x = self.r3(self.b(x))
        return self.head(self.flat(self.pool(x)))


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_shared_and_in_place_modules_change_nothing(preset: str) -> None:
    torch.manual_seed(2)
    odd = Odd().eval()
    a = Attributor(odd, preset).attribute(images(2, 16), start_each)
    b = Attributor(Plain(odd).eval(), preset).attribute(images(2, 16), start_each)
    assert np.allclose(a.maps, b.maps, atol=1e-6 * np.abs(b.maps).max())
    assert a.gap.max() <= 1e-5


class Attention(nn.Module):
    """A product of two signals, which no rule is known for."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return self.head((x * x.softmax(1)).mean((2, 3)))


class Dependent(nn.Module):
    """A way that depends on the values, which cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        if x.mean() > 0:
            x = -x
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("network", "why"), [(Attention(), "no rule for the step 'softmax'"), (Dependent(), "torch.fx can trace")]
)
def test_what_has_no_rule_says_so_and_is_named_gradient_times_input(network: nn.Module, why: str) -> None:
    attributor = Attributor(network.eval())
    inputs = images(2, 16)
    found = attributor.attribute(inputs, start_each)
    assert why in attributor.note
    assert (attributor.preset, attributor.method) == ("gradient-x-input", "gradient x input")
    assert np.isnan(found.gap).all()
    seen = inputs.clone().requires_grad_(True)
    logits = network(seen)
    (gradient,) = torch.autograd.grad(logits[0, 1], seen)
    expected = (gradient * inputs)[0].sum(0) * torch.sign(logits[0, 1]).item()
    assert np.allclose(found.maps[0, 1], expected.detach().numpy(), atol=1e-6)
    with pytest.raises(RelevanceError):
        CanonicalNetwork(network.eval())


def test_a_transformer_falls_back() -> None:
    torch.manual_seed(0)
    attributor = Attributor(torchvision.models.vit_b_16(weights=None, image_size=32, num_classes=3).eval())
    assert attributor.method == "gradient x input"
    assert np.isfinite(attributor.attribute(images(1, 32), start_each).maps).all()


def test_occlusion_finds_the_pixels_that_matter() -> None:
    class Corner(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            lit = x[:, 0, :8, :8].mean((1, 2))
            return torch.stack([lit, -lit], dim=1)

    image = torch.zeros(1, 3, 64, 64)
    image[:, :, :8, :8] = 1.0
    found = Attributor(Corner().eval(), "occlusion").attribute(image, start_each)
    positive = np.clip(found.maps[0, 0], 0, None)
    assert positive[:8, :8].sum() == pytest.approx(positive.sum())
    # Each of the four patches in the corner takes a quarter of 1 minus the image's mean, 1/64.
    assert positive.sum() == pytest.approx(1 - 1 / 64, rel=1e-5)
    assert set(SURROGATES) == {"occlusion", "gradient-x-input"}


def test_a_dense_network_without_convolutions() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
    attributor = Attributor(network)
    found = attributor.attribute(images(2, 8), start_each)
    assert attributor.note == ""
    assert found.maps.shape == (2, 3, 8, 8)
    assert found.gap.max() <= 1e-5


def test_fourteen_sigmoid_outputs() -> None:
    network = nn.Sequential(
        *tiny(14).features.children(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), tiny(14).classifier
    )
    for one in (tiny(14), network.eval()):
        found = Attributor(one).attribute(images(1, 32), start_each)
        assert found.maps.shape == (1, 14, 32, 32)
        assert found.gap.max() <= 1e-5
    # A head that ends in a sigmoid: relevance starts at the probability, whose gradient is passed as it is.
    sigmoid = Attributor(nn.Sequential(tiny(14), nn.Sigmoid()).eval())
    assert np.isfinite(sigmoid.attribute(images(1, 32), start_each).maps).all()


def test_half_precision_is_computed_in_single() -> None:
    half = tiny().half()
    found = Attributor(half).attribute(images(1, 32).half(), start_each)
    single = Attributor(copy.deepcopy(half).float()).attribute(images(1, 32).half().float(), start_each)
    assert np.array_equal(found.maps, single.maps)
    assert next(half.parameters()).dtype == torch.float16


def test_dead_head_has_no_relevance() -> None:
    network = tiny()
    nn.init.zeros_(network.classifier.weight)
    nn.init.zeros_(network.classifier.bias)
    found = Attributor(network).attribute(images(1, 32), start_each)
    assert not found.maps.any()
    assert found.gap.max() == 0
    nn.init.constant_(network.classifier.bias, 0.7)  # all logits equal, and not zero: the bias keeps everything
    equal = Attributor(network).attribute(images(1, 32), start_each)
    assert equal.logits == pytest.approx(0.7)
    assert not equal.maps.any()
    assert equal.gap.max() <= 1e-5


def test_altered_densenet_is_traced() -> None:
    network = tiny()
    network.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(network.classifier.in_features, 2)).eval()
    attributor = Attributor(network)
    found = attributor.attribute(images(1, 32), start_each)
    assert attributor.method.startswith("LRP by zennit")
    assert found.gap.max() <= 1e-5


def test_what_cannot_be_right_is_refused() -> None:
    with pytest.raises(RelevanceError, match="evaluation mode"):
        Attributor(tiny().train())
    frozen = tiny()
    frozen.features.norm5.train()
    with pytest.raises(RelevanceError, match=r"features\.norm5 is in training mode"):
        Attributor(frozen)
    broken = tiny()
    broken.features.conv0.weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(RelevanceError, match=r"features\.conv0\.weight contains values that are not finite"):
        Attributor(broken)
    extreme = tiny()
    extreme.classifier.weight.data.fill_(3e38)
    with pytest.raises(RelevanceError, match="not finite"):
        Attributor(extreme).attribute(images(1, 32), start_each)
    with pytest.raises(UnknownNameError, match="Did you mean 'preset-a-flat'"):
        Attributor(tiny(), "preset-a")
