"""Paths that users or foreign files name: what is no regular file is said to be so, and a bundle opens nothing elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.data.manifests import read_records
from audit.errors import AuditError, UsageError
from audit.files import why_unreadable
from audit.models.bundle import find_bundle, load_bundle
from audit.models.unpickling import read_checkpoint
from audit.run.cohorts import known_manifest
from audit.run.settings import Settings
from audit.suites.reader import load_suite
from audit.text.boxes import read_boxes


def pipe(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    return path


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "suite": ("s.toml", lambda path: load_suite(str(path))),
    "manifest": ("m.csv", read_records),
    "checkpoint": ("c.pt", read_checkpoint),
    "weights": ("c.safetensors", read_checkpoint),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_path_that_is_no_file_is_said_to_be_what_it_is(tmp_path: Path, reader: str) -> None:
    name, read = READERS[reader]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).mkdir()
    for path, what in (
        (tmp_path / name, "does not exist"),
        *([(tmp_path / "folder" / name, "is a folder, not a file")] if reader != "manifest" else []),  # it may be one
        (pipe(tmp_path / "pipes" / name), "is a pipe or a device, not a regular file"),
    ):
        assert why_unreadable(path) == what
        with pytest.raises(AuditError, match=f"{name} {what}"):
            read(path)


def test_bundles_and_boxes_that_name_a_pipe(tmp_path: Path) -> None:
    pipe(tmp_path / "bundle" / "model.json")
    with pytest.raises(AuditError, match=r"model\.json is a pipe or a device"):
        find_bundle(str(tmp_path / "bundle"))
    with pytest.raises(AuditError, match="is not a folder, so it is not a bundle"):
        find_bundle(str(pipe(tmp_path / "p")))
    (tmp_path / "boxes.json").write_text(json.dumps({"images": {"p": []}}))
    with pytest.raises(AuditError, match="is a pipe or a device"):
        read_boxes(tmp_path / "boxes.json")


def test_the_manifest_of_a_foreign_bundle_is_only_opened_where_its_user_works(
    write_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "project"
    (here / "images").mkdir(parents=True)
    secret = tmp_path / "secret.csv"
    secret.write_text("path,label\n")
    monkeypatch.chdir(here)

    def named(recorded: str) -> Path:
        return known_manifest(load_bundle(write_bundle(provenance={"manifest": recorded})), Settings())[0]

    beside = tmp_path / "models/C"
    assert named("m.csv") == beside / "m.csv"
    assert named("../../project/images/m.csv").resolve() == here / "images/m.csv"
    (beside / "link.csv").symlink_to(secret)
    for recorded in (
        "../../secret.csv",
        str(secret),
        "/etc/passwd",
        "link.csv",
        "m/../../../secret.csv",
        "../C2/m.csv",
        "\x1b[2J/../../../x",
    ):
        with pytest.raises(UsageError, match=r"nor below the working folder.*--data MANIFEST") as error:
            named(recorded)
        assert str(error.value).isprintable()
    # The user's own word counts for any file.
    bundle = load_bundle(write_bundle(provenance={"manifest": "/etc/passwd"}))
    assert known_manifest(bundle, Settings(data=str(secret)))[0] == secret
