"""`audit run --engine ray`: the bytes of one process, from nodes that see none of its files, and whoever is lost on the way."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from audit.errors import AuditError, UsageError
from audit.prediction import cluster as ray_cluster
from audit.prediction import dispatch
from audit.prediction.cluster import RayCluster, _ray
from audit.prediction.dispatch import dispatched

from .conftest import Audit, one_paragraph, quick_audit
from .test_workers import contents

pytestmark = pytest.mark.leaves_threads
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="the extra `ray` is not installed")
STORE_BYTES = 80 * 1024 * 1024
_NEW_MOUNTS, _PRIVATE = 0x00020000, (1 << 14) | (1 << 18)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a cluster whose head does no work, and two nodes with one processor each.

    Where the system permits it (to root, on Linux), they see no folder of the tests.
    """
    _ray()  # as a run imports it
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        shutdown_at_exit=False,  # that would ask for the main thread
        head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES},
    )

    def add_nodes() -> None:
        _hide(tmp_path_factory.getbasetemp())
        for _ in range(2):
            made.add_node(num_cpus=1, object_store_memory=STORE_BYTES)

    try:
        # What a thread hides is hidden from the processes that it starts, and from nobody else.
        starter = threading.Thread(target=add_nodes)
        starter.start()
        starter.join()
        yield made
    finally:
        made.shutdown()


def _hide(folder: Path) -> None:
    """Put an empty folder in the place of one, for this thread and what it starts, if the system permits it."""
    system = ctypes.CDLL(None, use_errno=True)
    if not hasattr(system, "unshare") or system.unshare(_NEW_MOUNTS) != 0:
        return
    system.mount(None, b"/", None, ctypes.c_ulong(_PRIVATE), None)
    assert system.mount(b"none", os.fsencode(folder), b"tmpfs", ctypes.c_ulong(0), None) == 0


def run_of(out: str) -> Path:
    return Path(json.loads(out)["run"])


def _ended_when(process: subprocess.Popen[bytes], is_time: Callable[[], bool]) -> tuple[bytes, bytes]:
    """Kill a process when it is time; return what it wrote."""
    deadline = time.monotonic() + 200
    while process.poll() is None and not is_time() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    return process.communicate()


@needs_ray
@pytest.mark.slow
def test_whoever_is_lost_nodes_without_files_leave_the_bytes_of_one_process(
    audit: Audit, write_cohort: Any, known_bundle: Path, cluster: Any, tmp_path: Path
) -> None:
    asked = [*quick_audit(write_cohort(11)), "--json"]
    code, out, err = audit(*asked, "--runs", "one", "--cache", "cache-one", "--engine", "serial")
    assert code == 0, err
    one = run_of(out)

    asked += ["--runs", "ray", "--cache", "cache-ray", "--engine", "ray", "--address", cluster.address]
    runs = tmp_path / "ray"
    # The first process is killed in mid-run.
    # Not forked from this one: it has threads of Ray's.
    driver = subprocess.Popen([sys.executable, "-m", "audit", *map(str, asked)], cwd=tmp_path, stderr=subprocess.PIPE)
    _, said = _ended_when(driver, lambda: bool(list(runs.glob("*/predictions/part-*.parquet"))))
    assert driver.returncode == -signal.SIGKILL, said
    (begun,) = runs.iterdir()
    kept = {p.name: p.stat().st_mtime_ns for p in (begun / "predictions").glob("part-*")}
    assert 0 < len(kept) < 3

    # The same command goes on, and a node is killed.
    lost = []

    def lose_node() -> None:
        while len(list(runs.glob("*/predictions/part-*.parquet"))) <= len(kept):
            time.sleep(0.01)
        lost.append(cluster.worker_nodes.copy().pop())
        cluster.remove_node(lost[0], allow_graceful=False)

    loser = threading.Thread(target=lose_node)
    loser.start()
    code, out, err = audit(*asked)
    loser.join()
    assert code == 0, err
    assert len(lost) == 1
    two = run_of(out)
    assert contents(two) == contents(one)
    assert kept.items() <= {p.name: p.stat().st_mtime_ns for p in (two / "predictions").iterdir()}.items()
    assert not _ray().is_initialized()


def _nothing(_job: object) -> None:
    """Start nothing."""


@needs_ray
@pytest.mark.slow
def test_another_version_is_one_sentence(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = ray_cluster._versions()
    with monkeypatch.context() as patch:
        patch.setattr(ray_cluster, "_versions", lambda: {**versions, "torch": "0.1"})
        with pytest.raises(
            AuditError, match=r"The Ray node \S+ has torch \S+, but this machine 0\.1\. .*same versions"
        ):
            list(RayCluster(address=cluster.address).results(_nothing, None, abs, [1]))
    with monkeypatch.context() as patch:
        patch.setattr(_ray(), "__version__", "1.0")
        with pytest.raises(UsageError, match=r"another version of Ray or Python than this process \(Ray 1\.0"):
            RayCluster(address=cluster.address).check()
    assert not _ray().is_initialized()


@needs_ray
@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (
            "127.0.0.1:1",
            "No Ray cluster answers at 127.0.0.1:1 (Connection refused). Start one with `ray start --head`",
        ),
        ("ray://head:10001", "a client (ray://) has no place for its files there"),
        ("head", "--address must be HOST:PORT"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_sentence_before_anything_is_read(
    audit: Audit, address: str, expected: str
) -> None:
    code, _, err = audit("run", "--model", "none", "--data", "none.csv", "--engine", "ray", "--address", address)
    assert code == 2
    assert expected in one_paragraph(err)


@needs_ray
@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_that_is_no_head_is_one_sentence_and_no_wait(
    audit: Audit, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(ray_cluster, "_CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=lambda: _answer(server, said))
        answering.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        code, _, err = audit("run", "--model", "none", "--data", "none.csv", "--engine", "ray", "--address", address)
        answering.join()
    assert code == 2
    assert f"What answers at {address} is not the head of a Ray cluster" in one_paragraph(err)


def _answer(server: socket.socket, said: bytes) -> None:
    """Say what is given to one client, or nothing, and listen until it leaves."""
    client, _ = server.accept()
    with client, suppress(OSError):
        client.sendall(said)
        while client.recv(1 << 10):
            pass


def test_engines_that_contradict_other_settings_are_refused(audit: Audit) -> None:
    for further, expected in (
        (["--address", "auto"], "--address names the Ray cluster of --engine ray, but the engine is auto"),
        (["--engine", "serial", "--workers", 2], "--engine serial is one process, but --workers 2 was given"),
        (["--engine", "ray", "--emit", "out"], "--emit writes images into a folder of this machine"),
    ):
        code, _, err = audit("run", "--model", "none", "--data", "none.csv", *further)
        assert code == 2
        assert expected in one_paragraph(err)


def test_ray_is_imported_for_its_own_engine_alone(
    audit: Audit, write_cohort: Any, known_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # whoever imports it now fails
    asked = quick_audit(write_cohort(2))
    code, _, err = audit(*asked, "--engine", "serial")
    assert code == 0, err
    code, _, err = audit(*asked, "--engine", "ray")
    assert code == 2
    assert "--engine ray needs the package ray. Install it with `pip install 'imageaudit[ray]'`" in one_paragraph(err)


class FailingError(Exception):
    """An error of the Ray that stands in below."""


class TaskError(FailingError):
    def as_instanceof_cause(self) -> Exception:
        return self.args[0]  # type: ignore[no-any-return]


class Standing:
    """Stands in for Ray and its actors: a future is a function, and everything is done when it is asked for."""

    class exceptions:  # noqa: N801
        RayError, RayTaskError, OutOfDiskError = FailingError, TaskError, type("Full", (FailingError,), {})

    def __init__(self, do: Any, ready: Any = lambda: "") -> None:
        self.ready, self.do = (
            type("Method", (), {"remote": staticmethod(m)}) for m in (self._later(ready), self._later(do))
        )
        self.most_waiting, self.asked, self.answered = 0, 0, 0

    def _later(self, method: Any) -> Any:
        def ask(*arguments: object) -> Any:
            self.asked += bool(arguments)
            self.most_waiting = max(self.most_waiting, self.asked - self.answered)
            return lambda: method(*arguments)

        return ask

    def wait(self, futures: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        return futures[:1], futures[1:]

    def get(self, future: Any) -> Any:
        self.answered += 1
        return future()

    def kill(self, actor: object) -> None:
        """Nothing is there to be killed."""


def _work(do: Any, ready: Any = lambda: "", n: int = 40) -> tuple[list[tuple[int, Any]], Standing]:
    made = Standing(do, ready)
    return list(dispatched(made, lambda: made, 1, range(n))), made


def test_few_tasks_wait_and_a_lost_one_is_done_again() -> None:
    done, made = _work(lambda number: -number)
    assert done == [(number, -number) for number in range(40)]
    assert made.most_waiting <= dispatch._WAITING + 1
    lost = iter([FailingError("the node died")] * 2)

    def sometimes(number: int) -> int:
        if number == 7 and (error := next(lost, None)):
            raise error
        return -number

    assert sorted(_work(sometimes)[0]) == [(number, -number) for number in range(40)]


def _raising(error: Exception) -> Any:
    def method(*_: object) -> Any:
        raise error

    return method


@pytest.mark.parametrize(
    ("do", "ready", "error", "expected"),
    [
        (_raising(FailingError("killed\nout of memory")), lambda: "", AuditError, r"3 processes .* were lost .* \(out of memory\)"),
        (_raising(Standing.exceptions.OutOfDiskError()), lambda: "", AuditError, r"The disk of a Ray node is full.*are kept"),
        (_raising(TaskError(ZeroDivisionError("a bug"))), lambda: "", ZeroDivisionError, "a bug"),
        (abs, _raising(FailingError("No module named audit")), AuditError, r"cannot start its part \(No module named audit\)"),
        (abs, lambda: "The Ray node 1 lacks it.", AuditError, "The Ray node 1 lacks it"),
    ],
)  # fmt: skip
def test_what_cannot_be_mended_is_one_sentence(do: Any, ready: Any, error: type[Exception], expected: str) -> None:
    with pytest.raises(error, match=expected):
        _work(do, ready)


def test_a_cluster_without_processors_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_PATIENCE_S", -1.0)
    monkeypatch.setattr(Standing, "wait", lambda *_, **__: ([], []))
    with pytest.raises(AuditError, match="no free processor"):
        _work(abs)
