"""Models carried to another machine: their files as bytes, written there into a folder of their own before the model is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audit.errors import ModelError
from audit.files import MAX_FILE_BYTES, read_regular, write_atomically
from audit.models.onnx_guard import check_onnx
from audit.models.requests import ModelRequest
from audit.remote.elsewhere import keep_here

_PLACES = ("model", "checkpoint", "weights")
"""Fields of a request that may name a file or a folder."""
_MOST_BYTES = 4 * MAX_FILE_BYTES


@dataclass(frozen=True, kw_only=True)
class CarriedModel:
    """A model that can be opened where none of its files is."""

    request: ModelRequest
    """How it is opened on this machine."""
    files: Mapping[str, Mapping[str, bytes]]
    """Field of the request -> path below the folder that replaces it, with its own name first -> content."""


def pack_model(request: ModelRequest) -> CarriedModel:
    """Read the files of a model.

    Raises
    ------
    ModelError
        If one cannot be read, or they are larger together than memory should hold.
    """
    files: dict[str, dict[str, bytes]] = {}
    size = 0
    for place in _PLACES:
        for name, path in _files(place, request):
            try:
                data = read_regular(path, 2 * MAX_FILE_BYTES)
            except OSError as error:
                raise ModelError(
                    f"The model's file {path} cannot be sent to other machines: {error.strerror or error}. Copy it again."
                ) from error
            size += len(data)
            if size > _MOST_BYTES:
                raise ModelError(
                    f"The files of the model {request.model} have more than {_MOST_BYTES / 2**30:g} GiB, too much to send to other "
                    "machines. Remove other files from its folder, or use --engine processes."
                )
            files.setdefault(place, {})[name] = data
    return CarriedModel(request=request, files=files)


def unpack_model(carried: CarriedModel, folder: Path) -> ModelRequest:
    """Write the files of a model below an empty folder; return the request that opens it there.

    Raises
    ------
    StoreError
        If they cannot be written, as on a full disk.
    """
    keep_here(folder)
    moved: dict[str, Any] = {}
    for place, files in carried.files.items():
        for name, data in files.items():
            write_atomically(folder / place / name, data)
        moved[place] = str(folder / place / Path(next(iter(files))).parts[0])
    return replace(carried.request, **moved)


def _files(place: str, request: ModelRequest) -> Iterator[tuple[str, Path]]:
    """Yield the files that a field names, each with its path from the folder above; none where it names something else."""
    named = getattr(request, place)
    path = Path(named)
    if not named or request.live is not None:
        return
    if path.is_dir():
        for folder, _, names in sorted(os.walk(path)):
            for name in sorted(names):
                if (inside := Path(folder) / name).is_file():
                    yield f"{path.resolve().name}/{inside.relative_to(path).as_posix()}", inside
    elif path.is_file():
        found = check_onnx(path) if path.suffix.lower() == ".onnx" else {path.name: path}
        yield from found.items()
