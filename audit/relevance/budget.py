"""How many images get a heatmap, and what one costs: by layers and gradients next to nothing, by occlusion hundreds of predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from audit.data.bundle_record import OWN_KIND
from audit.data.map_budget import default_maps
from audit.models.bundle import Bundle
from audit.models.identity import example_inputs
from audit.models.torch_classifier import one_thread
from audit.relevance.images import network_of
from audit.relevance.presets import OCCLUSION
from audit.relevance.surrogates import PATCHES, gradient_x_input

OCCLUSION_COST = 2 * (PATCHES**2 + 1)
"""Predictions that one image's maps take by occlusion: as it is, and with its text inpainted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MapBudget:
    """How many images get a heatmap."""

    n_images: int
    """Images, at most."""
    cost: int = 0
    """Predictions that the maps of one take by occlusion; 0 where they come from layers or gradients."""


def plan_maps(bundle: Bundle, preset: str, asked: int | Literal["auto"], *, n_predictions: int) -> MapBudget:
    """Return how many images get a heatmap: as many as were asked for, else as many as the audit can afford.

    Parameters
    ----------
    bundle : Bundle
        The classifier.
    preset : str
        See `audit.relevance.presets`.
    asked : int or "auto"
        The setting.
    n_predictions : int
        Predictions of the audit, at most.
    """
    if bundle.is_recorded or asked == 0:
        return MapBudget(n_images=0)
    cost = OCCLUSION_COST if preset == OCCLUSION or not _gives_gradients(bundle) else 0
    return MapBudget(n_images=default_maps(n_predictions, cost) if asked == "auto" else asked, cost=cost)


def _gives_gradients(bundle: Bundle) -> bool:
    network = network_of(bundle)
    if network is None or bundle.kind == OWN_KIND:
        return network is not None
    inputs = example_inputs(bundle.preprocessing)[:1]
    try:
        with one_thread():
            gradient_x_input(network, inputs, lambda logits: torch.ones_like(logits)[:, None])
    except (RuntimeError, TypeError, NotImplementedError):  # as a program without a backward pass says it
        return False
    return True
