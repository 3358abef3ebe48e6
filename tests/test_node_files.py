"""What nodes of a cluster are sent: files that they do not see, and models."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from audit.data.images import jpeg_table, read_gray
from audit.errors import ImageError, ModelError
from audit.files import file_sha256, is_file, read_regular
from audit.models.bundle import load_bundle
from audit.models.carrying import pack_model, unpack_model
from audit.models.opening import open_model
from audit.prediction.node_files import Answer, ByFirstMachine, FirstMachine, Stamp, stamp_of
from audit.prediction.processes import _opened_elsewhere
from audit.remote import elsewhere
from audit.remote.addresses import ByAddress

from .conftest import cohort_in


class Watched:
    """The first machine, with what it was asked and sent."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._first, self.sent = folder, FirstMachine(), 0

    def read(self, path: Path, seen: Stamp | None, limit: int) -> Answer:
        with _without_ways():
            answer = self._first.read(self._there(path), seen, limit)
        self.sent += len(answer.data)
        return answer

    def has(self, path: Path) -> bool:
        with _without_ways():
            return self._first.has(self._there(path))

    def _there(self, path: Path) -> Path:
        """Return where the first machine has what a node calls `/node/...`."""
        return self._folder / path.relative_to("/node") if path.is_relative_to("/node") else path


@contextmanager
def _without_ways() -> Iterator[None]:
    """Read as the first machine does, which here is the same process."""
    kept, elsewhere._ways[:] = elsewhere._ways[:], []
    try:
        yield
    finally:
        elsewhere._ways[:] = kept


@pytest.fixture
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """Return the first machine of this process, which is a node of it."""
    monkeypatch.setattr(elsewhere, "_ways", [ByAddress()])
    made = Watched(tmp_path / "first")
    elsewhere.read_by_way_of(ByFirstMachine(tmp_path / "first", made.read, made.has))
    return made


def test_a_node_reads_its_own_copy_only_where_it_is_the_same(first: Watched, tmp_path: Path) -> None:
    here = tmp_path / "image.bin"
    here.write_bytes(b"old")
    assert read_regular(here) == b"old" and first.sent == 0, "one disk for both"
    (tmp_path / "first").mkdir()
    (tmp_path / "first/image.bin").write_bytes(b"sent")
    there = Path("/node/image.bin")
    assert read_regular(there) == b"sent" and first.sent == 4
    assert is_file(there) and not is_file(Path("/node/none"))
    assert file_sha256(there) == file_sha256(tmp_path / "first/image.bin")
    status = here.stat()
    changed = FirstMachine().read(here, Stamp(size=3, modified_ns=status.st_mtime_ns - 1), 10)
    assert changed.data == b"old", "a copy of another time is not trusted"
    assert FirstMachine().read(here, stamp_of(here), 10).same


def test_relative_paths_are_those_of_the_first_machine(
    first: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first/entry.json").write_bytes(b"1")
    (tmp_path / "node").mkdir()
    monkeypatch.chdir(tmp_path / "node")
    Path("entry.json").write_bytes(b"2")
    assert read_regular(Path("entry.json")) == b"1"


def test_what_the_first_machine_cannot_read_is_said_as_of_a_file_here(first: Watched, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"/node/none.png does not exist"):
        read_gray(Path("/node/none.png"))
    (tmp_path / "first").mkdir()
    (tmp_path / "first/large").write_bytes(b"12345")
    with pytest.raises(OSError, match="larger than the limit") as found:
        read_regular(Path("/node/large"), 4)
    assert found.value.errno == errno.EFBIG
    os.mkfifo(tmp_path / "first/pipe")
    with pytest.raises(ImageError, match="pipe or a device"):
        read_gray(Path("/node/pipe"))
    assert jpeg_table(Path("/node/none.jpg")) is None


def test_images_are_read_from_the_first_machine(first: Watched, tmp_path: Path) -> None:
    manifest = cohort_in(tmp_path / "first/data", 1)
    image = sorted((manifest.parent / "images").iterdir())[0]
    assert (read_gray(Path("/node/data/images") / image.name) == read_gray(image)).all()


def test_a_model_is_opened_where_none_of_its_files_is(known_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(known_bundle)
    carried = pack_model(bundle.request)
    shutil.rmtree(known_bundle)
    opened = open_model(unpack_model(carried, tmp_path / "there"))
    assert opened.digest == bundle.digest and opened.name == bundle.name
    assert elsewhere.is_kept_here(tmp_path / "there/model/C/model.json")
    assert _opened_elsewhere(carried, bundle.digest).digest == bundle.digest
    with pytest.raises(ModelError, match="opens as another one there"):
        _opened_elsewhere(carried, "0" * 64)
