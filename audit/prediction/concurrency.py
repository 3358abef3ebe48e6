"""Processes: how many a stage is worth, by what was asked for, the machine and the work; and how they are started."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Literal

import cv2
from joblib import cpu_count
from threadpoolctl import ThreadpoolController

_PRELOADED = ("audit.models.opening", "audit.prediction.shards", "audit.text.find", "audit.discovery.search")
_BYTES_EACH = 1_500_000_000
"""Memory that a process of the larger networks takes at its peak, with room."""
_LEAST_IMAGES = 64
_LEAST_WORK = 2_000_000_000
"""Below both, starting processes takes longer than they save; of a DenseNet-121, these are three hundred predictions."""


def count_processes(asked: int | Literal["auto"], n_images: int, work: int = 0) -> int:
    """Return the number of processes for a stage.

    Parameters
    ----------
    asked : int or "auto"
        What the user set. A number is taken at its word; "auto" is one process for few images of a small network or in a script
        without `if __name__ == "__main__"`, and otherwise one for each core that this process may use, as far as the free memory
        suffices.
    n_images : int
        Images of the stage.
    work : int
        Predictions of the run times weights of the network (`audit.models.backends.work_of`).
    """
    if asked != "auto":
        return asked
    if (n_images < _LEAST_IMAGES and work < _LEAST_WORK) or _main_would_run_again():
        return 1
    return every_core()


def every_core() -> int:
    """Return one process for each core that this process may use, as far as the free memory suffices."""
    free, cores = _free_bytes(), int(cpu_count())
    return cores if free is None else max(1, min(cores, free // _BYTES_EACH))


def process_context() -> BaseContext:
    """Return how processes are started: never forked from this one, whose threads of torch a forked copy would wait for in vain.

    A server that has imported what every stage needs, and has computed nothing, forks them in milliseconds and lives as long as
    this process. Where a system has none, each process is started anew and imports for itself.
    """
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    return context


@contextmanager
def one_core() -> Iterator[None]:
    """Let matrix products and torch use one core each, so that the number of cores and of processes changes no digit."""
    from audit.models.torch_classifier import one_thread

    with one_thread(), _matrix_libraries().limit(limits=1):
        yield


@cache
def _matrix_libraries() -> ThreadpoolController:
    return ThreadpoolController()


def take_one_core() -> None:
    """Let everything in this process use one core: there is a process for each."""
    os.environ["OMP_NUM_THREADS"] = "1"  # what is loaded, or opens a session, from now on
    cv2.setNumThreads(1)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


def _main_would_run_again() -> bool:
    """Say whether each process would run the whole program that runs here, because it does not ask for its `__name__`."""
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None)
    if getattr(main, "__spec__", None) is not None or script is None:  # python -m, an interpreter, a notebook
        return False
    try:
        return b"__name__" not in Path(script).read_bytes()
    except OSError:
        return True


def _free_bytes() -> int | None:
    """Return the memory that processes can have without swapping; None where the system does not say."""
    available = (line for line in _lines("/proc/meminfo") if line.startswith("MemAvailable:"))
    found = [int(line.split()[1]) * 1024 for line in available]
    # A container's limit is not in /proc/meminfo.
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdigit() and used[0].isdigit():
        found.append(max(0, int(limit[0]) - int(used[0])))
    return min(found, default=None)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
