"""Does peak memory grow with the number of images? Audits 200 and 2,000 phantoms, and prints both peaks and their ratio.

    python -m benchmarks.peak_memory [--small 200] [--large 2000]

Each audit runs in its own process. Text boxes are the phantoms' own, since OCR would take hours and holds one image anyway.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from audit.models.networks import build_network
from audit.models.preprocessing import Preprocessing
from audit.models.saving import save_bundle

CLASSES = ("normal", "pneumonia", "covid")


def audit_in_child(images: Path, model: Path, out: Path) -> float:
    """Return the peak resident memory of one audit, in MB."""
    program = (
        "import resource, sys; from audit.cli.main import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as end: code = end.code\n"
        "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, code)\n"
    )
    arguments = [
        "run", "--model", str(model), "--data", str(images), "--split", "all", "--suite", "quick",
        "--detector", "annotated", "--boxes", str(images.parent / "boxes.json"), "--relevance-images", "100",
        "--runs", str(out / "runs"), "--cache", str(out / "cache"),
    ]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    line = [line for line in done.stdout.splitlines() if line.startswith("PEAK")]
    if not line or not line[-1].endswith(" 0"):
        raise SystemExit(f"the audit failed:\n{done.stdout}\n{done.stderr}")
    kilobytes = int(line[-1].split()[1])
    return kilobytes / (1024 * (1024 if sys.platform == "darwin" else 1))


def main() -> None:
    from audit.training.phantom.cohort import make_phantoms

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=200)
    parser.add_argument("--large", type=int, default=2000)
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
        peaks = {}
        for n_images in (options.small, options.large):
            images = make_phantoms(folder / f"images-{n_images}", task="classes", n_images=n_images, seed=1)
            peaks[n_images] = audit_in_child(images, model, folder / f"out-{n_images}")
            print(f"{n_images} images: peak {peaks[n_images]:.0f} MB")
        print(f"ratio of peaks: {peaks[options.large] / peaks[options.small]:.3f}")
        print(
            f"(this process, which only made the images: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB)"
        )


if __name__ == "__main__":
    main()
