"""One stored image and the logits it had: a bundle that answers otherwise today is not the network that was measured."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch

from audit.errors import ModelError
from audit.models.classifier import Classifier
from audit.models.foreign import RefusedError
from audit.models.identity import example_image
from audit.models.preprocessing import Preprocessing
from audit.models.tensors import read_tensors

# Other versions and processors add up in another order: logits of networks then differ in the sixth digit.
TOLERANCE = 1e-3
_USUAL_PX = (160, 128)


def make_canary(classifier: Classifier) -> bytes:
    """Return a safetensors file with an image (h, w) and the classifier's logits (k) for it.

    The image is the same for every bundle of that size.

    Raises
    ------
    ModelError
        If the logits are not one for each class.
    """
    image = example_image(_size(classifier.wants))
    logits = _logits(classifier, torch.from_numpy(image))
    if tuple(logits.shape) != (len(classifier.outputs.names),):
        raise ModelError(
            f"The network gives {logits.numel()} logits for one image, but {len(classifier.outputs.names)} classes are named "
            f"({', '.join(classifier.outputs.names[:20])}). Name one class per output."
        )
    return safetensors.torch.save({"image": torch.from_numpy(image), "logits": logits})


def check_canary(path: Path, classifier: Classifier) -> None:
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
    size = _size(classifier.wants)
    if image.dtype != torch.uint8 or tuple(image.shape) != size or not before.is_floating_point():
        raise ModelError(
            f"The canary {path} does not fit its bundle: a grey image of {size} pixels in 8 bits and its logits "
            f"are expected, found {tuple(image.shape)} of {image.dtype} and {before.dtype}. Copy the bundle again."
        )
    now = _logits(classifier, image)
    if now.shape != before.shape or not torch.allclose(now, before.float(), rtol=TOLERANCE, atol=TOLERANCE):
        raise ModelError(
            f"The bundle {path.parent} gives {_words(now)} for its canary image, but gave {_words(before)} when it was "
            "written. Its architecture or preprocessing was changed, or the installed versions compute differently; results "
            "would not be those of the network that was trained."
        )


def _size(wants: Preprocessing) -> tuple[int, int]:
    return wants.size_px or _USUAL_PX


def _logits(classifier: Classifier, image: torch.Tensor) -> torch.Tensor:
    wants = classifier.wants
    try:
        return classifier.logits(wants.prepare(image.numpy())[None])[0].float().clone()
    except RuntimeError as error:
        first = next(iter(str(error).splitlines()), "")
        raise ModelError(
            f"The network does not take an input of {wants.channels} channels and {image.shape[1]} x {image.shape[0]} pixels ({first}). "
            "Correct its preprocessing."
        ) from error


def _words(logits: torch.Tensor) -> str:
    return "(" + ", ".join(f"{v:.4g}" for v in logits[:4].tolist()) + (", ...)" if len(logits) > 4 else ")")
