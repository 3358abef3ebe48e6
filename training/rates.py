"""Which parameters a phase trains, and how fast: the rate falls by dense block (Bassi & Attux 2021, section 7.2)."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from audit.training.recipes import Phase, Step

_BLOCK = re.compile(r"^features\.(?:denseblock|transition)(\d+)\.")


def parameter_groups(network: nn.Module, phase: Phase) -> list[dict[str, Any]]:
    """Return the parameters that a phase trains, each depth with its learning rate.

    The output layer has `phase.rate`; each dense block further from it (with its transition; the last norm
    belongs to the last block, the stem to the first) has the rate of the one before times the factor.
    """
    if phase.trains == "head":
        return [{"params": list(network.get_submodule("classifier").parameters()), "lr": phase.rate}]
    blocks = [int(found.group(1)) for name, _ in network.named_parameters() if (found := _BLOCK.match(name))]
    n_blocks = max(blocks, default=0)
    groups: dict[int, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        found = _BLOCK.match(name)
        if found:
            depth = n_blocks + 1 - int(found.group(1))
        elif name.startswith("classifier."):
            depth = 0
        else:
            depth = n_blocks if name.startswith(("features.conv0.", "features.norm0.")) else 1
        groups.setdefault(depth, []).append(parameter)
    return [
        {"params": groups[depth], "lr": phase.rate * phase.rate_factor_per_block**depth} for depth in sorted(groups)
    ]


def make_optimiser(network: nn.Module, step: Step, phase: Phase) -> torch.optim.Optimizer:
    """Return the optimiser of a phase."""
    groups = parameter_groups(network, phase)
    if step.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=step.momentum, weight_decay=phase.weight_decay)
    return torch.optim.AdamW(groups, weight_decay=phase.weight_decay)
