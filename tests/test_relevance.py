from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812

from audit.errors import RelevanceError, UnknownNameError
from audit.models.networks import build_network
from audit.randomness import generator_for
from audit.records import TextRegion
from audit.relevance.canonical import CanonicalDenseNet
from audit.relevance.composites import PRESETS
from audit.relevance.lrp import Attributor, attribute_relevance
from audit.relevance.regions import map_boxes, summarise_relevance


def lively(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give BatchNorm statistics and weights that training could have left, negative scales included."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            n = module.num_features
            module.weight.data = torch.rand(n, generator=generator) * 1.2 - 0.1
            module.bias.data = torch.randn(n, generator=generator) * 0.2
            module.running_mean = torch.randn(n, generator=generator) * 0.1
            module.running_var = torch.rand(n, generator=generator) + 0.5
    return network.eval().requires_grad_(False)


def tiny() -> nn.Module:
    torch.manual_seed(3)
    return lively(
        torchvision.models.DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=6, bn_size=2, num_classes=3)
    )


def films(n: int, side: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("architecture", ["densenet-small", "densenet121"])
def test_canonical_form_is_the_same_function_and_leaves_the_network_alone(architecture: str) -> None:
    torch.manual_seed(0)
    network = lively(build_network(architecture, 3))
    before = copy.deepcopy(network.state_dict())
    inputs = films(2, 64)
    logits = network(inputs)
    assert torch.allclose(CanonicalDenseNet(network)(inputs), logits, atol=1e-5)
    attribute_relevance(network, inputs)
    assert torch.equal(network(inputs), logits)
    after = network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in network.modules())


def z_plus(
    x: torch.Tensor, conv_w: torch.Tensor, bias: torch.Tensor | None, relevance: torch.Tensor, **how: int
) -> torch.Tensor:
    """Distribute relevance (1, o, h, w) by positive contributions, one output after the other."""
    w_pos, w_neg = conv_w.clamp(min=0), conv_w.clamp(max=0)
    z = F.conv2d(x.clamp(min=0), w_pos, None if bias is None else bias.clamp(min=0), **how)
    z = z + F.conv2d(x.clamp(max=0), w_neg, None, **how)
    s = torch.where(z == 0, 0.0, relevance / z)
    adjoint = {"stride": how.get("stride", 1), "padding": how.get("padding", 0)}
    return x.clamp(min=0) * F.conv_transpose2d(s, w_pos, **adjoint) + x.clamp(max=0) * F.conv_transpose2d(
        s, w_neg, **adjoint
    )


def replica(network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """LRP of the tiny DenseNet, every rule written out, without hooks and without zennit; float64, one image."""
    f = network.features

    def affine(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
        s = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        return s[None, :, None, None], (norm.bias - norm.running_mean * s)[None, :, None, None]

    s0, t0 = affine(f.norm0)
    w0 = f.conv0.weight * s0[0][:, None]
    stem = F.conv2d(image, w0, t0.flatten(), stride=2, padding=3).relu()
    x, winners = F.max_pool2d(stem, 3, 2, 1, return_indices=True)
    tape = []
    for name, part in f.named_children():
        if name.startswith("denseblock"):
            for layer in part.children():
                s1, t1 = affine(layer.norm1)
                s2, t2 = affine(layer.norm2)
                a1 = (s1 * x + t1).relu()
                w1 = layer.conv1.weight * s2[0][:, None]
                a2 = F.conv2d(a1, w1, t2.flatten()).relu()
                new = F.conv2d(a2, layer.conv2.weight, padding=1)
                tape.append(("layer", x, (s1, t1, a1, w1, t2.flatten(), a2, layer.conv2.weight)))
                x = torch.cat([x, new], 1)
        elif name.startswith("transition"):
            s1, t1 = affine(part.norm)
            a1 = (s1 * x + t1).relu()
            pooled = F.avg_pool2d(a1, 2)
            tape.append(("transition", x, (s1, t1, a1, pooled, part.conv.weight)))
            x = F.conv2d(pooled, part.conv.weight)
    s5, t5 = affine(f.norm5)
    a5 = (s5 * x + t5).relu()
    h = a5.mean((2, 3))
    logits = h @ network.classifier.weight.T + network.classifier.bias
    k = int(logits.argmax())
    r_h = h * network.classifier.weight[k] * (logits[0, k] / (logits[0, k] + torch.sign(logits[0, k]) * 1e-6))
    r = a5 / a5.sum((2, 3), keepdim=True).clamp(min=1e-300) * r_h[:, :, None, None]

    def through_affine(r: torch.Tensor, x: torch.Tensor, s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        y = s * x + t
        return torch.where(y > 0, r * s * x / y, 0.0)

    r = through_affine(r, x, s5, t5)
    for kind, x, parts in reversed(tape):
        if kind == "layer":
            s1, t1, a1, w1, b1, a2, w2 = parts
            n_old = x.shape[1]
            r_old, r_new = r[:, :n_old], r[:, n_old:]
            r_new = z_plus(a2, w2, None, r_new, padding=1)
            r_new = z_plus(a1, w1, b1, r_new)
            r = r_old + through_affine(r_new, x, s1, t1)
        else:
            s1, t1, a1, pooled, w = parts
            r = z_plus(pooled, w, None, r)
            share = torch.where(pooled > 0, r / (4 * pooled), 0.0).repeat_interleave(2, 2).repeat_interleave(2, 3)
            r = through_affine(a1 * share, x, s1, t1)
    before_pool = torch.zeros_like(stem).flatten(2)
    before_pool.scatter_add_(2, winners.flatten(2), r.flatten(2))
    r = before_pool.reshape(stem.shape)
    ones = torch.ones_like(f.conv0.weight)
    z = F.conv2d(torch.ones_like(image), ones, stride=2, padding=3)
    out = F.conv_transpose2d(r / z, ones, stride=2, padding=3, output_padding=1)
    return out.sum(1)[0]


@pytest.mark.parametrize("seed", range(4))
def test_zennit_on_the_canonical_form_equals_the_rules_written_out(seed: int) -> None:
    network = tiny().double()
    image = films(1, 32, seed).double()
    found = attribute_relevance(network, image)
    expected = replica(network, image).numpy()
    assert np.abs(found.maps[0] - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("architecture", ["densenet-small", "densenet121"])
def test_books_balance_and_precision_does_not_matter(preset: str, architecture: str) -> None:
    torch.manual_seed(0)
    network = lively(build_network(architecture, 3))
    inputs = films(2, 64)
    single = attribute_relevance(network, inputs, preset=preset)
    assert single.gap.max() <= 1e-5
    double = attribute_relevance(network.double(), inputs.double(), preset=preset)
    for a, b in zip(single.maps, double.maps, strict=True):
        assert (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()) >= 0.9999


def test_books_notice_relevance_that_vanishes() -> None:
    network = tiny()
    with Attributor(network, "epsilon-plus-flat") as attributor:
        clean = attributor.attribute(films(1, 32)).gap[0]
        # A layer that drops half of what it is given, outside the books.
        relu = next(m for m in attributor._canonical.modules() if isinstance(m, nn.ReLU))
        relu.register_forward_hook(lambda m, i, o: o * 0.5 + (o * 0.5).detach())
        assert attributor.attribute(films(1, 32)).gap[0] > 100 * max(clean, 1e-9)


def test_a_map_does_not_depend_on_its_batch() -> None:
    network = tiny()
    inputs = films(4, 48)
    together = attribute_relevance(network, inputs).maps
    order = [2, 0, 3, 1]
    assert np.allclose(attribute_relevance(network, inputs[order]).maps, together[order], rtol=1e-4, atol=1e-7)
    alone = np.concatenate([attribute_relevance(network, inputs[i : i + 1]).maps for i in range(4)])
    assert np.allclose(alone, together, rtol=1e-4, atol=1e-7)


def test_targets_are_obeyed_and_random_weights_change_the_map() -> None:
    network = tiny()
    inputs = films(2, 48)
    found = attribute_relevance(network, inputs, torch.tensor([0, 2]))
    assert found.targets.tolist() == [0, 2]
    assert np.allclose(found.start, network(inputs)[[0, 1], [0, 2]].numpy(), atol=1e-5)
    torch.manual_seed(99)
    other = lively(
        torchvision.models.DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=6, bn_size=2, num_classes=3),
        5,
    )
    a, b = found.maps[0].ravel(), attribute_relevance(other, inputs, torch.tensor([0, 2])).maps[0].ravel()
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.9


def test_what_cannot_be_attributed_says_so() -> None:
    with pytest.raises(RelevanceError, match="is a ResNet"):
        attribute_relevance(torchvision.models.resnet18(weights=None).eval(), films(1, 64))
    with pytest.raises(RelevanceError, match="evaluation mode"):
        attribute_relevance(tiny().train(), films(1, 64))
    with pytest.raises(UnknownNameError, match="Did you mean 'preset-a-flat'"):
        attribute_relevance(tiny(), films(1, 64), preset="preset-a")


# --- relevance inside text regions


def test_mass_share_and_enrichment_by_hand() -> None:
    relevance = np.zeros((20, 20))
    relevance[2:4, 2:6] = 1.0  # 8 inside
    relevance[10, 10] = 2.0
    relevance[3, 3] = -4.0  # inside, negative
    found = summarise_relevance(relevance, [(2, 2, 6, 4)], generator_for(0), 50)
    assert found.mass_in_text == pytest.approx(7 / 9)
    assert found.signed_share == pytest.approx(3 / 5)
    assert found.area_share == pytest.approx(8 / 400)
    assert found.enrichment == pytest.approx(7 / 9 / 0.02)
    assert found.placebo_high == 0.0
    assert found.placebo_p == pytest.approx(1 / 51)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 20), st.integers(0, 20), st.integers(1, 8), st.integers(1, 8))
def test_inside_plus_outside_is_everything(seed: int, x0: int, y0: int, w: int, h: int) -> None:
    relevance = np.random.default_rng(seed).normal(size=(28, 28))
    box = (x0, y0, x0 + w, y0 + h)
    inside = np.zeros(relevance.shape, bool)
    inside[box[1] : box[3], box[0] : box[2]] = True
    found = summarise_relevance(relevance, [box], generator_for(seed), 20)
    outside = np.clip(relevance[~inside], 0, None).sum() / np.clip(relevance, 0, None).sum()
    assert found.mass_in_text + outside == pytest.approx(1.0)
    again = summarise_relevance(relevance, [box], generator_for(seed), 20)
    assert found == again


def test_placebo_keeps_the_distance_from_the_border() -> None:
    """All relevance sits in a ring 3 px from the border: text and placebo must see it alike."""
    relevance = np.zeros((60, 60))
    relevance[3, 3:57] = relevance[56, 3:57] = relevance[3:57, 3] = relevance[3:57, 56] = 1.0
    found = summarise_relevance(relevance, [(20, 3, 30, 4)], generator_for(1), 200)
    assert found.placebo_low == pytest.approx(found.mass_in_text, rel=0.95)
    assert found.placebo_p > 0.2


def test_null_is_not_significant_too_often() -> None:
    hits = 0
    for seed in range(200):
        relevance = np.random.default_rng(seed).exponential(size=(40, 40))
        hits += (summarise_relevance(relevance, [(3, 2, 12, 6)], generator_for(seed), 99).placebo_p or 1.0) <= 0.05
    assert hits <= 20


def test_edge_cases() -> None:
    relevance = np.ones((10, 10))
    bare = summarise_relevance(relevance, [], generator_for(0))
    assert (bare.mass_in_text, bare.enrichment, bare.placebo_p, bare.area_share) == (None, None, None, 0.0)
    whole = summarise_relevance(relevance, [(0, 0, 10, 10)], generator_for(0))
    assert (whole.mass_in_text, whole.enrichment, whole.placebo_p) == (1.0, 1.0, None)
    negative = summarise_relevance(-relevance, [(0, 0, 2, 2)], generator_for(0))
    assert negative.mass_in_text is None


def test_boxes_are_carried_to_the_map_and_rounded_outwards() -> None:
    regions = [TextRegion(x0=0, y0=10, x1=33, y1=21), TextRegion(x0=639, y0=479, x1=640, y1=480)]
    assert map_boxes(regions, (480, 640), (128, 128)) == ((0, 2, 7, 6), (127, 127, 128, 128))
