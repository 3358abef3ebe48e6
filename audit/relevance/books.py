"""Relevance that does not reach the image: absorbed by biases, BatchNorm shifts, stabilisers and dead units."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(kw_only=True)
class Books:
    """What the layers keep on the way of one image; each entry a sum of what the rules give to one kind of thing.

    With the relevance that arrives at the pixels they add up to the relevance that started. Nothing is computed as the
    remainder, so that a rule which loses relevance is seen.
    """

    bias: torch.Tensor | float = 0.0
    """Biases of convolutions (with BatchNorms merged into them) and of dense layers."""
    shift: torch.Tensor | float = 0.0
    """Shifts of BatchNorms that have a rule of their own."""
    stabiliser: torch.Tensor | float = 0.0
    """Stabilisers of the rules, epsilon among them, and units without any input that a rule could hand to."""

    def keep(self, bias: torch.Tensor, stabiliser: torch.Tensor) -> None:
        """Enter what one layer kept."""
        self.bias += bias
        self.stabiliser += stabiliser
