"""Does memory grow with the number of images? Audits 200 and 2,000 phantoms: both peaks, their ratio, and memory over the images done.

    python -m benchmarks.peak_memory [--small 200] [--large 2000] [--workers 2]

Each audit runs in its own process. Text boxes are the phantoms' own, since OCR would take hours and holds one image anyway. The curve
is that of the larger audit: the resident memory of all its processes together, whenever a tenth of the images has been predicted; pages
that forked processes share count in each. It needs /proc.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import torch

from audit.models.networks import build_network
from audit.models.preprocessing import Preprocessing
from audit.models.saving import save_bundle
from audit.prediction.shards import SHARD_RECORDS

CLASSES = ("normal", "pneumonia", "covid")
_EVERY_S = 0.5


def audit_in_child(images: Path, model: Path, out: Path, workers: int) -> tuple[float, float, dict[int, float]]:
    """Return the seconds of one audit, its first process's peak in MB, and images predicted -> MB of all processes."""
    program = (
        "import resource, sys; from audit.cli.main import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as end: code = end.code\n"
        "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, code)\n"
    )
    arguments = [
        "run", "--model", str(model), "--data", str(images), "--split", "all", "--suite", "quick", "--workers", str(workers),
        "--detector", "annotated", "--boxes", str(images.parent / "boxes.json"), "--relevance-images", "100",
        "--runs", str(out / "runs"), "--cache", str(out / "cache"),
    ]  # fmt: skip
    out.mkdir()
    begun, curve = time.perf_counter(), dict[int, float]()
    with (out / "said.txt").open("w") as said, (out / "told.txt").open("w") as told:
        child = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=said, stderr=told)
        while child.poll() is None:
            done = SHARD_RECORDS * len(list((out / "runs").glob("*/predictions/part-*.parquet")))
            curve[done] = max(curve.get(done, 0.0), resident_mb(child.pid))
            time.sleep(_EVERY_S)
    line = [line for line in (out / "said.txt").read_text().splitlines() if line.startswith("PEAK")]
    if not line or not line[-1].endswith(" 0"):
        raise SystemExit(f"the audit failed:\n{(out / 'said.txt').read_text()}\n{(out / 'told.txt').read_text()}")
    kilobytes = int(line[-1].split()[1])
    return time.perf_counter() - begun, kilobytes / (1024 * (1024 if sys.platform == "darwin" else 1)), curve


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process and all that it started; 0 where the system does not say."""
    parents: dict[int, int] = {}
    sizes: dict[int, float] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            fields = dict(line.split(":", 1) for line in (entry / "status").read_text().splitlines() if ":" in line)
            parents[int(entry.name)] = int(fields["PPid"])
            sizes[int(entry.name)] = int(fields.get("VmRSS", "0 kB").split()[0]) / 1024
    family, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return sum(sizes.get(one, 0.0) for one in family)


def main() -> None:
    from audit.training.phantom.cohort import make_phantoms

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=200)
    parser.add_argument("--large", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = save_bundle(
            folder / "model",
            build_network("densenet-small", len(CLASSES)).eval(),
            name="benchmark",
            architecture="densenet-small",
            classes=CLASSES,
            task="single-label",
            preprocessing=Preprocessing(size_px=(112, 112)),
            provenance={},
            metrics={},
            splits={},
        )
        peaks: dict[int, float] = {}
        curve: dict[int, float] = {}
        for n_images in (options.small, options.large):
            images = make_phantoms(folder / f"images-{n_images}", task="classes", n_images=n_images, seed=1)
            seconds, peaks[n_images], curve = audit_in_child(images, model, folder / f"out-{n_images}", options.workers)
            print(f"{n_images} images: {seconds:.0f} s, peak of the first process {peaks[n_images]:.0f} MB", flush=True)
        print(f"ratio of peaks: {peaks[options.large] / peaks[options.small]:.3f}")
        print("\nimages predicted   MB, all processes")
        step = max(1, options.large // 10)
        for tenth in range(11):
            near = [done for done in curve if abs(done - tenth * step) <= step / 2]
            if near:
                done = min(near, key=lambda one: abs(one - tenth * step))
                print(f"{min(done, options.large):>16}   {curve[done]:.0f}")
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"(this process, which only made the images: {own:.0f} MB)")


if __name__ == "__main__":
    main()
