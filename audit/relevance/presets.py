"""Presets: which rule each kind of layer gets, said once for every implementation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from audit.errors import UnknownNameError

STABILISER = 1e-9
"""Small enough to absorb nothing that matters, large enough that an exact zero does not divide."""
PROPORTION = 1e-12
"""The same for the z-rules of BatchNorms, means and sums: what arrives there is proportional to what is divided by, so that
next to nothing is needed, and more would cost small activations their relevance."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Rules of layer-wise relevance propagation."""

    name: str
    """What it is called on the command line and in reports."""
    convolution: Literal["alpha1-beta0", "alpha2-beta1", "epsilon"]
    """Rule of the convolutions but the first."""
    first: Literal["flat", "epsilon"]
    """Rule of the layer that reads the pixels."""
    epsilon: float
    """Stabiliser of the epsilon rule, of dense layers and wherever else it is used."""
    merged: bool
    """Whether a BatchNorm that follows a convolution becomes part of it; else it has its own z-rule."""
    about: str
    """One sentence for readers."""


_ALL = (
    Preset(
        name="epsilon-plus-flat",
        convolution="alpha1-beta0",
        first="flat",
        epsilon=1e-6,
        merged=True,
        about="alpha1-beta0 on convolutions, an epsilon on dense layers that absorbs nothing of small logits, flat on the first layer.",
    ),
    Preset(
        # iNNvestigate's LRP-PresetAFlat, which the paper used, with the z-rule for every BatchNorm (its version 1.0.8).
        name="preset-a-flat",
        convolution="alpha1-beta0",
        first="flat",
        epsilon=0.1,
        merged=False,
        about="The paper's preset, as in iNNvestigate's LRP-PresetAFlat: epsilon 0.1 on dense layers, and the z-rule for BatchNorm.",
    ),
    Preset(
        name="epsilon-alpha2-beta1-flat",
        convolution="alpha2-beta1",
        first="flat",
        epsilon=1e-6,
        merged=True,
        about="alpha2-beta1 on convolutions: evidence against an output has negative relevance.",
    ),
    Preset(
        name="epsilon",
        convolution="epsilon",
        first="epsilon",
        epsilon=1e-6,
        merged=True,
        about="Epsilon on every layer; nearly the same as gradient times input.",
    ),
)
PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})
DEFAULT_PRESET = "epsilon-plus-flat"


OCCLUSION = "occlusion"
"""The method that needs nothing but answers."""
_SURROGATES: Mapping[str, str] = {
    "gradient-x-input": "the gradient times the input, which is not LRP",
    OCCLUSION: "occlusion of one patch after another, which is not LRP",
}
"""Methods for networks that LRP has no rules for (`audit.relevance.surrogates`), in words."""


def about_method(name: str) -> str:
    """Say in words how maps are made by a preset, or by a method that stands in for LRP.

    Raises
    ------
    UnknownNameError
        If no preset and no method has that name.
    """
    if name in _SURROGATES:
        return _SURROGATES[name]
    return f"layer-wise relevance propagation (LRP, preset {find_preset(name).name})"


def find_preset(name: str) -> Preset:
    """Return a preset.

    Raises
    ------
    UnknownNameError
        If no preset has that name.
    """
    if name not in PRESETS:
        raise UnknownNameError("LRP preset", name, PRESETS)
    return PRESETS[name]
