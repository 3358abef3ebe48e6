"""One stored image and the logits it had: a bundle that answers otherwise today is not the network that was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

from audit.errors import ModelError
from audit.models.foreign import RefusedError
from audit.models.preprocessing import Preprocessing
from audit.models.tensors import read_tensors
from audit.randomness import generator_for

# Other versions and processors add up in another order: logits of networks then differ in the sixth digit.
TOLERANCE = 1e-3


def make_canary(network: nn.Module, preprocessing: Preprocessing) -> bytes:
    """Return a safetensors file with an image (h, w) and the network's logits (k) for it.

    The image is noise over a soft disc, the same for every bundle of that size: it needs no radiograph, and moves every layer.
    """
    height, width = preprocessing.size_px
    yy, xx = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    noise = generator_for(0, "canary").normal(0, 25, (height, width))
    image = np.clip(160 * np.exp(-(xx**2 + yy**2)) + 40 + noise, 0, 255).astype(np.uint8)
    return safetensors.torch.save(
        {"image": torch.from_numpy(image), "logits": _logits(network, torch.from_numpy(image), preprocessing)}
    )


def check_canary(path: Path, network: nn.Module, preprocessing: Preprocessing) -> None:
    """Predict the stored image again; a bundle without a canary is let pass.

    Raises
    ------
    ModelError
        If the file is damaged or the logits differ.
    """
    if not path.is_file():
        return
    try:
        stored = read_tensors(path)
        image, before = stored["image"], stored["logits"]
    except (OSError, KeyError, RefusedError) as error:
        raise ModelError(f"The canary {path} cannot be read: {error}. Copy the bundle again.") from error
    if image.dtype != torch.uint8 or tuple(image.shape) != preprocessing.size_px or not before.is_floating_point():
        raise ModelError(
            f"The canary {path} does not fit its bundle: a grey image of {preprocessing.size_px} pixels in 8 bits and its logits "
            f"are expected, found {tuple(image.shape)} of {image.dtype} and {before.dtype}. Copy the bundle again."
        )
    now = _logits(network, image, preprocessing)
    if now.shape != before.shape or not torch.allclose(now, before.float(), rtol=TOLERANCE, atol=TOLERANCE):
        raise ModelError(
            f"The bundle {path.parent} gives {_words(now)} for its canary image, but gave {_words(before)} when it was "
            "written. Its architecture or preprocessing was changed, or the installed versions compute differently; results "
            "would not be those of the network that was trained."
        )


def _logits(network: nn.Module, image: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    was_training = network.training
    try:
        with torch.inference_mode():
            device = next(network.parameters()).device
            inputs = preprocessing.normalise(image.numpy())[None].to(device)
            logits: torch.Tensor = network.eval()(inputs)[0].float().cpu()
    finally:
        network.train(was_training)
    return logits.clone()


def _words(logits: torch.Tensor) -> str:
    return "(" + ", ".join(f"{v:.4g}" for v in logits[:4].tolist()) + (", ...)" if len(logits) > 4 else ")")
