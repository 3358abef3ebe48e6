"""Runs `audit` commands, each in a process forked from this one: what it imports is imported once, and its limits are its own."""

from __future__ import annotations

import fcntl
import itertools
import mmap
import os
import pickle
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, process, resource_tracker, util
from pathlib import Path
from types import ModuleType

SLOW_S = 20.0
MOST_MEMORY_BYTES = 1_500_000_000
LIBRARIES_BYTES = 880_000_000
"""What a process takes that has imported every module; most commands import less."""
LONGEST_MESSAGE = 2000
_PATIENCE_S = 900.0
"""What works without end is ended by the limit on the processor's seconds; this is the last resort."""
_ADDED_BYTES = 4 << 30
_FAULTS = ("Traceback (most recent call last)", "This is a bug in audit", "This machine does not have enough memory")
_PART = re.compile(r"\.part$|^\..*\.part")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What became of a command."""

    code: int
    """Exit code; that of a process that a signal ended is its number, negative."""
    out: str
    """Standard output."""
    err: str
    """Standard error."""
    cpu_s: float
    """Seconds that it spent."""
    wall_s: float
    """Seconds that it took."""
    peak_bytes: int
    """Its memory at most, as if it had been started by itself."""


def run_forked(arguments: Sequence[object], folder: Path, environment: Mapping[str, str | None] | None = None) -> Ended:
    """Run one command in a folder, in a process of its own, with variables set or (None) unset; one that does not end is ended."""
    out, err = _streams(folder)
    began = time.monotonic()
    # A forked process starts with the memory of its parent, which in a long session of tests is large; it tells how much.
    told = mmap.mmap(-1, 8)
    pid = start_forked(arguments, folder, environment, told)
    busy, spent = began, -1.0
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            break
        now = time.monotonic()
        # A busy machine gives a process little, so that only one which asks for nothing is taken to wait for ever.
        waits, uses = _state(pid)
        if not waits or uses > spent:
            busy, spent = now, uses
        if now - busy > SLOW_S or now - began > _PATIENCE_S:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.004)
    texts = [path.read_bytes().decode("utf-8", "surrogateescape") for path in (out, err)]
    for path in (out, err):
        path.unlink()
    return Ended(
        code=os.waitstatus_to_exitcode(status),
        out=texts[0],
        err=texts[1],
        cpu_s=usage.ru_utime + usage.ru_stime,
        wall_s=time.monotonic() - began,
        peak_bytes=LIBRARIES_BYTES + max(0, usage.ru_maxrss * 1024 - struct.unpack("<q", told[:])[0]),
    )


def start_forked(
    arguments: Sequence[object],
    folder: Path,
    environment: Mapping[str, str | None] | None = None,
    told: mmap.mmap | None = None,
) -> int:
    """Start one command as `run_forked` does, and return its process, which leads a group of its own.

    Parameters
    ----------
    arguments, folder, environment
        As of `run_forked`.
    told : mmap, optional
        Where it writes how many bytes it was forked with.
    """
    pid = os.fork()
    if pid == 0:
        try:
            if told is not None:
                told.write(
                    struct.pack("<q", int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
                )
            for name, value in (environment or {}).items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
            _become(arguments, folder, *_streams(folder))
        finally:
            os._exit(99)
    return pid


def started_anew(
    arguments: Sequence[object], folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start one command in a folder by an interpreter of its own, which leads a group of its own; what it says goes where
    `said_by` reads it.

    For commands that start processes themselves: a copy of this process, whose libraries may have threads by now, could wait for
    what one of them held.
    """
    out, err = _streams(folder)
    with out.open("w") as told, err.open("w") as complained:
        return subprocess.Popen(
            [sys.executable, "-m", "audit", *map(str, arguments)],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdout=told,
            stderr=complained,
            start_new_session=True,
            text=True,
        )


def said_by(folder: Path) -> str:
    """Return what the last command of a folder wrote to its standard error."""
    return _streams(folder)[1].read_text()


def wait_until(ended: Callable[[], int | None], is_time: Callable[[], bool], patience_s: float = 200.0) -> None:
    """Wait until it is time to end a process, whose exit code, if it has any, is asked for; fail where it ends before, or it is never
    time."""
    deadline = time.monotonic() + patience_s
    while not is_time():
        assert ended() is None, f"it ended with {ended()} before it could be ended"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _streams(folder: Path) -> tuple[Path, Path]:
    return folder.with_name(folder.name + ".out"), folder.with_name(folder.name + ".err")


def _become(arguments: Sequence[object], folder: Path, out: Path, err: Path) -> None:
    """Turn this process into the command; never return."""
    os.setsid()
    os.chdir(folder)
    null = os.open(os.devnull, os.O_RDONLY)
    made = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for path in (out, err)]
    for descriptor, given in enumerate((null, *made)):
        os.dup2(given, descriptor)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(os.dup(i), mode) for i, mode in enumerate("rww"))
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
    virtual = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (virtual + _ADDED_BYTES,) * 2)
    seconds = int(2 * SLOW_S)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Workers import the main module of who starts them, which here is no command.
    sys.modules["__main__"] = ModuleType("__main__")
    _forget_processes()
    from audit.cli.main import main

    sys.argv = ["audit", *map(str, arguments)]
    code: object = 99
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 99)


def _forget_processes() -> None:
    """Leave the processes of this one's parent to it: a command starts its own server of workers, with a child that tidies up."""
    process._children = set()  # type: ignore[attr-defined]
    process._process_counter = itertools.count(1)  # type: ignore[attr-defined]
    resource_tracker._resource_tracker.__init__()  # type: ignore[misc]
    forkserver._forkserver.__init__()  # type: ignore[misc]
    own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    waiting = os.fork()
    if waiting == 0:
        own.close()
        try:
            _wait_to_serve(theirs)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    theirs.close()
    spawn = util.spawnv_passfds

    def start(path: bytes, arguments: Sequence[str], descriptors: Sequence[int]) -> int:
        """Start what multiprocessing starts beside a command; the server is there, and need not import for seconds."""
        if "forkserver" not in arguments[-1]:
            return int(spawn(path, arguments, descriptors))
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        asked = (arguments[-1], [int(d) for d in descriptors], sorted(map(int, mask)))
        socket.send_fds(own, [pickle.dumps(asked)], [*asked[1], 0, 1, 2])
        own.close()
        return waiting

    util.spawnv_passfds = start


_SPARE = 200
"""Descriptors from here on are free."""


def _wait_to_serve(line: socket.socket) -> None:
    """Wait, deaf to signals, until the command starts its server of workers, and become it: a child of the command that has imported
    everything and computed nothing."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    inherited = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
    asked, given, _, _ = socket.recv_fds(line, 1 << 16, 8)
    if not asked:
        return
    program, wanted, mask = pickle.loads(asked)
    line.detach()
    kept = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _SPARE) for descriptor in given]
    os.closerange(0, _SPARE)
    # What is left of objects of the tests may close its number at any time, so nothing else may get it.
    null = os.open(os.devnull, os.O_RDWR)
    for number in inherited:
        os.dup2(null, number)
    for descriptor, number in zip(kept, [*wanted, 0, 1, 2], strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(i, mode, closefd=False) for i, mode in enumerate("rww"))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    exec(program, {"__name__": "__main__"})


def _state(pid: int) -> tuple[bool, float]:
    """Return whether a process waits, and the seconds of the processor that it has spent."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0] == "S", (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def faults(ended: Ended, folder: Path) -> Iterator[str]:
    """Yield what no command may do, whatever it was given."""
    said = ended.out + ended.err
    if ended.code < 0 or ended.code not in (0, 1, 2, 3, 4, 5):
        name = signal.Signals(-ended.code).name if ended.code < 0 else str(ended.code)
        yield "hang" if ended.wall_s > SLOW_S and name == "SIGKILL" else f"ended with {name}"
    elif ended.cpu_s > SLOW_S:
        yield "hang"
    for sign in _FAULTS:
        if sign in said:
            yield sign
    if ended.peak_bytes > MOST_MEMORY_BYTES:
        yield "memory"
    if any(len(line) > LONGEST_MESSAGE for line in ended.err.splitlines()):
        yield "long message"
    if any(_is_raw(sign) for sign in said):
        yield "raw characters"
    if ended.code in (2, 4) and not said.strip():
        yield "silent failure"
    if any(_PART.search(path.name) for path in folder.rglob("*")):
        yield "left behind"


def _is_raw(sign: str) -> bool:
    """Say whether a terminal would obey a character, or turn text round by it."""
    kind = unicodedata.category(sign)
    return (kind == "Cc" and sign not in "\n\t\r") or (kind == "Cf" and sign != "\N{SOFT HYPHEN}") or kind == "Cs"
