"""Torch networks as ONNX models: written by torch, kept in the cache by weights and versions, made again where a file is not as it was."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import warnings
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torch.jit import TracerWarning  # type: ignore[attr-defined]  # public, but not listed as such

from audit.errors import ModelError
from audit.files import MAX_FILE_BYTES, read_regular, write_atomically
from audit.models.foreign import shown
from audit.models.onnx_guard import names_other_files
from audit.store.serialise import to_json

# Raised whenever an export is made in another way; older files are then never read.
_EXPORT_VERSION = 1
_OPSET = 18
# A few dozen megabytes a network; beyond this the exports unused longest go.
_MAX_BYTES = 2 * MAX_FILE_BYTES
_PACKAGES = ("torch", "onnx", "onnxruntime")


class NotExportedError(ModelError):
    """A network has no export; the text says why, as the end of a sentence."""


def export_key(digest: str, shape: tuple[int, ...]) -> str:
    """Return what a network's export is kept under.

    Parameters
    ----------
    digest : str
        `Bundle.digest`: weights, architecture, and everything else that determines the outputs.
    shape : tuple of int
        Shape of one input (c, h, w).
    """
    asked = [_EXPORT_VERSION, _OPSET, digest, list(shape), [[name, _version(name)] for name in _PACKAGES]]
    return hashlib.sha256(to_json(asked).encode()).hexdigest()[:32]


def kept_export(folder: Path, key: str) -> bytes | None:
    """Return an export that was kept; None if there is none, or its content is not the one that was written."""
    for path in sorted(folder.glob(f"{key}-*.onnx")):
        with suppress(OSError):
            data = read_regular(path)
            if path.stem == _stem(key, data) and not names_other_files(data):
                os.utime(path)
                return data
    return None


def keep_export(folder: Path, key: str, data: bytes) -> None:
    """Keep an export in place of earlier ones of the same key; what was unused longest makes room.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    """
    path = folder / f"{_stem(key, data)}.onnx"
    for other in folder.glob(f"{key}-*.onnx"):
        if other != path:
            with suppress(OSError):
                other.unlink()
    write_atomically(path, data)
    entries = []
    for entry in folder.glob("*.onnx"):
        with suppress(OSError):
            status = entry.stat()
            entries.append((status.st_mtime_ns, status.st_size, entry))
    size = sum(entry[1] for entry in entries)
    for _, n_bytes, entry in sorted(entries, key=lambda entry: entry[0]):
        if size <= _MAX_BYTES or entry == path:
            break
        entry.unlink(missing_ok=True)
        size -= n_bytes


def export_network(network: nn.Module, example: torch.Tensor) -> bytes:
    """Return a network as an ONNX model of any number of images.

    Parameters
    ----------
    network : nn.Module
        Maps (n, c, h, w) to logits (n, k), in evaluation mode.
    example : tensor (n, c, h, w)
        Prepared images that it is traced with.

    Raises
    ------
    NotExportedError
        If the package onnx is not there, torch cannot export it, or it chooses its way by what it computes.
    """
    if find_spec("onnx") is None:
        raise NotExportedError("the package onnx, which torch's export needs, is not installed (`pip install onnx`)")
    modes = [(module, module.training) for module in network.modules()]
    aside = io.StringIO()  # what the exporter prints of a network that it cannot export: pages of its graph
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(record=True) as met,
        redirect_stdout(aside),
        redirect_stderr(aside),
    ):
        warnings.simplefilter("always")
        path = Path(folder) / "network.onnx"
        try:
            # The exporter by tracing: a second for a DenseNet-121, where that of torch.export takes ten and two packages more.
            torch.onnx.export(
                network,
                (example,),
                path,
                dynamo=False,
                input_names=["images"],
                output_names=["logits"],
                dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
                opset_version=_OPSET,
            )
        except Exception as error:  # a network of anybody's, and many types of torch's own
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise NotExportedError(f"torch cannot export the network ({shown(first)})") from error
        finally:  # the exporter leaves every module in the mode that the outermost one had
            for module, mode in modes:
                if module.training != mode:
                    module.training = mode
        if any(issubclass(warning.category, TracerWarning) for warning in met):
            raise NotExportedError(
                "an export does not keep how the network chooses its way by its input's shape or values"
            )
        try:
            return read_regular(path)
        except OSError as error:
            raise NotExportedError(f"its export cannot be used ({error.strerror})") from error


def _stem(key: str, data: bytes) -> str:
    return f"{key}-{hashlib.sha256(data).hexdigest()[:16]}"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
