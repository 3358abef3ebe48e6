"""Gradient x input and occlusion against Captum's."""

from __future__ import annotations

import warnings

import pytest
import torch

from audit.models.networks import build_network
from audit.relevance.start import start_each
from audit.relevance.surrogates import PATCHES, gradient_x_input, occlusion

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what its imports warn of is not ours
    from captum.attr import InputXGradient, Occlusion


@pytest.fixture
def case() -> tuple[torch.nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    network = build_network("densenet-small", 3).eval().requires_grad_(False)
    return network, torch.randn(2, 3, 4 * PATCHES, 4 * PATCHES)


def test_gradient_x_input_is_captums(case: tuple[torch.nn.Module, torch.Tensor]) -> None:
    network, inputs = case
    found, logits = gradient_x_input(network, inputs, start_each)
    for target in range(3):
        # A logit below zero is attributed with its sign turned: relevance speaks for what the start holds.
        sign = logits[:, target].sign()[:, None, None]
        theirs = InputXGradient(network).attribute(inputs.clone().requires_grad_(True), target=target).sum(1)
        assert torch.allclose(found[:, target], sign * theirs.detach(), atol=1e-5)


def test_occlusion_is_captums(case: tuple[torch.nn.Module, torch.Tensor]) -> None:
    network, inputs = case
    found, logits = occlusion(network, inputs, start_each)
    side = inputs.shape[-1] // PATCHES
    for number, image in enumerate(inputs):
        mean = image.mean((1, 2), keepdim=True).expand_as(image)[None]
        for target in range(3):
            theirs = Occlusion(network).attribute(
                image[None],
                sliding_window_shapes=(3, side, side),
                strides=(3, side, side),
                baselines=mean,
                target=target,
                perturbations_per_eval=64,
            )
            # Captum gives each pixel its patch's whole loss; here it is shared out, so that a region's sum is its loss.
            expected = logits[number, target].sign() * theirs[0, 0] / side**2
            assert torch.allclose(found[number, target], expected, atol=1e-5)
