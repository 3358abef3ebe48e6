"""The networks of the paper as data: which steps they go through, and which output neurons they keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

CLASSES = ("normal", "pneumonia", "covid")
# The 14 findings of ChestX-ray14 in the order of CheXNet's outputs, and the paper's fifteenth label.
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia", "No Finding",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkPlan:
    """Which steps a network goes through (Bassi & Attux 2021, table 1)."""

    findings_step: bool
    """Trained on the 15 findings between ImageNet and the classes (twice transfer learning)?"""
    kept: Mapping[str, str]
    """Finding -> class for the output neurons that are kept."""


NETWORKS: Mapping[str, NetworkPlan] = MappingProxyType(
    {
        "A": NetworkPlan(findings_step=False, kept={}),
        "B": NetworkPlan(findings_step=True, kept={}),
        "C": NetworkPlan(findings_step=True, kept={"No Finding": "normal", "Pneumonia": "pneumonia"}),
    }
)
