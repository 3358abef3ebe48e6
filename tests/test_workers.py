"""One process and two leave the same bytes, also when they were killed and went on; a dead one is said in words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from audit.errors import AuditError
from audit.prediction import processes as workers
from audit.prediction.engines import Processes

from .conftest import Audit, one_paragraph, quick_audit
from .forked_commands import started_anew, wait_until

TOLD = ("run.json", "report.html", "junit.xml", "summary.md", "gates.sarif")
"""Files that say when a run was made, where, and how long it took."""


@pytest.fixture
def asked(write_cohort: Any, known_bundle: Path) -> list[object]:
    """Return the command, on 33 images, that is three shards, of a network that another process can build too."""
    return [*quick_audit(write_cohort(11)), "--relevance-images", 5]


def contents(run: Path) -> dict[str, bytes]:
    """Return every file of a run, its heatmaps and pictures too."""
    files = {str(p.relative_to(run)): p.read_bytes() for p in sorted(run.rglob("*")) if p.is_file()}
    return {name: data for name, data in files.items() if name not in TOLD}


# A kill is survived wherever it comes; 50 random moments are in `benchmarks/killed_runs.py`.
MOMENTS = ("plan.json", "predictions/part-*.parquet", "effects.json")


@pytest.mark.slow
def test_two_processes_kill_and_resume_leave_the_same_bytes(audit: Audit, asked: list[object], tmp_path: Path) -> None:
    code, out, err = audit(*asked, "--runs", "one", "--cache", "cache-one")
    assert code == 0, err
    one = tmp_path / Path(out.splitlines()[-1]).parent
    # The tests' own single thread must not be what makes them equal; and a process that has used two must not be forked afterwards.
    more = [sys.executable, "-m", "audit", *map(str, asked), "--runs", "more", "--cache", "cache-more"]
    ended = subprocess.run(
        more, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "2"}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert contents(tmp_path / Path(ended.stdout.splitlines()[-1]).parent) == contents(one)
    code, out, err = audit(*asked, "--runs", "two", "--cache", "cache-two", "--workers", 2)
    assert code == 0, err
    two = tmp_path / Path(out.splitlines()[-1]).parent
    assert one.name == two.name, "the number of processes is no part of the plan"
    assert contents(two) == contents(one)

    for moment in MOMENTS:
        runs = tmp_path / moment.partition(".")[0].replace("/", "-")
        kill_at(moment, [*asked, "--runs", runs, "--cache", f"cache-{runs.name}", "--workers", 2], runs, tmp_path)
        code, out, err = audit(*asked, "--runs", runs, "--cache", f"cache-{runs.name}", "--workers", 2)
        assert code == 0, err
        assert contents(Path(out.splitlines()[-1]).parent) == contents(one)
        assert not list(tmp_path.rglob("*.part")), "left behind"


def kill_at(moment: str, asked: list[object], runs: Path, folder: Path) -> None:
    """Start an audit, kill it where a file appears, and wait until none of its processes is there any more."""
    victim = started_anew(asked, folder, {"OMP_NUM_THREADS": "1"})
    wait_until(victim.poll, lambda: bool(list(runs.glob(f"*/{moment}"))))
    children = _children(victim.pid)
    victim.kill()
    assert victim.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 200
    while [pid for pid in children if Path(f"/proc/{pid}/cmdline").exists() and _alive(pid)]:
        assert time.monotonic() < deadline, "a process outlived the one that started it"
        time.sleep(0.02)
    assert not list(runs.glob("*/run.json")), "killed before its end"


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    if not found.exists():
        pytest.skip("no /proc to list processes by")
    # Spawned processes are started by threads too, so every thread is asked.
    return [int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def _dies(_number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def _complains(number: int) -> int | str:
    return f"image {number} cannot be read"


def _nothing(_job: object) -> None:
    return None


@pytest.mark.slow
def test_a_dead_or_failing_process_is_one_clear_error() -> None:
    with pytest.raises(AuditError, match=r"One of 2 processes died.*fewer --workers"):
        workers._spread(_nothing, None, _dies, range(2), Processes(n=2), lambda: None)
    with pytest.raises(AuditError, match=r"image \d cannot be read"):
        workers._spread(_nothing, None, _complains, range(2), Processes(n=2), lambda: None)


def _cannot_start(_job: object) -> None:
    raise AuditError("the bundle was changed")


@pytest.mark.slow
def test_a_process_that_cannot_start_says_why() -> None:
    with pytest.raises(AuditError, match="the bundle was changed"):
        workers._spread(_cannot_start, None, workers._predict, range(2), Processes(n=2), lambda: None)


def test_workers_are_counted_from_one(audit: Audit, asked: list[object]) -> None:
    code, _, err = audit(*asked, "--workers", 0)
    assert code == 2
    assert "--workers must be an integer of at least 1 or auto, found 0" in one_paragraph(err)
