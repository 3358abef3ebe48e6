"""What a classifier is recognised by: its weights or files, and what it answers to images that are the same everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from audit.errors import ModelError
from audit.files import file_sha256
from audit.models.classifier import Classifier
from audit.models.preprocessing import Preprocessing
from audit.randomness import generator_for

_USUAL_PX = (160, 128)
_DIGITS = 3
"""Of logarithms of probabilities; other processors round them differently in the sixth digit."""


def example_image(size_px: tuple[int, int], name: str = "canary") -> NDArray[np.uint8]:
    """Return noise over a soft disc (h, w), the same for every size and name: it needs no radiograph, and moves every layer."""
    height, width = size_px
    yy, xx = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    noise = generator_for(0, name).normal(0, 25, (height, width))
    image: NDArray[np.uint8] = np.clip(160 * np.exp(-(xx**2 + yy**2)) + 40 + noise, 0, 255).astype(np.uint8)
    return image


def example_inputs(wants: Preprocessing, n: int = 2) -> torch.Tensor:
    """Return n different example images, prepared (n, c, h, w); of another size than the input where images are scaled."""
    size = wants.size_px if wants.size_px is not None and wants.fit == "none" else _USUAL_PX
    return torch.stack([wants.prepare(_example(size, number)) for number in range(n)])


def _example(size_px: tuple[int, int], number: int) -> NDArray[np.uint8]:
    """Return the example image of a number, more of them darker and turned, so that they move a classifier in other ways."""
    image = example_image(size_px, f"canary {number}")
    darker = image >> np.uint8(number // 2)
    return np.ascontiguousarray(255 - darker if number % 2 else darker)


def state_sha256(state: Mapping[str, object]) -> str:
    """Return the SHA-256 of a state dictionary: names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name}\x1f".encode())
        if isinstance(value, torch.Tensor):
            digest.update(f"{value.dtype}\x1f{tuple(value.shape)}\x1f".encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()


def files_sha256(files: Mapping[str, Path]) -> str:
    """Return the SHA-256 over several files and their names."""
    parts = [f"{name}\x1f{file_sha256(path)}" for name, path in sorted(files.items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def identified(classifier: Classifier, content: str, what: str, *, n_examples: int = 2) -> str:
    """Return the SHA-256 of a classifier's content and of its answers, so that changed code is noticed like changed weights.

    Parameters
    ----------
    classifier : Classifier
        What answers.
    content : str
        What is known of it without asking it.
    what : str
        Its name, for messages.
    n_examples : int
        Images that it is asked; more where the content says little.

    Raises
    ------
    ModelError
        If it answers the same images differently a second time.
    """
    inputs = example_inputs(classifier.wants, n_examples)
    first, second = (torch.log_softmax(classifier.logits(inputs).double(), 1).numpy() for _ in range(2))
    if not np.allclose(first, second, atol=10**-_DIGITS):
        shares = [np.exp(row[0]).round(3).tolist() for row in (first, second)]
        raise ModelError(
            f"{what} gives different answers to the same image, {shares[0]} and {shares[1]}. Only a classifier without random parts can be "
            "audited; switch off dropout and augmentation at test time."
        )
    told = np.round(first, _DIGITS) + 0.0
    return hashlib.sha256(f"{content}\x1f{told.tolist()}".encode()).hexdigest()
