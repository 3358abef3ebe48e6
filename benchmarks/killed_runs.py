"""Audits with two processes that are killed at random moments and repeated: each must end in the same bytes, with nothing left over.

    python -m benchmarks.killed_runs [--kills 50] [--seed 0]

Prints how far each run was when it was killed; exits with code 1 if one ended in other bytes, left a temporary file, or failed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.hostile_world import RESUME, make_world
from tests.test_workers import contents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("AUDIT_KEY", "a key that is used by this benchmark alone")
    rng = random.Random(options.seed)
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="killed-") as place:
        folder = make_world(Path(place) / "world")
        began = time.monotonic()
        whole = _audit(folder, "whole")
        expected, took = contents(whole), time.monotonic() - began
        for number in range(options.kills):
            runs = f"killed-{number}"
            victim = subprocess.Popen(
                _command(runs), cwd=folder, start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
            time.sleep(rng.uniform(0.2, 1.0) * took)
            os.killpg(victim.pid, signal.SIGKILL)
            victim.wait()
            reached = len(list((folder / runs).rglob("*.*")))
            run = _audit(folder, runs)
            left = list(folder.rglob("*.part"))
            fine = contents(run) == expected and not left
            wrong += not fine
            print(
                f"{number:>3}  killed with {reached:>3} files: {'same bytes' if fine else f'WRONG, left {left}'}",
                flush=True,
            )
    print(f"{options.kills} kills, {wrong} wrong")
    sys.exit(bool(wrong))


def _command(runs: str) -> Sequence[str]:
    return [
        sys.executable,
        "-m",
        "audit",
        *RESUME.split(),
        "--workers",
        "2",
        "--runs",
        runs,
        "--cache",
        f"{runs}-cache",
    ]


def _audit(folder: Path, runs: str) -> Path:
    ended = subprocess.run(_command(runs), cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 3), ended.stderr
    (run,) = (folder / runs).iterdir()
    return run


if __name__ == "__main__":
    main()
