"""A Ray cluster as an engine: every node does tasks, and results come back as bytes. Ray is imported here, and only when it is used.

Nodes need neither a shared disk nor the files of a run. Each actor is sent the job once, opens the model once, and asks the machine that
started the run for files that it does not have (`audit.prediction.node_files`). At most two tasks wait for each actor. What a lost node was
doing is given to others.
"""

from __future__ import annotations

import os
import pickle
import platform
import signal
import socket
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from audit.errors import AuditError, UsageError, shown_string
from audit.prediction.dispatch import dispatched
from audit.prediction.node_files import ByFirstMachine, FirstMachine
from audit.prediction.pool import STATE
from audit.remote.elsewhere import read_by_way_of

_CONNECT_S = 10.0
_SETTINGS, _FRAME_HEAD = 4, 9
_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0))
"""What a client of HTTP/2 says first (RFC 9113, section 3.4), with empty settings."""
_DECIDING = (
    "imageaudit",
    "torch",
    "torchvision",
    "numpy",
    "onnxruntime",
    "pillow",
    "scipy",
    "scikit-image",
    "rapidocr",
)
"""Packages whose version moves the last digits of a result."""


@dataclass(frozen=True, kw_only=True)
class RayCluster:
    """A Ray cluster."""

    address: str = ""
    """HOST:PORT of its head, or auto for the cluster of this machine; empty for RAY_ADDRESS, or a Ray of this machine alone."""
    most: int | None = None
    """Actors at most; None for as many as it has processors (or GPUs, where they are needed)."""
    is_alone: bool = False
    """Actors do the work."""
    is_remote: bool = True
    """Nodes may lack the files of this machine."""

    def check(self) -> None:
        """Connect, where a cluster should be there already, before anything is read for it.

        Raises
        ------
        UsageError
            If Ray is not installed, or there is no such cluster, or it runs another version.
        """
        if self.address or os.environ.get("RAY_ADDRESS"):
            with _connected(self.address):
                pass
        else:
            _ray()

    def results(
        self,
        start: Callable[[Any], None],
        job: object,
        task: Callable[[int], Any],
        numbers: Sequence[int],
        *,
        on_gpu: bool = False,
    ) -> Generator[tuple[int, Any], None, None]:
        """Yield (number, result) of every task as it is done; see `audit.prediction.engines.Engine.results`."""
        if not numbers:
            return
        with _connected(self.address) as ray:
            here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                ray.get_runtime_context().get_node_id(), soft=False
            )
            files = ray.remote(FirstMachine).options(num_cpus=0, max_concurrency=8, scheduling_strategy=here).remote()
            sent = ray.put(pickle.dumps((start, job, task)))
            kind = ray.remote(_Actor).options(num_cpus=0 if on_gpu else 1, num_gpus=1 if on_gpu else 0)
            slots = int(ray.cluster_resources().get("GPU" if on_gpu else "CPU", 0))
            n = max(1, min(self.most or slots, len(numbers)))
            try:
                yield from dispatched(ray, lambda: kind.remote(sent, files, Path.cwd(), _versions()), n, numbers)
            finally:
                with suppress(Exception):  # the connection may be what was lost
                    ray.kill(files)


class _Actor:
    """One process of a node."""

    def __init__(self, sent: bytes, files: Any, folder: Path, versions: Mapping[str, str]) -> None:
        self._sent, self._files, self._folder, self._versions = sent, files, folder, versions
        self._task: Callable[[int], Any] | None = None

    def ready(self) -> str:
        """Make everything ready for tasks; return why that is not possible, with the node's name, or nothing."""
        ray = _ray()
        where = f"The Ray node {ray.util.get_node_ip_address()}"
        for name, version in _versions().items():
            if version != self._versions.get(name):
                return (
                    f"{where} has {name} {version}, but this machine {self._versions.get(name)}. Results must not depend on the node: "
                    "install the same versions on all of them."
                )
        read_by_way_of(
            ByFirstMachine(
                self._folder,
                lambda path, seen, limit: ray.get(self._files.read.remote(path, seen, limit)),
                lambda path: bool(ray.get(self._files.has.remote(path))),
            )
        )
        STATE.clear()
        try:
            start, job, self._task = pickle.loads(self._sent)  # noqa: S301  # what the first process packed
            start(job)
        except (AuditError, OSError) as error:
            return f"{where} cannot do its part: {error}"
        return ""

    def do(self, number: int) -> Any:
        """Do one task."""
        assert self._task is not None
        return self._task(number)


def _versions() -> dict[str, str]:
    """Return the versions that results depend on, of this process."""
    found = {}
    for name in _DECIDING:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _ray() -> Any:
    silent = {} if "ray" in sys.modules else {"RAY_DEDUP_LOGS_SKIP_REGEX": "^"}
    os.environ.update(
        silent
    )  # Ray reads it as it is imported; otherwise it prints twenty lines on stdout when a node is lost
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise UsageError(
            "--engine ray needs the package ray. Install it with `pip install 'imageaudit[ray]'`."
        ) from error
    return ray


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Connect to the cluster, or to the one that the caller's own program is connected with already."""
    ray = _ray()
    if ray.is_initialized():
        yield ray
        return
    asked = address or os.environ.get("RAY_ADDRESS", "")
    _check_address(asked)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # data of patients: nothing is reported to anyone
    handlers = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    own: dict[str, Any] = {} if asked else {"include_dashboard": False}
    try:
        ray.init(address=asked or "local", log_to_driver=False, logging_level="critical", **own)
    except (UsageError, KeyboardInterrupt):
        raise
    except Exception as error:  # whatever Ray raises: it has a type for each way of failing
        with suppress(Exception):  # what was half connected would stand in the way of whoever connects next
            ray.shutdown()
        raise UsageError(_why_not(asked, ray.__version__, error)) from error
    finally:
        _restore(handlers)
    try:
        yield ray
    finally:
        with suppress(Exception):
            ray.shutdown()
        _restore(handlers)


def _check_address(address: str) -> None:
    """Refuse an address that nobody answers at, in seconds: Ray itself would try for a minute."""
    if address in ("", "auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(
            f"--address must be HOST:PORT of the head of a Ray cluster, or auto, found {shown_string(address)!r}. The audit runs on a "
            "machine of the cluster: a client (ray://) has no place for its files there."
        )
    try:
        with socket.create_connection((host, int(port)), timeout=_CONNECT_S) as connection:
            greeted = os.environ.get("RAY_USE_TLS", "0") == "1" or _greets(connection)
    except OSError as error:
        raise UsageError(
            f"No Ray cluster answers at {address} ({error.strerror or error}). Start one with `ray start --head`, correct --address, or "
            "use --engine processes."
        ) from error
    if not greeted:
        raise UsageError(
            f"What answers at {address} is not the head of a Ray cluster: it does not speak gRPC. Give --address the address that "
            "`ray start --head` printed, or use --engine processes."
        )


def _greets(connection: socket.socket) -> bool:
    """Say whether a server answers as gRPC does, by the settings frame that opens HTTP/2; Ray itself would wait for ever for another."""
    try:
        connection.sendall(_HTTP2_GREETING)
        answer = b""
        while len(answer) < _FRAME_HEAD and (more := connection.recv(_FRAME_HEAD - len(answer))):
            answer += more
    except OSError:  # it hung up, or said nothing
        return False
    return len(answer) == _FRAME_HEAD and answer[3] == _SETTINGS


def _why_not(address: str, version: str, error: Exception) -> str:
    told = shown_string(" ".join(str(error).split()), 200)
    if "ersion mismatch" in told:
        told = shown_string(" ".join(str(error).replace("Version mismatch:", "").split()), 300)
        return (
            f"The Ray cluster {address} has another version of Ray or Python than this process (Ray {version}, Python "
            f"{platform.python_version()}): {told} Install the same versions."
        )
    return (
        f"Cannot connect to the Ray cluster {address or 'of this machine'} with Ray {version}, Python {platform.python_version()}: "
        f"{told.rstrip('.')}. Every machine must have the same versions of both; if the cluster asks for a token, set RAY_AUTH_MODE=token."
    )


def _restore(handlers: Mapping[int, Any]) -> None:
    """Put back what answers signals: Ray puts its own in their place."""
    with suppress(ValueError):  # not the main thread, where Ray could not change them either
        for number, handler in handlers.items():
            signal.signal(number, handler)
