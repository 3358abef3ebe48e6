"""What the numbers that a network answers mean: logits or probabilities, of one output or several, checked against what is declared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from audit.data.tasks import Task
from audit.errors import ModelError, ModelUsageError, UsageError

Answers = Literal["logits", "probabilities"]
"""What the numbers of an output are."""
SMALLEST = 1e-7
"""Probabilities are kept this far from 0 and 1 before their logarithm is taken; single precision distinguishes no less from 1."""

_SUM_TOLERANCE = 1e-3


def answered(network: nn.Module, example: torch.Tensor, what: str) -> torch.Tensor:
    """Return what a network answers to prepared images, as a matrix (n, outputs).

    Raises
    ------
    ModelError
        If it cannot be called with them, or answers something else.
    """
    with torch.inference_mode():
        found = tensor_of(called(network, example, what))
    if not isinstance(found, torch.Tensor) or found.ndim not in (1, 2) or len(found) != len(example):
        shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise ModelError(
            f"The network {what} must answer {len(example)} images with one row each, found {shape}. An image classifier with a tensor "
            "(n, outputs), or an object with such `logits`, is expected."
        )
    return found.reshape(len(example), -1)


def check_answers(
    values: torch.Tensor,
    n_classes: int,
    answers: Answers,
    what: str,
    task: Task = "single-label",
    *,
    at_door: bool = True,
) -> None:
    """Hold answers (n, outputs) against what is declared of them.

    Parameters
    ----------
    values : tensor (n, outputs)
        The answers.
    n_classes, answers, what, task
        What is declared, and the network's name.
    at_door : bool
        Whether these are the first answers, which show whether the declaration is right. Later, two independent findings of one image may
        sum to 1 by chance.

    Raises
    ------
    ModelError
        If there are other outputs than classes, they are not finite, or they are probabilities called logits or the reverse.
    """
    n_outputs = values.shape[1]
    if n_outputs != n_classes and (n_outputs, n_classes) != (1, 2):
        two = (
            " A network of one output (a sigmoid) has two classes: that of a low output, then that of a high one."
            if n_outputs == 1
            else ""
        )
        raise ModelUsageError(
            f"The network {what} has {n_outputs} output{'' if n_outputs == 1 else 's'}, but {n_classes} classes are named.{two} Name one "
            "class per output with --classes a,b,c, in the order of the outputs."
        )
    if not bool(torch.isfinite(values).all()):
        bad = [i + 1 for i in range(n_outputs) if not bool(torch.isfinite(values[:, i]).all())]
        which = "outputs" if len(bad) == n_outputs else f"outputs ({', '.join(map(str, bad[:20]))} of {n_outputs})"
        raise ModelError(
            f"The network {what} gives {which} that are not finite. Its weights or its declared input are wrong."
        )
    inside = bool(((values >= 0) & (values <= 1)).all())
    sums = values.sum(1)
    whole = n_outputs > 1 and bool(((sums - 1).abs() < _SUM_TOLERANCE).all())
    if task == "multi-label":
        if answers == "probabilities" and not inside:
            raise ModelUsageError(
                f"The network {what} is declared to give probabilities, but gives values from {float(values.min()):.3g} to "
                f"{float(values.max()):.3g}. Use --answers logits."
            )
        if at_door and inside and whole:
            raise ModelUsageError(
                f"The network {what} is declared to be multi-label, but its outputs lie between 0 and 1 and sum to 1: they are those of a "
                "softmax. Use --task single-label."
            )
        return
    if answers == "probabilities" and not (inside and (whole or n_outputs == 1)):
        found = (
            f"rows that sum to {float(sums[0]):.3g}"
            if inside
            else f"values from {float(values.min()):.3g} to {float(values.max()):.3g}"
        )
        raise ModelUsageError(
            f"The network {what} is declared to give probabilities, but gives {found}. For independent sigmoids, use --task multi-label; "
            "for logits, --answers logits."
        )
    if at_door and answers == "logits" and inside and whole:
        raise ModelUsageError(
            f"The network {what} is declared to give logits, but its outputs lie between 0 and 1 and sum to 1: they are probabilities. "
            "Use --answers probabilities."
        )


def find_answers(
    values: torch.Tensor, asked: Answers | None, what: str, task: Task = "single-label"
) -> tuple[Answers, tuple[str, ...]]:
    """Return what the numbers of answers (n, outputs) are, and what was assumed, in words.

    Raises
    ------
    UsageError
        If one output, or those of a multi-label network, could be either.
    """
    if asked is not None:
        return asked, ()
    inside = bool(((values >= 0) & (values <= 1)).all())
    if values.shape[1] == 1:
        if inside:
            raise UsageError(
                f"The single output of {what} lies between 0 and 1 ({float(values[0, 0]):.3g}), so it may be a probability or a logit. Use "
                "--answers probabilities or --answers logits."
            )
        return "logits", ()
    if task == "multi-label":
        if inside:
            raise UsageError(
                f"All outputs of {what} lie between 0 and 1, so they may be probabilities or logits. Use --answers probabilities or "
                "--answers logits."
            )
        return "logits", ()
    whole = inside and bool(((values.sum(1) - 1).abs() < _SUM_TOLERANCE).all())
    return ("probabilities", ("outputs are probabilities, as they sum to 1",)) if whole else ("logits", ())


def as_logits(values: torch.Tensor, answers: Answers, task: Task | None = "single-label") -> torch.Tensor:
    """Return logits (n, k) of answers (n, outputs); of one output, those of both classes."""
    found = log_odds(values, apart=task == "multi-label") if answers == "probabilities" else values
    return (torch.cat([-found / 2, found / 2], 1) if found.shape[1] == 1 else found).float()


def log_odds(values: torch.Tensor, *, apart: bool = False) -> torch.Tensor:
    """Return logits whose softmax gives probabilities (n, k) again; of one column, or of findings apart, their log odds."""
    kept = values.clamp(SMALLEST, 1 - SMALLEST)
    odds = apart or values.shape[1] == 1
    return torch.log(kept) - torch.log1p(-kept) if odds else torch.log(values.clamp(min=SMALLEST))


def called(network: nn.Module, example: torch.Tensor, what: str) -> Any:
    """Return whatever a network returns for prepared images.

    Parameters
    ----------
    network : nn.Module
        As its owner built it.
    example : tensor (n, c, h, w)
        Prepared images.
    what : str
        Its name, for messages.

    Raises
    ------
    ModelError
        If it does not take them.
    """
    try:
        return network(example)
    except Exception as error:  # anybody's forward may raise anything
        told = " ".join(str(error).split())[:300]
        raise ModelUsageError(
            f"The network {what} does not take an input of {example.shape[1]} channels and {example.shape[3]} x {example.shape[2]} "
            f"pixels: {told} Declare its input with --channels and --input-px."
        ) from error


def tensor_of(found: Any) -> Any:
    """Return the numbers in what a network returned; anything that holds none is returned as it is.

    Parameters
    ----------
    found : object
        A tensor, an object or mapping with `logits`, or a sequence of one tensor.
    """
    if isinstance(found, Mapping) and "logits" in found:
        return found["logits"]
    if not isinstance(found, torch.Tensor) and hasattr(found, "logits"):
        return found.logits
    if isinstance(found, (tuple, list)) and len(found) == 1:
        return found[0]
    # One output without an axis of its own.
    return found.reshape(-1, 1) if isinstance(found, torch.Tensor) and found.ndim == 1 else found
