"""Runs `audit` commands, each in a process forked from this one: what it imports is imported once, and its limits are its own."""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SLOW_S = 20.0
MOST_MEMORY_BYTES = 1_500_000_000
LONGEST_MESSAGE = 2000
_PATIENCE_S = 100.0
"""A busy machine gives a process little: what waits for ever is told from what works by the time that the processor spent."""
_ADDED_BYTES = 4 << 30
_FAULTS = ("Traceback (most recent call last)", "This is a bug in audit", "The memory of this machine does not suffice")
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
    """Its memory at most, beyond what it was forked with."""


def run_forked(arguments: Sequence[object], folder: Path, environment: Mapping[str, str | None] | None = None) -> Ended:
    """Run one command in a folder, in a process of its own, with variables set or (None) unset; one that does not end is ended."""
    out, err = folder.with_name(folder.name + ".out"), folder.with_name(folder.name + ".err")
    began = time.monotonic()
    # A forked process starts with the memory of its parent, which in a long session of tests is large.
    inherited = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    pid = os.fork()
    if pid == 0:
        try:
            for name, value in (environment or {}).items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
            _become(arguments, folder, out, err)
        finally:
            os._exit(99)
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            break
        waited = time.monotonic() - began
        if waited > _PATIENCE_S or (waited > SLOW_S and _spent_s(pid) < 0.2 * waited):
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
        peak_bytes=max(0, usage.ru_maxrss * 1024 - inherited),
    )


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
    from audit.cli.main import main

    sys.argv = ["audit", *map(str, arguments)]
    code: object = 99
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 99)


def _spent_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
