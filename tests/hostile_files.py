"""Makes checkpoints that no honest program writes: zips and pickles put together by hand."""

from __future__ import annotations

import importlib.util
import io
import pickle
import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

SCRIPT = """
import torch
class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.zeros(3)
    @torch.jit.export
    def __getstate__(self):
        return (self.w, self.training)
    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        self.w = state[0]
        self.training = state[1]
        print("code of the file ran")
        self.w = torch.from_file({mark!r}, True, 16)
    def forward(self, x):
        return x
"""
TORCH_MARKS = {"version": b"3\n", "byteorder": b"little"}


def scripted(path: Path, mark: Path) -> Path:
    """Write a TorchScript archive that makes the file `mark` when torch opens it."""
    source = path.with_suffix(".source.py")
    source.write_text(SCRIPT.format(mark=str(mark)))
    spec = importlib.util.spec_from_file_location("scripted_for_tests", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scripted_for_tests"] = module
    try:
        spec.loader.exec_module(module)
        torch.jit.script(module.Module()).save(str(path))
    finally:
        del sys.modules["scripted_for_tests"]
    return path


def zipped(path: Path, members: Mapping[str, bytes], *, root: str = "m", marks: bool = True, **options: Any) -> Path:
    """Write a zip with these members below one folder."""
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, data in {**members, **(TORCH_MARKS if marks else {})}.items():
            file.writestr(f"{root}/{name}" if root else name, data)
    return path


def with_pickle(path: Path, code: bytes, members: Mapping[str, bytes] | None = None) -> Path:
    """Write a zip as torch does around a pickle."""
    return zipped(path, {"data.pkl": code, **(members or {})})


def legacy(path: Path, code: bytes, keys: list[str] | None = None, storages: bytes = b"") -> Path:
    """Write the format before torch 1.6 around a pickle."""
    buffer = io.BytesIO()
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    for part in (0x1950A86A20F9469CFC6C, 1001, system):
        pickle.dump(part, buffer, protocol=2)
    buffer.write(code)
    pickle.dump(keys or [], buffer, protocol=2)
    buffer.write(storages)
    path.write_bytes(buffer.getvalue())
    return path


def text(value: str) -> bytes:
    """Return the instruction that pushes a string."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    """Return the instruction that pushes a whole number."""
    return pickle.dumps(value, protocol=2)[2:-1]


def named(module: str, name: str) -> bytes:
    """Return the instruction that pushes what a name stands for."""
    return f"c{module}\n{name}\n".encode()


def storage(kind: str = "FloatStorage", key: str = "0", n: int = 4, *, view: bool = False) -> bytes:
    """Return the instructions that push a storage; with `view` as the older format has them."""
    parts = text("storage") + named("torch", kind) + text(key) + text("cpu") + number(n)
    return b"(" + parts + (b"N" if view else b"") + b"tQ"


def tensor(source: bytes, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """Return the instructions that push a tensor."""

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    arguments = (
        source + number(offset) + numbers(size) + numbers(stride) + b"\x89" + named("collections", "OrderedDict")
    )
    return named("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b")RtR"


def pickled(body: bytes) -> bytes:
    """Return a pickle of protocol 2 around instructions."""
    return b"\x80\x02" + body + b"."
