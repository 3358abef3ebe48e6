"""A preset as zennit's composite, for canonical networks of any architecture."""

from __future__ import annotations

from typing import Any

from torch import nn
from zennit.composites import SpecialFirstLayerMapComposite
from zennit.rules import AlphaBeta, Epsilon, Flat, Norm, Pass, ZPlus
from zennit.types import Activation

from audit.relevance.layers import Affine, Mean, Standardise
from audit.relevance.presets import PROPORTION, STABILISER, Preset


def make_composite(preset: Preset) -> Any:
    """Return zennit's composite for a preset: what each kind of module of a `CanonicalNetwork` gets."""
    epsilon = Epsilon(epsilon=preset.epsilon)
    convolution = {
        "alpha1-beta0": ZPlus(stabilizer=STABILISER),
        "alpha2-beta1": AlphaBeta(alpha=2.0, beta=1.0, stabilizer=STABILISER),
        "epsilon": epsilon,
    }[preset.convolution]
    return SpecialFirstLayerMapComposite(
        layer_map=[
            (Activation, Pass()),
            # z-rule: the share of the input, s x / (s x + t); what belongs to the shift t is kept and booked.
            ((Affine, Standardise), Epsilon(epsilon=PROPORTION)),
            ((nn.AvgPool2d, nn.AdaptiveAvgPool2d, Mean), Norm(stabilizer=PROPORTION)),
            (nn.Conv2d, convolution),
            (nn.Linear, epsilon),
        ],
        first_map=[(nn.Conv2d, Flat(stabilizer=STABILISER) if preset.first == "flat" else epsilon)],
    )
