"""Presets: which rule each kind of layer gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from torch import nn
from zennit.composites import SpecialFirstLayerMapComposite
from zennit.rules import Epsilon, Flat, Norm, Pass, ZPlus

from audit.errors import UnknownNameError
from audit.relevance.canonical import Affine

# Small enough to absorb nothing that matters, large enough that an exact zero does not divide.
_STABILISER = 1e-9


def _composite(epsilon: float) -> SpecialFirstLayerMapComposite:
    """Epsilon on the dense layer, alpha1-beta0 on convolutions, flat on the first, the z-rule on BatchNorm."""
    return SpecialFirstLayerMapComposite(
        layer_map=[
            (nn.ReLU, Pass()),
            # z-rule: the share of the input, s x / (s x + t); what belongs to the shift t is absorbed and booked.
            (Affine, Epsilon(epsilon=_STABILISER)),
            ((nn.AvgPool2d, nn.AdaptiveAvgPool2d), Norm(stabilizer=_STABILISER)),
            (nn.Conv2d, ZPlus(stabilizer=_STABILISER)),
            (nn.Linear, Epsilon(epsilon=epsilon)),
        ],
        first_map=[(nn.Conv2d, Flat(stabilizer=_STABILISER))],
    )


PRESETS: Mapping[str, Callable[[], Any]] = MappingProxyType(
    {
        # The measure: an epsilon that takes nothing from images with small logits.
        "epsilon-plus-flat": lambda: _composite(1e-6),
        # iNNvestigate's LRP-PresetAFlat in its documented sense, which the paper used: epsilon 0.1 on dense layers.
        "preset-a-flat": lambda: _composite(0.1),
    }
)


def make_composite(preset: str) -> Any:
    """Return zennit's composite for a preset.

    Raises
    ------
    UnknownNameError
        If no preset has that name.
    """
    if preset not in PRESETS:
        raise UnknownNameError("LRP preset", preset, PRESETS)
    return PRESETS[preset]()
