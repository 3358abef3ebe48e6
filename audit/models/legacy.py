"""What torch.save wrote before 1.6: five pickles in a row, then the storages, one after another."""

from __future__ import annotations

import io
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from audit.files import open_regular
from audit.models.archives import MAX_PICKLE_BYTES
from audit.models.foreign import RefusedError, shown
from audit.models.pickle_names import Mention, Storage
from audit.models.pickles import run_pickle

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
# Every pickle of protocol 2 or later begins so; torch.save has written no other.
_PROTO = b"\x80"


def read_legacy(path: Path, *, admit: Collection[str] = ()) -> Any:
    """Read a checkpoint of the older format.

    The pickle with the tensors comes before the list of storages, so it is run twice: first to learn which types the
    storages have, then with their numbers.

    Raises
    ------
    RefusedError
        If it is not of that format, or holds what is not admitted.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        stream = io.BytesIO(file.read(MAX_PICKLE_BYTES))
        if bytes(stream.getbuffer()[257:262]) == b"ustar":
            raise RefusedError(
                "it is a tar archive, the format before torch 0.1.10; save its weights again with torch.save"
            )
        if bytes(stream.getbuffer()[:1]) != _PROTO:
            raise RefusedError(
                "it is neither a zip nor a pickle; a file written by torch.save or .safetensors is expected"
            )
        _check_preamble(stream)
        begin = stream.tell()
        claims = _Claims(size)
        run_pickle(stream, persistent=claims.reference, admit=admit)
        keys = run_pickle(stream, persistent=_refuse)
        if (
            not isinstance(keys, list)
            or set(map(str, keys)) != set(claims.elements)
            or len(keys) != len(claims.elements)
        ):
            raise RefusedError("its list of storages is not the list that its pickle refers to")
        file.seek(stream.tell())
        storages = {str(key): _read_storage(file, claims.elements[str(key)], size) for key in keys}
    stream.seek(begin)
    return run_pickle(stream, persistent=_Numbers(storages).reference, admit=admit)


def _check_preamble(stream: io.BytesIO) -> None:
    magic, protocol, system = (run_pickle(stream, persistent=_refuse) for _ in range(3))
    if magic != _MAGIC or protocol != _PROTOCOL or not isinstance(system, dict):
        raise RefusedError("it is a pickle that torch.save did not write")
    if system.get("little_endian") is not True:
        raise RefusedError("its numbers are not little-endian; save it again on another machine")


def _refuse(reference: object) -> Any:
    raise RefusedError("its pickle refers to a storage in an invalid place")


class _Claims:
    """What the pickle says of its storages: type and number of elements, no more than the file can contain."""

    def __init__(self, file_bytes: int) -> None:
        self._file_bytes = file_bytes
        self.elements: dict[str, torch.Tensor] = {}

    def reference(self, reference: object) -> Any:
        """Answer a reference with a storage without numbers."""
        source = _source_class(reference)
        if source is not None:
            return source
        dtype, key, n, view = _storage_reference(reference)
        if n > self._file_bytes // dtype.itemsize:
            raise RefusedError(
                f"its pickle claims {n} elements in the storage {shown(key)}, more than the file can contain"
            )
        known = self.elements.setdefault(key, torch.empty(n, dtype=dtype, device="meta"))
        if known.dtype != dtype or known.numel() != n:
            raise RefusedError(f"its pickle gives two sizes for the storage {shown(key)}")
        return _viewed(known, view)


class _Numbers:
    """The storages that were read."""

    def __init__(self, storages: dict[str, torch.Tensor]) -> None:
        self._storages = storages

    def reference(self, reference: object) -> Any:
        """Answer a reference with its storage."""
        source = _source_class(reference)
        if source is not None:
            return source
        _, key, _, view = _storage_reference(reference)
        return _viewed(self._storages[key], view)


def _source_class(reference: object) -> Mention | None:
    """Return the class of a reference to a class with its source code, which is not looked at."""
    match reference:
        case ("module", Mention() as kind, _, _):
            return kind
        case _:
            return None


def _storage_reference(reference: object) -> tuple[torch.dtype, str, int, object]:
    match reference:
        case ("storage", Mention(dtype=torch.dtype() as dtype), (str() | int()) as key, str(), int() as n, view) if (
            n >= 0
        ):
            return dtype, str(key), n, view
        case _:
            raise RefusedError("its pickle refers to something that is not a storage")


def _viewed(elements: torch.Tensor, view: object) -> Storage:
    """Return a storage, or the part of it that another storage once shared."""
    match view:
        case None:
            return Storage(elements=elements)
        case (_, int() as offset, int() as n) if offset >= 0 and n >= 0 and offset + n <= elements.numel():
            return Storage(elements=elements[offset : offset + n])
        case _:
            raise RefusedError("its pickle refers to a part that its storage does not have")


def _read_storage(file: io.BufferedReader, claimed: torch.Tensor, size: int) -> torch.Tensor:
    n = int.from_bytes(file.read(8), "little", signed=True)
    n_bytes = n * claimed.dtype.itemsize
    if n != claimed.numel() or n_bytes > size - file.tell():
        raise RefusedError("one of its storages is truncated, or has another size than its pickle states")
    data = bytearray(n_bytes)
    if file.readinto(data) != n_bytes:
        raise RefusedError("one of its storages is truncated")
    return torch.frombuffer(data, dtype=claimed.dtype) if data else torch.empty(0, dtype=claimed.dtype)
