"""Programs of torch: torch.export's .pt2 and TorchScript. Opening either can run what the file says, so both need the user's trust."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from audit.errors import ModelError, ModelUsageError, UsageError
from audit.files import file_sha256, why_unreadable
from audit.models.factories import open_module
from audit.models.foreign import shown
from audit.models.requests import ModelRequest, OpenedModel


def open_exported(request: ModelRequest) -> OpenedModel:
    """Open a program of torch.export."""
    path = _trusted(request, "torch evaluates expressions of a .pt2 file and may unpickle its constants")
    try:
        program = torch.export.load(path)
        network = program.module()
    except Exception as error:  # a damaged file raises whatever its reader meets
        raise ModelError(f"torch.export cannot open {path}: {' '.join(shown(str(error)).split())}") from error
    inputs = [n.meta["val"].shape for n in program.graph.nodes if n.name in program.graph_signature.user_inputs]
    if len(inputs) != 1 or len(inputs[0]) != 4:
        found = ", ".join(str(tuple(shape)) for shape in inputs)
        raise ModelError(
            f"The program {path} must have one input of images, (n, channels, height, width); found {found}."
        )
    n, channels, height, width = (size if isinstance(size, int) else None for size in inputs[0])
    if n not in (None, 1):
        raise ModelError(
            f"The program {path} takes {n} images at a time. Export it with a variable number of images (dynamic_shapes), or with 1."
        )
    return _opened(
        request,
        path,
        _Program(network, one_by_one=n == 1),
        "torch.export program",
        channels=channels,
        size_px=None if height is None or width is None else (height, width),
    )


def open_script(request: ModelRequest) -> OpenedModel:
    """Open a TorchScript program."""
    path = _trusted(request, "a TorchScript program can write files while it predicts")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # torch advises against writing more of them, which is no concern of who has one
            network = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:  # as above
        raise ModelError(f"TorchScript cannot open {path}: {' '.join(shown(str(error)).split())}") from error
    return _opened(request, path, network, "TorchScript program")


class _Program(nn.Module):
    """An exported program; it is in evaluation mode for good, and refuses to be told so."""

    def __init__(self, program: nn.Module, *, one_by_one: bool) -> None:
        super().__init__()
        self.program, self._one_by_one = program, one_by_one
        self.training = False

    def eval(self) -> _Program:
        """Return itself."""
        return self

    def forward(self, inputs: torch.Tensor) -> object:
        """Map (n, c, h, w) to its answers."""
        if self._one_by_one:
            return torch.cat([self.program(image[None]) for image in inputs])
        return self.program(inputs)


def _trusted(request: ModelRequest, why: str) -> Path:
    path = Path(request.checkpoint or request.model)
    if not path.is_file():
        raise ModelUsageError(f"The model {path} {why_unreadable(path)}. Check the path.")
    if not request.trust:
        raise UsageError(
            f"{path} is a program: {why}. If you trust its author, add --trust; otherwise ask for an ONNX file, which runs no code."
        )
    return path


def _opened(
    request: ModelRequest,
    path: Path,
    network: nn.Module,
    architecture: str,
    *,
    channels: int | None = None,
    size_px: tuple[int, int] | None = None,
) -> OpenedModel:
    for module in network.modules():
        # A program carries the mode that it was exported in; its modules only report it.
        if not isinstance(module, torch.jit.ScriptModule):
            module.training = False
    content = file_sha256(path)
    opened = open_module(
        request, network, architecture=architecture, content=content, channels=channels, size_px=size_px
    )
    return replace(opened, body=None, files={path.name: path})
