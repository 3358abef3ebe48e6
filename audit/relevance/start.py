"""Where relevance starts: the winning output, one that is named, the contrast between two, or each output in turn."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from audit.errors import UsageError, shown_names

WINNER = "winner"


def start_relevance(logits: torch.Tensor, classes: Sequence[str], start: str = WINNER) -> torch.Tensor:
    """Return the relevance of each output that is carried back, for one map an image.

    It is the logit itself: what the sum of a map decomposes. LRP is linear in it, so that the map of a contrast is the
    difference of the two maps.

    Parameters
    ----------
    logits : tensor (n, k)
        Of the images.
    classes : sequence of str
        Names of the outputs.
    start : str
        `winner` (as in the paper), a class, or `A-B` for the logit of A minus that of B.

    Returns
    -------
    tensor (n, 1, k)

    Raises
    ------
    UsageError
        If it names no class.
    """
    return (start_signs(logits, classes, start) * logits)[:, None]


def start_signs(logits: torch.Tensor, classes: Sequence[str], start: str) -> torch.Tensor:
    """Return how much of each output's map stands in the map of a start, (n, k): 1, -1 or 0.

    Raises
    ------
    UsageError
        If the start names no class.
    """
    signs = torch.zeros_like(logits)
    if start == WINNER:
        signs[torch.arange(len(logits)), logits.argmax(dim=1)] = 1.0
        return signs
    for name, sign in parse_start(start, classes).items():
        signs[:, list(classes).index(name)] = sign
    return signs


def start_each(logits: torch.Tensor) -> torch.Tensor:
    """Return the starts (n, k, k) of a map for each output: row i carries the logit of output i back."""
    return torch.diag_embed(logits)


def parse_start(start: str, classes: Sequence[str]) -> dict[str, float]:
    """Return class -> sign of a start other than the winner.

    Raises
    ------
    UsageError
        If it names no class.
    """
    if start in classes:
        return {start: 1.0}
    # Class names may hold hyphens themselves: every place to cut is tried.
    for place, letter in enumerate(start):
        first, second = start[:place], start[place + 1 :]
        if letter == "-" and first in classes and second in classes and first != second:
            return {first: 1.0, second: -1.0}
    raise UsageError(
        f"Relevance can start at `{WINNER}`, at a class, or at a contrast `A-B` of two, found {start!r}. "
        f"The classes are {shown_names(classes)}."
    )
