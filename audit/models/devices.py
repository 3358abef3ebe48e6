"""Devices: where a network's logits are computed. Its layers for heatmaps, and its features, stay on the CPU."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn

from audit.errors import ModelError, UsageError, shown_string
from audit.models.bundle import Bundle
from audit.models.classifier import Ability, Classifier, StandIn
from audit.store.numbers import counted

USUAL_BATCH = 16
"""Inputs of one image that pass through the network together on the CPU."""
DEVICE_BATCH = 256
"""Inputs of several images that do so on another device, to begin with."""


class OutOfDeviceMemoryError(ModelError):
    """A batch does not fit into a device's memory; a smaller one may."""


class DeviceClassifier(StandIn):
    """A torch classifier whose logits come from a copy of its network on another device.

    Parameters
    ----------
    classifier : Classifier
        The network on the CPU.
    device : torch.device
        Where the copy computes, in single precision: neither TF32 nor half precision.
    """

    def __init__(self, classifier: Classifier, device: torch.device) -> None:
        super().__init__(classifier)
        self._device = device
        network = classifier.ability("network")
        assert isinstance(network, nn.Module)
        with _memory(device, 0):
            self._copy = copy.deepcopy(network).to(device)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        # The fastest algorithm of the moment would give other digits in the next run.
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits (n, k) for prepared images (n, c, h, w).

        Raises
        ------
        OutOfDeviceMemoryError
            If they do not fit into the device's memory together.
        """
        with torch.inference_mode(), _memory(self._device, len(inputs)):
            return torch.as_tensor(self._copy(inputs.to(self._device))).cpu()

    def ability(self, name: Ability) -> Any | None:
        """Return the device, or an ability of the network on the CPU."""
        return self._device if name == "device" else super().ability(name)


@contextmanager
def _memory(device: torch.device, n_images: int) -> Iterator[None]:
    """Turn a device's complaint about its memory into one of the house."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        if device.type == "cuda":
            torch.cuda.empty_cache()
        what = counted(n_images, "image") + " at a time" if n_images else "the network"
        raise OutOfDeviceMemoryError(
            f"The memory of the device {device} does not suffice for {what}. Close other programs that use it, or repeat the "
            "command with --device cpu. The results so far are kept."
        ) from error


def on_device(bundle: Bundle, asked: str) -> Bundle:
    """Return a network that computes its logits on the device that was asked for.

    Parameters
    ----------
    bundle : Bundle
        The network.
    asked : str
        auto (a CUDA device where there is one), cpu, cuda, cuda:N or mps.

    Raises
    ------
    UsageError
        If there is no such device, or the classifier is no torch network.
    """
    device = find_device(asked)
    is_network = isinstance(bundle.classifier.ability("network"), nn.Module)
    if device.type == "cpu" or (asked == "auto" and not is_network):
        return bundle
    if not is_network:
        raise UsageError(
            f"--device {asked} chooses where a torch network computes, but {bundle.name} ({bundle.architecture}) is none and answers "
            "in its own way. Omit --device."
        )
    return replace(bundle, classifier=DeviceClassifier(bundle.classifier, device))


def find_device(asked: str) -> torch.device:
    """Return a device by its name, if this machine has it.

    Raises
    ------
    UsageError
        If the name is none, or the machine has no such device.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", asked):
        raise UsageError(f"--device must be auto, cpu, cuda, cuda:N or mps, found {shown_string(asked)}.")
    n_cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto":
        return torch.device("cuda" if n_cards else "cpu")
    device = torch.device(asked)
    if device.type == "cuda" and (device.index or 0) >= n_cards:
        found = "none" if not n_cards else f"{n_cards}, numbered from 0"
        raise UsageError(
            f"--device {asked} needs a CUDA device that torch {torch.__version__} can use on this machine, found {found}. Use --device cpu."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"--device mps needs a Mac whose GPU torch {torch.__version__} can use. Use --device cpu.")
    return device


def device_of(bundle: Bundle) -> torch.device:
    """Return where a network's logits are computed."""
    device = bundle.classifier.ability("device")
    return device if isinstance(device, torch.device) else torch.device("cpu")


def device_name(bundle: Bundle) -> str:
    """Return the device that computes a network's logits, and what card it is."""
    device = device_of(bundle)
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def batch_of(bundle: Bundle, asked: int | Literal["auto"]) -> int:
    """Return how many inputs pass through the network together, as far as the memory suffices."""
    if asked != "auto":
        return asked
    return USUAL_BATCH if device_of(bundle).type == "cpu" else DEVICE_BATCH
