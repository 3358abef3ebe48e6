"""The zip that torch.save writes, looked at before anything in it is believed.

Only what weights need is admitted, by name: the pickle, the storages it refers to and four small marks. Members are stored,
not compressed, as torch writes them, so nothing can inflate; together they are no larger than the file.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from audit.models.foreign import RefusedError, first_twice, shown
from audit.models.pickle_names import Mention, Storage

MAX_PICKLE_BYTES = 32 * 1024 * 1024
"""Of the pickle alone, without the storages; a whole DenseNet-201 takes 0.3 MB."""
# The table of contents; DenseNet-201 takes 0.1 MB.
_MAX_DIRECTORY_BYTES = 8 * 1024 * 1024
_MARKS = frozenset({"version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id"})
_MAX_MARK_BYTES = 1024
_STORAGE = re.compile(r"data/[0-9]{1,20}")
_PROGRAM = re.compile(r"code/|constants\.pkl$|constants/|bytecode\.pkl$")
_PIECE = 1024 * 1024


class Archive:
    """A zip whose members were all admitted."""

    def __init__(self, file: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> None:
        self._file = file
        self._members = members
        self._read: dict[str, bytearray] = {}

    def pickle(self) -> io.BytesIO:
        """Return the pickle's bytes."""
        return io.BytesIO(self._bytes("data.pkl"))

    def storage(self, reference: object) -> Storage:
        """Return the storage that the pickle refers to: ("storage", type, key, device, number of elements).

        Raises
        ------
        RefusedError
            If it is something else, or the member's size is not the one that the pickle says.
        """
        match reference:
            case ("storage", Mention(dtype=torch.dtype() as dtype), str() as key, str(), int() as n):
                name = f"data/{key}"
            case _:
                raise RefusedError("its pickle refers to something that is not a storage")
        if name not in self._members:
            raise RefusedError(f"its pickle refers to the storage {shown(key)}, which the file does not contain")
        found = self._members[name].file_size
        if n < 0 or n * dtype.itemsize != found:
            raise RefusedError(f"its pickle gives another size for the storage {shown(key)} than its {found} bytes")
        if name not in self._read:
            self._read[name] = self._bytes(name)
        data = self._read[name]
        return Storage(elements=torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype))

    def _bytes(self, name: str) -> bytearray:
        info = self._members[name]
        data = bytearray(info.file_size)
        filled = 0
        with self._file.open(info) as member:
            while piece := member.read(_PIECE):
                data[filled : filled + len(piece)] = piece
                filled += len(piece)
        if filled != info.file_size:
            raise RefusedError(f"its member {shown(info.filename)} is truncated")
        return data

    def check_order(self) -> None:
        """Refuse numbers of a byte order that is not this reader's."""
        if "byteorder" in self._members and bytes(self._bytes("byteorder")) != b"little":
            raise RefusedError("its numbers are not little-endian; save it again on another machine")


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a zip of torch's after a look at its table of contents.

    Raises
    ------
    RefusedError
        If it holds anything that weights do not need, is compressed, encrypted, or claims more than it has.
    """
    try:
        with _Bounded(path) as raw, zipfile.ZipFile(raw) as file:
            archive = Archive(file, _admit(file.infolist(), path.stat().st_size))
            archive.check_order()
            yield archive
    except (zipfile.BadZipFile, struct.error, NotImplementedError, EOFError, ValueError, OverflowError) as error:
        raise RefusedError(f"its zip is damaged ({shown(str(error))})") from error


class _Bounded(io.FileIO):
    """A file of which no more is read at a time than a table of contents may take."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most that many bytes."""
        if size is not None and size > _MAX_DIRECTORY_BYTES:
            raise RefusedError(f"its table of contents is larger than {_MAX_DIRECTORY_BYTES // 2**20} MiB")
        return super().read(-1 if size is None else size) or b""


def _admit(infos: list[zipfile.ZipInfo], file_bytes: int) -> dict[str, zipfile.ZipInfo]:
    names = [info.orig_filename for info in infos]
    parts = {name: name.partition("/")[::2] for name in names}
    program = next((name for name in names if _PROGRAM.match(parts[name][1])), None)
    if program is not None:
        raise RefusedError(
            f"it is a TorchScript program (it contains {shown(program)}), which runs code when it is opened, so audit never "
            "opens one. If you trust it, save its weights alone, "
            "`torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')`, and import those"
        )
    folder = next((root for root, rest in parts.values() if rest == "data.pkl"), None)
    if folder is None:
        raise RefusedError("it is a zip without data.pkl, so torch.save did not write it")
    for info, name in zip(infos, names, strict=True):
        root, rest = parts[name]
        if rest != "data.pkl" and rest not in _MARKS and not _STORAGE.fullmatch(rest):
            raise RefusedError(f"it contains the member {shown(name)}, which weights do not need")
        if root in ("", ".", "..") or "\\" in name or info.filename != name or root != folder:
            raise RefusedError(f"its member {shown(name)} is not in the single folder that torch.save creates")
        _check_kind(info, name)
        limit = MAX_PICKLE_BYTES if rest == "data.pkl" else _MAX_MARK_BYTES if rest in _MARKS else file_bytes
        if info.file_size > limit:
            raise RefusedError(f"its member {shown(name)} has {info.file_size} bytes; at most {limit} are allowed")
    twice = first_twice(names)
    if twice is not None:
        raise RefusedError(f"it contains the member {shown(twice)} twice")
    if sum(info.file_size for info in infos) > file_bytes:
        raise RefusedError(f"its members claim more than the file's {file_bytes} bytes")
    return {parts[name][1]: info for info, name in zip(infos, names, strict=True)}


def _check_kind(info: zipfile.ZipInfo, name: str) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise RefusedError(f"its member {shown(name)} is a link or another special file")
    if info.flag_bits & 0x1:
        raise RefusedError(f"its member {shown(name)} is encrypted")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise RefusedError(f"its member {shown(name)} is compressed, which torch.save never does")
