"""A look at an ONNX file before ONNX Runtime opens it: where it keeps its weights, and what it would load beside them.

An ONNX file is a protocol buffer that may name other files for its weights. Only names of files in its own folder are admitted: a
path upwards, an absolute path or a link could read any file of the machine. Only what is asked for is decoded here: the
places of external data, at whatever depth tensors lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from audit.errors import ModelError, ModelUsageError
from audit.files import MAX_FILE_BYTES, read_regular, why_unreadable
from audit.models.foreign import RefusedError, shown

_MAX_DEPTH = 40
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Field numbers of onnx.proto: messages inside messages, by what they are.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function", 20: "training"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}


class _NotOnnxError(RefusedError):
    """The bytes are not those of an ONNX model."""


def check_onnx(path: Path) -> dict[str, Path]:
    """Return the files that an ONNX model consists of, by name: itself, and those of its external data.

    Raises
    ------
    ModelError
        If it cannot be read, is no ONNX model, or names a file outside its own folder.
    """
    if not path.is_file():
        raise ModelUsageError(f"The model {path} {why_unreadable(path)}. Check the path.")
    try:
        data = read_regular(path, 2 * MAX_FILE_BYTES)
    except OSError as error:
        raise ModelError(f"The model {path} cannot be read ({error.strerror}).") from error
    files = {path.name: path}
    try:
        for location in dict.fromkeys(_locations(memoryview(data), "model", 0)):
            files[location] = _beside(path, location)
    except _NotOnnxError as refused:
        raise ModelUsageError(
            f"The model {path} is refused: {refused}. If it is another kind of model, name that with --as; if it is damaged, copy it again."
        ) from refused
    except RefusedError as refused:
        raise ModelError(f"The model {path} is refused: {refused}.") from refused
    return files


def names_other_files(data: bytes) -> bool:
    """Say whether a model in memory would load further files, or is no ONNX model at all: nothing that was exported whole does.

    Parameters
    ----------
    data : bytes
        Content of an ONNX file.
    """
    try:
        return any(True for _ in _locations(memoryview(data), "model", 0))
    except RefusedError:
        return True


def _beside(path: Path, location: str) -> Path:
    parts = PurePosixPath(location).parts
    bad = ".." in parts or PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor or "\\" in location
    beside = path.parent / location
    if bad or not location or "\0" in location or not beside.resolve().is_relative_to(path.parent.resolve()):
        raise RefusedError(
            f"its weights are said to lie in {shown(location)!r}, outside its folder. External data must lie in the folder of the model"
        )
    if not beside.is_file():
        raise RefusedError(f"its weights lie in {shown(location)!r}, which is not beside it. Copy that file too")
    return beside


def _locations(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    """Yield every place of external data in a message."""
    if depth > _MAX_DEPTH:
        raise RefusedError(f"it is nested deeper than {_MAX_DEPTH} levels")
    inside = _INSIDE[kind]
    for number, content in _fields(message):
        if number in inside and content is not None:
            if inside[number] == "entry":
                pair = {n: bytes(c) for n, c in _fields(content) if c is not None}
                if pair.get(1) == b"location":
                    yield pair.get(2, b"").decode("utf-8", "replace")
            else:
                yield from _locations(content, inside[number], depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """Yield number and content of each field; content is None for numbers."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            _, place = _varint(message, place)
            yield number, None
        elif wire == _BYTES:
            length, place = _varint(message, place)
            if place + length > len(message):
                raise _NotOnnxError("it is not an ONNX model: a field is longer than the file")
            yield number, message[place : place + length]
            place += length
        elif wire in (_FIXED32, _FIXED64):
            place += 4 if wire == _FIXED32 else 8
            yield number, None
        else:
            raise _NotOnnxError("it is not an ONNX model, or it is damaged")
    if place > len(message):
        raise _NotOnnxError("it is not an ONNX model: it ends in the middle of a field")


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise _NotOnnxError("it is not an ONNX model: it ends in the middle of a number")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise _NotOnnxError("it is not an ONNX model: a number is too long")
