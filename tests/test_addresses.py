"""Images and manifests behind an address, from servers that the tests start."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.data.images import jpeg_table, read_gray
from audit.data.reading import TableOptions, read_records
from audit.errors import CohortError, ImageError
from audit.files import file_sha256, is_file, read_regular
from audit.remote.addresses import address_of, is_address, path_of

from .conftest import Audit, cohort_in, one_paragraph, quick_audit
from .test_workers import contents

pytestmark = pytest.mark.leaves_threads
needs_http = pytest.mark.skipif(find_spec("aiohttp") is None, reason="the extra `remote` is not installed")
needs_s3 = pytest.mark.skipif(
    find_spec("s3fs") is None or find_spec("moto") is None, reason="s3fs or moto is not installed"
)
_PART = st.text("abcXYZ012-_=+%?&:,", min_size=1, max_size=9).filter(lambda part: "::" not in part)


@given(st.sampled_from(["s3", "gs", "az", "http", "https"]), st.lists(_PART, min_size=1, max_size=4))
def test_an_address_survives_as_a_path(scheme: str, parts: list[str]) -> None:
    address = f"{scheme}://{'/'.join(parts)}"
    assert is_address(address)
    assert address_of(path_of(address)) == address
    assert address_of(path_of(address).parent / "../b.png") == f"{scheme}://{'/'.join([*parts[:-2], 'b.png'])}" or (
        len(parts) < 3
    )


@pytest.mark.parametrize(
    "address", ["s3://b/a//c.png", "https://me:secret@h.org/a.png", "s3://b/./c.png", "http://h.org/a::b", "s3://b/a/"]
)
def test_what_no_path_can_stand_for_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"it (has|holds)"):
        path_of(address)


@pytest.mark.parametrize("path", ["/data/s3:/x", "images/a.png", "C:/a.png", "file:/a", "s3:", "ftp:/h/a"])
def test_paths_of_this_machine_stand_for_no_address(path: str) -> None:
    assert address_of(Path(path)) is None


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """Return the address of the test's folder, served over HTTP."""

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    yield from _serve(partial(Silent, directory=os.fspath(tmp_path)))


def _serve(handler: Any) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@needs_http
def test_a_run_by_address_has_the_bytes_of_one_by_path(
    audit: Audit, write_cohort: Callable[..., Path], known_bundle: Path, served: str
) -> None:
    manifest = write_cohort(2)
    asked = [*quick_audit(manifest), "--json"]
    code, out, err = audit(*asked, "--runs", "here", "--data-name", "same")
    assert code == 0, err
    here = Path(json.loads(out)["run"])
    there = [f"{served}/data/manifest.csv" if word == manifest else word for word in asked]
    code, out, err = audit(*there, "--runs", "there", "--data-name", "same")
    assert code == 0, err
    found = Path(json.loads(out)["run"])
    assert found.name == here.name, "where images lie is no part of the plan"
    assert contents(found) == contents(here)


@needs_http
def test_an_object_that_is_gone_is_one_sentence(
    audit: Audit, write_cohort: Callable[..., Path], known_bundle: Path, served: str
) -> None:
    manifest = write_cohort(2)
    gone = sorted((manifest.parent / "images").iterdir())[2]
    address = path_of(f"{served}/data/images/{gone.name}")
    assert is_file(address) and jpeg_table(address) is None
    assert file_sha256(address) == file_sha256(gone)
    with pytest.raises(OSError, match="larger than the limit") as refused:
        read_regular(address, 10)
    assert refused.value.errno == errno.EFBIG
    gone.unlink()
    assert not is_file(address)
    with pytest.raises(
        ImageError, match=rf"Image http://127\S+{gone.name} is not there: .* deleted since it was listed"
    ):
        read_gray(address)
    code, _, err = audit("run", "--model", "C", "--data", f"{served}/data/manifest.csv", "--detector", "markers")
    assert code == 4
    assert f"{gone.name} is not there" in one_paragraph(err)
    code, _, err = audit("run", "--model", "C", "--data", f"{served}/none.csv")
    assert code == 2
    assert "does not exist" in one_paragraph(err)


@needs_http
def test_a_slow_stream_is_read_to_its_end_and_one_without_end_to_the_limit() -> None:
    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            for number in range(5):
                self.wfile.write(bytes([number]) * 1000)
                self.wfile.flush()
                time.sleep(0.02)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for address in _serve(Slow):
        assert read_regular(path_of(f"{address}/a.bin")) == b"".join(bytes([number]) * 1000 for number in range(5))

    class Endless(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 4096)
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for address in _serve(Endless):
        with pytest.raises(OSError, match="larger than the limit"):
            read_regular(path_of(f"{address}/a.png"), 100_000)


def test_a_server_that_does_not_answer_is_one_sentence() -> None:
    with pytest.raises(ImageError, match=r"^Image http://127.0.0.1:1/a.png cannot be opened: [^\n]+$"):
        read_gray(path_of("http://127.0.0.1:1/a.png?signature=secret"))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a client of an object store of this machine, which has the bucket `films`."""
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    client.create_bucket(Bucket="films")
    yield client
    client.close()
    server.stop()


@needs_s3
def test_a_bucket_is_read_as_a_folder_is(bucket: Any, tmp_path: Path) -> None:
    manifest = cohort_in(tmp_path / "data", 1)
    for file in (manifest, *(manifest.parent / "images").iterdir()):
        bucket.upload_file(os.fspath(file), "films", file.relative_to(tmp_path).as_posix())
    here, _ = read_records(manifest)
    there, reading = read_records(path_of("s3://films/data/manifest.csv"))
    assert [r.id for r in there] == [r.id for r in here]
    for one, other in zip(here, there, strict=True):
        assert address_of(other.path) == f"s3://films/data/images/{one.path.name}"
        assert (read_gray(one.path) == read_gray(other.path)).all()
    # A table of this machine may name objects too, and that is said.
    table = tmp_path / "mixed.csv"
    table.write_text(f"path,label\ns3://films/data/images/{here[0].path.name},a\n{here[1].path},b\n")
    with pytest.raises(CohortError, match=r"Row 2 .* read over the network.*--remote s3://films\."):
        read_records(table)
    with pytest.raises(CohortError, match="--remote s3://films"):
        read_records(table, how=TableOptions(remote=("s3://film", "s3://films/other", "https://films")))
    records, reading = read_records(table, how=TableOptions(remote=("s3://films/data/",)))
    assert (read_gray(records[0].path) == read_gray(here[0].path)).all()
    assert "1 image is read over the network (s3)." in reading.warnings
    bucket.delete_object(Bucket="films", Key=f"data/images/{here[0].path.name}")
    with pytest.raises(ImageError, match=r"Image s3://films/data/images/\S+ is not there"):
        read_gray(records[0].path)
    with pytest.raises(ImageError, match=r"Image s3://elsewhere/a.png (is not there|cannot be opened)"):
        read_gray(path_of("s3://elsewhere/a.png"))


def test_other_addresses_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    for header, row in (
        ("path,label", "https://me:secret@h.org/a.png,a"),
        ("path,label,lung_mask", "a.png,a,https://me:secret@h.org/m.png"),
    ):
        table.write_text(f"{header}\n{row}\n")
        with pytest.raises(CohortError, match=r"Row 2 .* holds a user or password"):
            read_records(table)
    table.write_text("path,label,lung_mask\na.png,a,https://h.org/m.png\n")
    with pytest.raises(CohortError, match=r"names mask 'https://h.org/m.png'.*--remote https://h.org"):
        read_records(table)
    _, reading = read_records(table, how=TableOptions(remote=("https://h.org",)))
    assert "1 mask is read over the network (https)." in reading.warnings
