"""Checkpoints made to harm: each is refused by name, within seconds and in little memory, and nothing of it runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from audit.cli import main as cli
from audit.errors import ModelError, UsageError
from audit.models.archives import MAX_PICKLE_BYTES
from audit.models.checkpoints import import_checkpoint
from audit.models.pickles import MAX_STEPS
from audit.models.tensors import MAX_HEADER_BYTES
from audit.models.unpickling import Shell, read_checkpoint
from tests import hostile_files as hostile
from tests.conftest import one_paragraph
from tests.hostile_files import named, number, pickled, storage, tensor, text, with_pickle, zipped

SECONDS = 15
"""Of the processor: what a busy machine takes says nothing of the file."""
FOUR_FLOATS = struct.pack("<4f", 1, 2, 3, 4)
DEEP = named("torch.nn", "Linear") + b")\x81"


def refused(path: Path, match: str) -> None:
    began = time.process_time()
    with pytest.raises(ModelError, match=match) as error:
        read_checkpoint(path)
    assert time.process_time() - began < SECONDS
    assert str(path) in str(error.value) and str(error.value).isprintable()


def test_the_files_of_the_helpers_are_read_where_nothing_is_wrong(tmp_path: Path) -> None:
    """Else the refusals below would prove nothing."""
    body = tensor(storage(), 1, (3,), (1,))
    found = read_checkpoint(with_pickle(tmp_path / "good.pt", pickled(body), {"data/0": FOUR_FLOATS}))
    assert found.tolist() == [2, 3, 4]
    old = hostile.legacy(
        tmp_path / "old.pt",
        pickled(tensor(storage(view=True), 1, (3,), (1,))),
        ["0"],
        struct.pack("<q", 4) + FOUR_FLOATS,
    )
    assert read_checkpoint(old).tolist() == [2, 3, 4]


# TorchScript


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    folder = tmp_path_factory.mktemp("program")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = hostile.scripted(folder / "evil.pt", folder / "mark")
        (folder / "mark").unlink(missing_ok=True)
        torch.jit.load(str(path))
    assert (folder / "mark").exists(), "the file harms nobody, so refusing it proves nothing"
    (folder / "mark").unlink()
    return path.read_bytes(), folder / "mark"


def test_a_torchscript_program_is_never_opened(
    program: tuple[bytes, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, mark = program
    (tmp_path / "evil.pt").write_bytes(data)
    refused(tmp_path / "evil.pt", r"is a TorchScript program.*state_dict\(\)")
    assert not mark.exists() and "ran" not in capfd.readouterr().out


@pytest.mark.parametrize(
    "rename", [("code/", "cod/"), ("code/", "data/"), ("code/", "CODE/"), ("constants.pkl", "x.pkl")]
)
def test_a_program_with_other_names_is_refused_too(
    program: tuple[bytes, Path], tmp_path: Path, rename: tuple[str, str]
) -> None:
    data, mark = program
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(tmp_path / "m.pt", "w") as after:
        for info in before.infolist():
            after.writestr(info.filename.replace(*rename), before.read(info))
    refused(tmp_path / "m.pt", "TorchScript|which weights do not need")
    assert not mark.exists()


def test_the_command_line_refuses_a_program(
    program: tuple[bytes, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, mark = program
    (tmp_path / "evil.pt").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    asked = ["import", "evil.pt", "--as", "densenet121", "--classes", "a,b", "--out", "m"]
    monkeypatch.setattr(sys, "argv", ["audit", *asked])
    with pytest.raises(SystemExit) as end:
        cli.main()
    written = capfd.readouterr()  # what the program itself prints, too
    assert end.value.code == 4 and "TorchScript" in one_paragraph(written.err)
    assert not mark.exists() and not (tmp_path / "m").exists() and "ran" not in written.out


# The zip


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("m/data/../../evil", "m/data/../../evil, which weights do not need"),
        ("/etc/passwd", "/etc/passwd, which weights do not need"),
        ("/data/0", "/data/0 is not in the single folder"),
        ("../data/0", r"\.\./data/0 is not in the single folder"),
        ("other/data/0", "other/data/0 is not in the single folder"),
        ("data/0", "data/0, which weights do not need"),
        ("m/data/0/1", "which weights do not need"),
        ("m/data/x", "which weights do not need"),
        ("m/data/", "which weights do not need"),
        ("m/extra/model.json", "which weights do not need"),
        ("m/.data/extern_modules", "which weights do not need"),
        ("m/\x1b[2J", "which weights do not need"),
        ("m/n/data.pkl", "which weights do not need"),
        ("m/data/٣", "which weights do not need"),
    ],
)
def test_members_that_weights_do_not_need(tmp_path: Path, name: str, match: str) -> None:
    path = with_pickle(tmp_path / "m.pt", pickle.dumps({}, protocol=2))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, b"1234")
    refused(path, match)


@pytest.mark.parametrize("root", ["..", ".", "", "a\\b"])
def test_a_folder_that_torch_does_not_make(tmp_path: Path, root: str) -> None:
    refused(zipped(tmp_path / "m.pt", {"data.pkl": pickled(b"}")}, root=f"{root}"), "single folder|without data.pkl")


def test_duplicates_links_and_secrets(tmp_path: Path) -> None:
    path = with_pickle(tmp_path / "twice.pt", pickled(b"}"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path, "a") as file:
            file.writestr("m/data.pkl", pickled(b"]"))
    refused(path, "m/data.pkl twice")
    path = with_pickle(tmp_path / "link.pt", pickled(b"}"))
    with zipfile.ZipFile(path, "a") as file:
        link = zipfile.ZipInfo("m/data/0")
        link.external_attr = 0o120777 << 16
        file.writestr(link, b"/etc/passwd")
    refused(path, "data/0 is a link")
    data = bytearray(with_pickle(tmp_path / "secret.pt", pickled(b"}")).read_bytes())
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):
        place = data.index(mark)
        data[place + (6 if mark[2] == 3 else 8)] |= 1
    (tmp_path / "secret.pt").write_bytes(data)
    refused(tmp_path / "secret.pt", "is encrypted")
    data = bytearray(with_pickle(tmp_path / "nul.pt", pickled(b"}"), {"data/0x": b""}).read_bytes())
    (tmp_path / "nul.pt").write_bytes(data.replace(b"data/0x", b"data/0\0"))
    refused(tmp_path / "nul.pt", "which weights do not need")
    refused(zipped(tmp_path / "bare.pt", {"data/0": FOUR_FLOATS}), "without data.pkl")
    refused(zipped(tmp_path / "big.pt", {"data.pkl": pickled(b"}"), "byteorder": b"big"}, marks=False), "little-endian")


def test_nothing_inflates(tmp_path: Path) -> None:
    small = zipped(
        tmp_path / "bomb.pt", {"data.pkl": pickled(text("0" * 50_000_000))}, compression=zipfile.ZIP_DEFLATED
    )
    assert small.stat().st_size < 100_000
    refused(small, "is compressed|are allowed")
    refused(
        zipped(tmp_path / "m.pt", {"data.pkl": pickled(b"}")}, compression=zipfile.ZIP_DEFLATED, compresslevel=0),
        "is compressed",
    )
    big = with_pickle(tmp_path / "big.pt", pickled(text("0" * MAX_PICKLE_BYTES)))
    refused(big, f"at most {MAX_PICKLE_BYTES} are allowed")


def test_members_that_share_their_bytes(tmp_path: Path) -> None:
    """A table of contents can name the same bytes a thousand times."""
    path = with_pickle(tmp_path / "m.pt", pickled(b"}"), {"data/0": bytes(100_000)})
    data = path.read_bytes()
    begin = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    entries = re.split(rb"(?=PK\x01\x02)", data[begin:end])[1:]
    shared = next(entry for entry in entries if b"data/0" in entry)
    many = b"".join(entries) + b"".join(shared.replace(b"data/0", b"data/%d" % i) for i in range(1, 10))
    n = len(entries) + 9
    directory = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, n, n, len(many), begin, 0)
    path.write_bytes(data[:begin] + many + directory)
    refused(path, "claim more than")


def test_an_endless_table_of_contents(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", *(0,) * 6, *(0,) * 3, 1, *(0,) * 4, *(0,) * 2) + b"a"
    many = entry * 200_000
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(many), 4, 0)
    path.write_bytes(b"PK\x03\x04" + many + end)
    refused(path, "table of contents is larger")


# Storages and tensors


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (storage(n=2**40), "gives another size for the storage 0"),
        (storage(n=5), "gives another size"),
        (storage(n=-4), "gives another size"),
        (storage("DoubleStorage", n=4), "gives another size"),
        (storage("QInt8Storage", n=16), "names torch.QInt8Storage"),
        (storage(key="7"), "storage 7, which the file does not contain"),
        (storage(key="../m/data.pkl"), "which the file does not contain"),
        (b"X\x01\x00\x00\x00aQ", "not a storage"),
        (b")Q", "not a storage"),
        (tensor(storage(), 0, (5,), (1,)), "exceeds its storage"),
        (tensor(storage(), 4, (1,), (1,)), "exceeds its storage"),
        (tensor(storage(), 5, (0,), (1,)), "exceeds its storage"),
        (tensor(storage(), 0, (2, 2), (4, 1)), "exceeds its storage"),
        (tensor(storage(), 0, (10**12,), (0,)), "exceeds its storage"),
        (tensor(storage(), 0, (0, 2**48, 2**48), (1, 1, 1)), "exceeds its storage"),
        (tensor(storage(), -1, (1,), (1,)), "not a whole number in range"),
        (tensor(storage(), 0, (-1,), (1,)), "not a whole number in range"),
        (tensor(storage(), 0, (2,), (-1,)), "not a whole number in range"),
        (tensor(storage(), 2**63, (1,), (1,)), "not a whole number in range"),
        (tensor(storage(), 0, (2, 2), (1,)), "2 sizes and 1 strides"),
        (tensor(storage(), 0, (1,) * 40, (1,) * 40), "40 sizes"),
        (tensor(b"N", 0, (1,), (1,)), "not a storage"),
        (tensor(text("x"), 0, (1,), (1,)), "not a storage"),
    ],
)
def test_claims_that_the_numbers_do_not_bear_out(tmp_path: Path, body: bytes, match: str) -> None:
    refused(with_pickle(tmp_path / "m.pt", pickled(body), {"data/0": FOUR_FLOATS}), match)


@pytest.mark.parametrize(
    ("body", "keys", "data", "match"),
    [
        (storage(n=2**50, view=True), ["0"], struct.pack("<q", 2**50), "more than the file can contain"),
        (storage(view=True), ["0"], struct.pack("<q", 5) + bytes(20), "truncated, or has another size"),
        (storage(view=True), ["0"], struct.pack("<q", 4) + bytes(15), "truncated"),
        (storage(view=True), ["0"], b"", "truncated"),
        (storage(view=True), ["0"], struct.pack("<q", -4) + bytes(16), "truncated"),
        (storage(view=True), [], b"", "list of storages"),
        (storage(view=True), ["0", "1"], bytes(50), "list of storages"),
        (storage(view=True), ["0", "0"], bytes(50), "list of storages"),
        (storage(view=True) + storage(n=3, view=True) + b"\x86", ["0"], bytes(50), "two sizes"),
        (tensor(storage(view=True), 2, (3,), (1,)), ["0"], struct.pack("<q", 4) + FOUR_FLOATS, "exceeds its storage"),
    ],
)
def test_the_older_format_is_held_to_its_claims(
    tmp_path: Path, body: bytes, keys: list[str], data: bytes, match: str
) -> None:
    refused(hostile.legacy(tmp_path / "m.pt", pickled(body), keys, data), match)


def test_parts_of_storages_that_the_older_format_shares(tmp_path: Path) -> None:
    def part(offset: int, n: int) -> bytes:
        view = b"(" + text("1") + number(offset) + number(n) + b"t"
        whole = text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu") + number(4)
        return tensor(b"(" + whole + view + b"tQ", 0, (n,), (1,))

    data = struct.pack("<q", 4) + FOUR_FLOATS
    good = hostile.legacy(tmp_path / "m.pt", pickled(part(1, 2)), ["0"], data)
    assert read_checkpoint(good).tolist() == [2, 3]
    refused(hostile.legacy(tmp_path / "b.pt", pickled(part(3, 2)), ["0"], data), "does not have")


# The pickle


class Calls:
    """Pickles as a call of anything."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


def test_chains_of_attributes_and_calls(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for protocol in (2, 4, 5):
        code = pickle.dumps({"a": Calls(os.system, f"touch {mark}")}, protocol=protocol)
        refused(with_pickle(tmp_path / "m.pt", code), r"names posix\.system")
        # Dotted names, as protocol 4 allows: an admitted module must not lead to another one.
        dotted = b"\x80\x04" + b"".join(
            b"\x8c" + bytes([len(part)]) + part for part in (b"torch._utils", b"_rebuild_tensor.__globals__")
        )
        refused(with_pickle(tmp_path / "m.pt", dotted + b"\x93."), "_rebuild_tensor.__globals__")
    with pytest.raises(ModelError, match=r"names builtins\.getattr"):
        code = pickled(named("builtins", "getattr") + named("torch", "hub") + text("load") + b"\x86R")
        read_checkpoint(with_pickle(tmp_path / "m.pt", code))
    assert not mark.exists()


@pytest.mark.parametrize(
    "body",
    [
        # What an admitted shell or its attributes would do, were it real.
        named("torch.nn", "Linear") + text("touch MARK") + b"\x85R",
        named("torch.nn", "Linear") + b")\x81}" + text("__class__") + named("torch.nn", "Linear") + b"sb",
        named("torch.nn", "Linear") + b")\x81}" + text("__reduce__") + text("x") + b"sb",
        named("torch.nn.modules.module", "os.system") + text("touch MARK") + b"\x85R",
        named("__main__", "__builtins__") + text("touch MARK") + b"\x85R",
    ],
)
def test_calls_of_shells_do_nothing(tmp_path: Path, body: bytes) -> None:
    mark = tmp_path / "mark"
    found = read_checkpoint(with_pickle(tmp_path / "m.pt", pickled(body.replace(b"MARK", str(mark).encode()[:4]))))
    assert type(found) is Shell and not mark.exists()


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (text("x") + b")R", "calls something"),
        (DEEP + b")R", "calls something"),
        (named("torch", "FloatStorage") + number(10**9) + b"\x85R", "calls something"),
        (named("torch", "float32") + b")R", "calls something"),
        (b"cos\nsystem\n", "names os.system"),
        (b"i" + b"os\nsystem\n", "instruction INST"),
        (b"(cos\nsystem\no", "names os.system"),
        (b"(o", "instruction OBJ"),
        (b"\x82\x01", "instruction EXT1"),
        (b"P1\n", "instruction PERSID"),
        (b"V\\u0041\n", "instruction UNICODE"),
        (b"\x97", "instruction NEXT_BUFFER"),
        (text("x") + b"2", "instruction DUP"),
        (b"L" + b"9" * 100_000 + b"L\n", "instruction LONG|damaged"),
        (b"\x8b" + struct.pack("<i", 1000) + b"\x7f" * 1000, "number of 7999 bits"),
        (text("x") + b"r\xff\xff\xff\x7f", "under the number 2147483647"),
        (b"h\x05", "damaged"),
        (b"0", "damaged"),
        (b"t", "damaged"),
        (b"]" + text("x") + b"s", "damaged"),
        (text("x") + text("y") + b"b\x85\x87", "damaged"),
        (b"}" + text("x") + b"a", "damaged"),
        (b"}(" + text("x") + b"u", "damaged"),
        (b"}]Ns", "list as a key"),
        (b"})\x85Ns", "nested tuple"),
        (b"}(" + number(1) * 20 + b"tNs", "nested tuple"),
        (named("builtins", "set") + b"]" + b"]a\x85R", "list as a key"),
        (named("builtins", "set") + number(5) + b"\x85R", "not a list"),
        (named("collections", "OrderedDict") + number(5) + b"\x85R", "damaged"),
        (named("torch._utils", "_rebuild_parameter") + text("x") + b"\x85R", "not a tensor"),
        (named("torch._utils", "_rebuild_tensor_v2") + b")R", "damaged"),
        (b"X\xff\xff\xff\x7fabc", "damaged"),
        (b"\x8d" + struct.pack("<Q", 2**60) + b"abc", "damaged"),
        (b"X\x02\x00\x00\x00\xff\xfe", "damaged"),
        (named("x\x1b[2J", "y"), "names"),
        (named("torch", "load") + text("x") + b"\x85R", "names torch.load"),
        (named("torch.hub", "load") + text("x") + b"\x85R", "names torch.hub.load"),
        (named("torch._utils", "_rebuild_wrapper_subclass") + b")R", "names torch._utils"),
        (named("torchvisionx", "y"), "names torchvisionx.y"),
    ],
)
def test_instructions_and_names_that_are_not_admitted(tmp_path: Path, body: bytes, match: str) -> None:
    refused(with_pickle(tmp_path / "m.pt", pickled(body)), match)
    refused(hostile.legacy(tmp_path / "old.pt", pickled(body)), match)


def _doubling(n: int) -> bytes:
    """Return a tuple of two of a tuple of two ...: small to write, endless to hash or to print."""
    return text("x") + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(n))


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"}" + _doubling(100) + b"Ns", "nested tuple"),
        (named("builtins", "set") + b"]" + _doubling(100) + b"a\x85R", "nested tuple"),
        (b"\x8f(" + _doubling(100) + b"\x90", "nested tuple"),
        (b"(" + _doubling(100) + b"\x91", "nested tuple"),
        (named("collections", "OrderedDict") + b"](" + _doubling(100) + b"N\x86e\x85R", "nested tuple|damaged"),
        (b"}(" + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(30_000)) + b"u", "numbers as keys"),
        (b"]" + b"(" + b"]" * 600_000 + b"e(" + b"]" * 600_000 + b"e", f"more than {MAX_STEPS} steps"),
        (b"(" * 1_100_000, f"more than {MAX_STEPS} steps"),
        # A list of 500,000 that is copied for two bytes each time.
        (
            named("torch", "Size") + b"q\x00]q\x01(" + b"N" * 500_000 + b"e\x85R" + b"h\x00h\x01\x85R" * 1000,
            "steps",
        ),
        # An object that takes the same 200,000 attributes again and again.
        (
            b"}q\x00(" + b"".join(text(str(i)) + b"N" for i in range(200_000)) + b"u" + DEEP + b"h\x00b" * 100_000,
            "steps",
        ),
    ],
)
def test_small_pickles_that_would_build_without_end(tmp_path: Path, body: bytes, match: str) -> None:
    refused(with_pickle(tmp_path / "m.pt", pickled(body)), match)


def test_values_that_are_nested_without_end_are_harmless(tmp_path: Path) -> None:
    for body in (b"]" * 200_000 + b"a" * 199_999, b")" + b"\x85" * 300_000, _doubling(200)):
        read_checkpoint(with_pickle(tmp_path / "m.pt", pickled(body)))
    refused(with_pickle(tmp_path / "m.pt", b"\x80\x02" + b"]" * 100), "no end|damaged")


def _dearest() -> dict[str, bytes]:
    linear = named("torch.nn", "L")
    return {
        "sets": b"(" + b"\x8f" * 900_000 + b"t",
        "shells": linear + b"q\x00(" + b"h\x00)\x81" * 300_000 + b"t",
        "strings": b"(" + text("a" * 30 + "𝄞") * 800_000 + b"t",
        "tensors": tensor(storage(), 0, (1,), (1,)) * 60_000,
        "names": b"(" + linear * 900_000 + b"t",
    }


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, float]]:
    """Return the seconds of each of the dearest files, and its mebibytes at most: each in a process of its own, forked from one."""
    folder = tmp_path_factory.mktemp("dearest")
    paths = [
        with_pickle(folder / f"{kind}.pt", pickled(body), {"data/0": FOUR_FLOATS}) for kind, body in _dearest().items()
    ]
    code = (
        "import os, sys; from pathlib import Path; from audit.models.unpickling import read_checkpoint\n"
        "from audit.errors import ModelError\n"
        "for name in sys.argv[1:]:\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        try: read_checkpoint(Path(name))\n"
        "        except ModelError as error: pass\n"
        "        except BaseException: os._exit(1)\n"
        "        os._exit(0)\n"
        "    _, status, usage = os.wait4(child, 0)\n"
        "    print(usage.ru_utime + usage.ru_stime if status == 0 else 1e9, usage.ru_maxrss / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    told = [tuple(map(float, line.split())) for line in done.stdout.splitlines()]
    return {path.stem: (seconds, mebibytes) for path, (seconds, mebibytes) in zip(paths, told, strict=True)}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("kind", _dearest())
def test_the_dearest_files_take_less_than_a_gigabyte_and_a_half(
    prices: dict[str, tuple[float, float]], kind: str
) -> None:
    seconds, mebibytes = prices[kind]
    assert seconds < SECONDS and mebibytes < 1500, (seconds, mebibytes)


# What is built from a checkpoint


def test_modules_that_hold_each_other(tmp_path: Path, tiny_architecture: str) -> None:
    def module(children: bytes) -> bytes:
        return named("torch.nn", "Module") + b")\x81}" + text("_modules") + b"}(" + children + b"usb"

    body = module(b"")
    for i in range(60):
        body += b"q" + bytes([i])
        body += module(text("a") + b"h" + bytes([i]) + text("b") + b"h" + bytes([i]))
    with pytest.raises(ModelError, match="contain each other"):
        import_checkpoint(with_pickle(tmp_path / "m.pt", pickled(body)), tiny_architecture, tmp_path / "out")
    itself = named("torch.nn", "Module") + b")\x81q\x00}" + text("_modules") + b"}" + text("a") + b"h\x00ssb"
    with pytest.raises(ModelError, match="contain each other"):
        import_checkpoint(with_pickle(tmp_path / "m.pt", pickled(itself)), tiny_architecture, tmp_path / "out")
    wrapped = b"}q\x00" + text("model") + b"h\x00s"
    with pytest.raises(ModelError, match="contains no DenseNet"):
        import_checkpoint(with_pickle(tmp_path / "m.pt", pickled(wrapped)), tiny_architecture, tmp_path / "out")


@pytest.mark.parametrize("attributes", [b"]", b"N", text("x"), named("torch.nn", "Linear"), b"}" + number(1) + b"Ns"])
def test_modules_with_attributes_of_other_kinds(tmp_path: Path, tiny_architecture: str, attributes: bytes) -> None:
    for name in ("_modules", "_parameters", "_buffers", "targets"):
        body = named("torch.nn", "Module") + b")\x81}" + text(name) + attributes + b"sb"
        with pytest.raises(ModelError, match="contains no DenseNet"):
            import_checkpoint(with_pickle(tmp_path / "m.pt", pickled(body)), tiny_architecture, tmp_path / "out")


def test_one_storage_under_many_names(tmp_path: Path, tiny_architecture: str) -> None:
    one = tensor(storage(n=250_000), 0, (500, 500), (500, 1)) + b"q\x00"
    stem = tensor(storage(n=250_000), 0, (1, 1, 1, 1), (1, 1, 1, 1))
    body = b"}(" + text("features.conv0.weight") + stem + text("w") + one
    body += b"".join(text(f"features.w{i}") + b"h\x00" for i in range(10_000)) + b"u"
    path = with_pickle(tmp_path / "m.pt", pickled(body), {"data/0": bytes(1_000_000)})
    with pytest.raises(ModelError, match="twice the file"):
        import_checkpoint(path, tiny_architecture, tmp_path / "out")


@pytest.mark.parametrize(
    ("state", "match"),
    [
        ({"features.conv0.weight": torch.zeros(())}, "4 dimensions"),
        ({"features.conv0.weight": torch.zeros(1, 1, 1, 1), "h.weight": torch.zeros(3, 2), "h.bias": torch.zeros(2)}, "its bias"),
        ({"features.conv0.weight": torch.zeros(1, 1, 1, 1), "h.weight": torch.zeros(3, 2), "h.bias": torch.zeros(())}, "its bias"),
        ({"features.conv0.weight": torch.zeros(1, 1, 1, 1, dtype=torch.complex64)}, "complex"),
        ({"features.conv0.weight": torch.zeros(1, 1, 1, 1), "x" * 400: torch.zeros(1)}, "300 characters"),
        ({"features.conv0.weight": torch.zeros(1, 1, 1, 1), "h\x1b[2J": torch.zeros(3, 2), "i": torch.zeros(3, 3)}, "no linear layer"),
    ],
)  # fmt: skip
def test_tensors_of_odd_shapes_and_names(tmp_path: Path, tiny_architecture: str, state: Any, match: str) -> None:
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises((ModelError, UsageError), match=match) as error:
        import_checkpoint(tmp_path / "m.pt", tiny_architecture, tmp_path / "out", classes=("a", "b", "c"))
    assert str(error.value).isprintable()


# Formats that are around, and those that are no longer


def test_parameters_before_torch_0_4_are_read(tmp_path: Path) -> None:
    inside = (
        named("torch._utils", "_rebuild_tensor") + b"(" + storage() + number(0) + b"(" + number(4) + b"t(" + number(1)
    )
    old = named("torch.nn.parameter", "Parameter") + inside + b"ttR\x85R\x88\x89" + named("collections", "OrderedDict")
    body = old + b")R\x87b"
    found = read_checkpoint(with_pickle(tmp_path / "m.pt", pickled(body), {"data/0": FOUR_FLOATS}))
    assert found.tolist() == [1, 2, 3, 4]


def test_strings_and_dictionaries_of_python_2_are_read(tmp_path: Path) -> None:
    pair = b"]q\x01(U\x01aK\x01e"
    body = named("collections", "OrderedDict") + b"](" + pair + b"e\x85R"
    assert read_checkpoint(with_pickle(tmp_path / "m.pt", pickled(body))) == {"a": 1}


def test_what_torch_writes_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    shared = torch.arange(12.0).reshape(3, 4)
    value = {
        "view": shared.T,
        "row": shared[1],
        "half": torch.ones(3, dtype=torch.half),
        "brain": torch.ones(3, dtype=torch.bfloat16),
        "long": torch.arange(3),
        "bool": torch.tensor([True, False]),
        "none": torch.zeros(0, 3),
        "scalar": torch.tensor(4.5),
        "numbers": [1, -1, 2**40, 1.5, None, True, "ü", (1, 2)],
        "size": torch.Size([1, 2]),
        "order": OrderedDict([("b", 1), ("a", 2)]),
        "set": {"x"},
        "optimiser": torch.optim.Adam([nn.Parameter(torch.ones(2))]).state_dict(),
    }
    for protocol in (2, 3, 4, 5):
        for new in (True, False):
            torch.save(value, tmp_path / "m.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=new)
            found = read_checkpoint(tmp_path / "m.pt")
            assert list(found) == list(value)
            for key, expected in value.items():
                if isinstance(expected, torch.Tensor):
                    assert found[key].dtype == expected.dtype and torch.equal(found[key], expected), key
                else:
                    assert found[key] == expected, key


def test_tar_archives_are_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "m.pth.tar", "w") as file:
        file.add(__file__, "storages")
    refused(tmp_path / "m.pth.tar", "is a tar archive")


# Good files that were damaged

NETWORK = torchvision.models.DenseNet(growth_rate=2, block_config=(1,), num_init_features=2, bn_size=1, num_classes=2)


def _saved(value: Any, new: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=new)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def good() -> Callable[[int], bytes]:
    """Return a function from a number to a good file: hypothesis prints arguments, and warns of megabytes."""
    import safetensors.torch

    values: list[bytes] = [_saved(value, new) for value in (NETWORK, NETWORK.state_dict()) for new in (True, False)]
    return [*values, safetensors.torch.save(NETWORK.state_dict())].__getitem__


# Places are shares of the file: a strategy that asked for its length would be another one whenever torch writes a byte more.
DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "insert", "copy"]),
        st.booleans(),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=20),
        st.integers(1, 200),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(which=st.integers(0, 4), damage=DAMAGE)
def test_damaged_files_are_one_clear_error_or_are_read(
    which: int, damage: list[tuple[str, bool, float, bytes, int]], good: Callable[[int], bytes], tmp_path: Path
) -> None:
    content = bytearray(good(which))
    for kind, anywhere, share, put, length in damage:
        # Half of the damage goes to the first kilobytes, where the pickle is.
        place = int(share * (len(content) if anywhere else min(len(content), 4000)))
        match kind:
            case "set":
                content[place] = put[0]
            case "cut":
                del content[place : place + 1 + length // 4]
            case "insert":
                content[place:place] = put
            case "copy":
                content[place:place] = content[place : place + length]
        content = content or bytearray(b"\x80")
    path = tmp_path / ("m.safetensors" if which == 4 else "m.pt")
    path.write_bytes(content)
    began = time.process_time()
    try:
        found = read_checkpoint(path)
    except ModelError as error:
        assert str(error).isprintable()
    else:
        assert found is None or not callable(found)
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize("string", [rb"'\h'", rb"'\777'", rb"'\x'"])
def test_a_string_with_an_unknown_escape_is_damage_not_a_warning(string: bytes, tmp_path: Path) -> None:
    path = with_pickle(tmp_path / "m.pt", b"\x80\x02S" + string + b"\n.")
    refused(path, "damaged near byte")


@settings(max_examples=300, deadline=None)
@given(code=st.binary(max_size=200))
def test_random_instructions_only_ever_make_plain_values(code: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = with_pickle(tmp_path_factory.mktemp("m") / "m.pt", b"\x80\x02" + code + b".")
    try:
        found = read_checkpoint(path)
    except ModelError as error:
        assert str(error).isprintable()
    else:
        assert found is None or isinstance(found, (int, float, str, bytes, list, tuple, dict, set, frozenset))


# safetensors


def tensors_file(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


TWICE = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}'


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "shorter than 8 bytes"),
        (tensors_file(b"{}", length=2**63), "header claims"),
        (tensors_file(b"{}", length=3), "header claims"),
        (tensors_file(b" " * (MAX_HEADER_BYTES + 1)), "header claims"),
        (tensors_file(b"[]"), "not a table"),
        (tensors_file(b"{"), "not valid JSON"),
        (tensors_file(b'{"\xff": 1}'), "not valid JSON"),
        (tensors_file(b"[" * 200_000), "nested too deeply|not valid JSON"),
        (tensors_file(TWICE, bytes(8)), "names a twice"),
        (tensors_file(b'{"a": {"dtype": "F32", "shape": [1], "shape": [1], "data_offsets": [0, 4]}}', bytes(4)), "names shape twice"),
        (tensors_file(json.dumps({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}).encode(), bytes(12)), "safetensors file"),
        (tensors_file(json.dumps({"a": entry([2], 0, 8)}).encode(), bytes(4)), "safetensors file"),
        (tensors_file(json.dumps({"a": entry([2], 0, 8)}).encode(), bytes(12)), "safetensors file"),
        (tensors_file(json.dumps({"a": entry([3], 0, 8)}).encode(), bytes(8)), "safetensors file"),
        (tensors_file(json.dumps({"a": entry([2**62, 4], 0, 8)}).encode(), bytes(8)), "safetensors file"),
        (tensors_file(json.dumps({"a": entry([1], 4, 8)}).encode(), bytes(8)), "safetensors file"),
        (tensors_file(json.dumps({"a": entry([2], 8, 0)}).encode(), bytes(8)), "safetensors file"),
        (tensors_file(json.dumps({"a": entry([2], 0, 8, "X99")}).encode(), bytes(8)), "safetensors file"),
        (tensors_file(json.dumps({"a": entry([-2], 0, 8)}).encode(), bytes(8)), "safetensors file"),
    ],
)  # fmt: skip
def test_headers_of_safetensors(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    refused(tmp_path / "m.safetensors", match)
