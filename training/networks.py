"""The networks of the paper as data: which steps they go through, and which output neurons they keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

CLASSES = ("normal", "pneumonia", "covid")
# The 14 findings of ChestX-ray14 in the order of CheXNet's outputs, and the paper's fifteenth label.
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia", "No Finding",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkPlan:
    """How a network comes about (Bassi & Attux 2021, table 1)."""

    architecture: str
    """The paper's; a recipe may ask for another."""
    start: Literal["imagenet", "checkpoint"]
    """Where the backbone starts: ImageNet's weights, or a bundle trained on the findings elsewhere."""
    findings: tuple[str, ...]
    """Outputs of the findings step that this chain trains itself; empty where there is none."""
    classes: bool
    """Does the chain end with the classes (else with the findings)?"""
    kept: Mapping[str, str]
    """Finding -> class for the output neurons that are kept."""


def _plan(
    architecture: str,
    start: Literal["imagenet", "checkpoint"],
    findings: tuple[str, ...] = (),
    kept: Mapping[str, str] = MappingProxyType({}),
    *,
    classes: bool = True,
) -> NetworkPlan:
    return NetworkPlan(architecture=architecture, start=start, findings=findings, classes=classes, kept=kept)


NETWORKS: Mapping[str, NetworkPlan] = MappingProxyType(
    {
        "A": _plan("densenet201", "imagenet"),
        "B": _plan("densenet201", "imagenet", FINDINGS),
        "C": _plan("densenet201", "imagenet", FINDINGS, {"No Finding": "normal", "Pneumonia": "pneumonia"}),
        "D": _plan("densenet121", "checkpoint"),
        "E": _plan("densenet121", "checkpoint", (), {"Pneumonia": "pneumonia"}),
        # What D and E start from, for those who train it themselves: 14 outputs, no neuron for "No Finding".
        "chexnet": _plan("densenet121", "imagenet", FINDINGS[:14], classes=False),
    }
)
