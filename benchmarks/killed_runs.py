"""Audits with two processes that are killed at random moments and repeated: each must end in the same bytes, with nothing left over.

    python -m benchmarks.killed_runs [--kills 50] [--seed 0] [--finder annotated]

Half of the moments are drawn by the clock, half by the number of files that were written. The run is repeated with one process or two. With
a finder that looks for text itself, many moments fall into that stage. Prints how far each run was when it was killed, and a table; exits
with code 1 if one ended in other bytes, left a file, or failed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from audit.prediction.shards import SHARD_RECORDS
from audit.store.folder import RENDERED
from benchmarks.hostile_fuzzer import import_all
from tests.forked_commands import start_forked
from tests.hostile_world import RESUME, make_world

SUITE = """\
name = "three"
version = 1

[[condition]]
name = "text-mask-inpaint"
perturbation = "text-mask"
role = "edit"
placebo = "placebo-mask-inpaint"
parameters = { fill = "inpaint" }

[[condition]]
name = "placebo-mask-inpaint"
perturbation = "placebo-mask"
role = "placebo"
parameters = { fill = "inpaint" }
"""
STAGES = (
    ("writing the report", "run.json"),
    ("drawing examples", "relevance.json"),
    ("attributing relevance", "source_probe.json"),
    ("probing sources", "controls.json"),
    ("measuring effects", "conditions.json"),
    ("predicting", "regions.parquet"),
    ("finding text", "plan.json"),
)
"""What a run does, and the file that is there when it begins; the last first."""
_PATIENCE_S = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--finder", default="annotated")
    options = parser.parse_args()
    os.environ.setdefault("AUDIT_KEY", "a key that is used by this benchmark alone")
    import_all()
    rng = random.Random(options.seed)
    table: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory(prefix="killed-") as place:
        folder = make_world(Path(place) / "world")
        (folder / "three.toml").write_text(SUITE)
        (folder / "audit.toml").unlink()
        (folder / "pyproject.toml").unlink()
        manifest = folder / "data/manifest.csv"  # two shards, for two processes
        manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[: SHARD_RECORDS + 3]))
        began = time.monotonic()
        whole = _audit(folder, "whole", 2, options.finder)
        expected, took = _contents(whole), time.monotonic() - began
        n_files = len(_files(folder / "whole"))
        for number in range(options.kills):
            runs = f"killed-{number}"
            by_clock, share = number % 2 == 0, rng.uniform(0.1, 1.0)
            is_time = _clock(share * took) if by_clock else _count(folder / runs, share * n_files)
            reached = _kill(folder, runs, options.finder, is_time)
            workers = rng.choice((1, 2))
            run = _audit(folder, runs, workers, options.finder)
            found, left = _contents(run), [p.name for p in folder.rglob("*") if ".part" in p.name.replace("part-", "")]
            other = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            fine = not other and not left and len(list((folder / runs).iterdir())) == 1
            table[reached, "same bytes" if fine else "WRONG"] += 1
            outcome = "same bytes" if fine else f"WRONG: {other[:3]} differ, {left[:3]} left"
            print(f"{number:>3}  killed {reached}, repeated with {workers}: {outcome}", flush=True)
    print(f"{options.kills} kills of a run of {took:.0f} s")
    for (reached, outcome), n in sorted(table.items()):
        print(f"{n:>4}  {reached:<24}{outcome}")
    sys.exit(any(outcome == "WRONG" for _, outcome in table))


def _kill(folder: Path, runs: str, finder: str, is_time: Callable[[], bool]) -> str:
    """Start a run, kill it with all its processes when it is time, and return what it was doing."""
    victim = start_forked(_arguments(runs, 2, finder), folder)
    while not (ended := os.waitpid(victim, os.WNOHANG)[0]) and not is_time():
        time.sleep(0.005)
    if not ended:
        os.killpg(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
    there = {path.name for path in _files(folder / runs)}
    return "after its end" if ended else next((stage for stage, file in STAGES if file in there), "before its plan")


def _clock(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _count(runs: Path, n: float) -> Callable[[], bool]:
    late = _clock(_PATIENCE_S)
    return lambda: len(_files(runs)) >= n or late()


def _files(runs: Path) -> list[Path]:
    return [path for path in runs.rglob("*") if path.is_file()] if runs.is_dir() else []


def _contents(run: Path) -> dict[str, bytes]:
    """Return every file of a run but those that tell when and how it was made."""
    return {p.relative_to(run).as_posix(): p.read_bytes() for p in _files(run) if p.name not in RENDERED}


def _arguments(runs: str, workers: int, finder: str) -> Sequence[str]:
    places = ("--runs", runs, "--cache", f"{runs}-cache")
    # Options that are repeated count as they come last.
    return [
        *RESUME.split(),
        "--suite",
        "three.toml",
        "--workers",
        str(workers),
        "--detector",
        finder,
        "--relevance-images",
        "6",
        *places,
    ]


def _audit(folder: Path, runs: str, workers: int, finder: str) -> Path:
    _, status = os.waitpid(start_forked(_arguments(runs, workers, finder), folder), 0)
    assert os.waitstatus_to_exitcode(status) in (0, 3), folder.with_name(folder.name + ".err").read_text()
    (run,) = (folder / runs).iterdir()
    return run


if __name__ == "__main__":
    main()
