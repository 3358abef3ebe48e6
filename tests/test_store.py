from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest
from msgspec import structs

from audit import files
from audit.errors import StoreError
from audit.files import read_regular, write_atomically
from audit.store.folder import RunFolder, verify_run
from audit.store.output import write_output
from audit.store.table_schemas import REGIONS_SCHEMA

from .documents import RECORD


def test_json_and_rows_come_back(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "r")
    run.write_json("plan.json", {"b": 1, "a": float("nan"), "t": (1, 2)})
    assert run.read_json("plan.json") == {"schema_version": 1, "a": None, "b": 1, "t": [1, 2]}
    row = {"record_id": "x", "x0": 1, "y0": 2, "x1": 3, "y1": 4, "text": "\u2028<b>", "confidence": 0.5, "kind": "text"}
    rows = [{**row, "detector": "d", "polygon": [[1.0, 2.0]], "withheld": False}]
    run.write_rows("regions.parquet", rows, REGIONS_SCHEMA)
    assert list(run.read_rows("regions.parquet")) == rows
    assert list(run.read_rows("regions.parquet", ["text"])) == [{"text": "\u2028<b>"}]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        RunFolder(tmp_path / name).write_rows("regions.parquet", [], REGIONS_SCHEMA)
    assert (tmp_path / "a/regions.parquet").read_bytes() == (tmp_path / "b/regions.parquet").read_bytes()


def test_merge_joins_parts_in_order(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for part in ("p/1", "p/2"):
        row = {"record_id": part, "x0": 0, "y0": 0, "x1": 1, "y1": 1, "text": "", "confidence": 1.0, "kind": "t"}
        run.write_rows(part, [{**row, "withheld": False, "detector": "d", "polygon": []}], REGIONS_SCHEMA)
    run.merge(["p/1", "p/2"], "regions.parquet", REGIONS_SCHEMA)
    assert [r["record_id"] for r in run.read_rows("regions.parquet")] == ["p/1", "p/2"]


def test_damage_is_one_clear_error(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with pytest.raises(StoreError, match=r"Check that .* is a finished run folder"):
        run.read_json("plan.json")
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(StoreError, match="not valid JSON"):
        run.read_json("plan.json")
    (tmp_path / "plan.json").write_text(json.dumps({"schema_version": 7}))
    with pytest.raises(StoreError, match="schema version 1"):
        run.read_json("plan.json")
    (tmp_path / "regions.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match="Parquet"):
        list(run.read_rows("regions.parquet"))


def test_verify_sees_change_loss_and_addition(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for name in ("a.json", "b.json", "c.json"):
        run.write_json(name, {})
    run.write(structs.replace(RECORD, files=run.hashes()))
    assert verify_run(tmp_path) == []
    (tmp_path / "report.html").write_text("a rendering may come later")
    assert verify_run(tmp_path) == []
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.json").unlink()
    (tmp_path / "d.json").write_text("{}")
    assert verify_run(tmp_path) == ["a.json was changed", "b.json is missing", "d.json was added"]


def test_atomic_write_leaves_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_unwritable_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"Cannot write .*Choose a writable folder"):
        write_atomically(tmp_path / "file" / "x", b"")


def test_a_table_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_rows("records.parquet", [{"record_id": "a"}], pa.schema([("record_id", pa.string())]))
    with pytest.raises(StoreError, match=r"has no column patient. Another version wrote it.*Run the audit again"):
        list(run.read_rows("records.parquet", ["record_id", "patient"]))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_written_into_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_output(pipe, b"<junit/>")
        assert os.read(reader, 100) == b"<junit/>"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc here")
def test_a_link_to_an_open_file_is_written_through_and_stays_one(tmp_path: Path) -> None:
    with (tmp_path / "out.txt").open("w+b", buffering=0) as out:
        out.write(b"before\n")
        link = tmp_path / "stdout"
        link.symlink_to(f"/proc/self/fd/{out.fileno()}")
        write_output(link, b"after\n")
        out.write(b"end\n")
    assert link.is_symlink()
    assert (tmp_path / "out.txt").read_bytes().startswith(b"before\n")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    for name in ("pipe", "zero"):
        with pytest.raises(OSError, match="pipe or a device"):
            read_regular(tmp_path / name)
        with pytest.raises(StoreError, match="pipe or a device"):
            RunFolder(tmp_path).read_json(name)
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)
    assert read_regular(tmp_path / "link") == b"abc"
    assert read_regular(tmp_path / "link", 3) == b"abc"
    with pytest.raises(OSError, match="larger than the limit"):
        read_regular(tmp_path / "link", 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no kills here")
def test_what_a_kill_left_is_removed_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    path = tmp_path / "effects.json"
    (tmp_path / ".effects.json.abc.part").write_bytes(b"half")
    (tmp_path / ".other.json.abc.part").write_bytes(b"another file's")
    handle, living = files._temporary(path)
    write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert {p.name for p in tmp_path.iterdir()} == {"effects.json", ".other.json.abc.part", living.name}
    os.close(handle)
    write_atomically(path, b"again")
    assert {p.name for p in tmp_path.iterdir()} == {"effects.json", ".other.json.abc.part"}
