"""Synthetic radiographs a second on one core, with their PNG files, text boxes and lung masks on disk; at least 50 wanted.

python -m benchmarks.phantom_speed [--images 200]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from audit.training.phantom.cohort import make_phantoms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        make_phantoms(Path(temporary) / "warm", task="classes", n_images=6, seed=0)
        wall, own = time.perf_counter(), time.process_time()
        make_phantoms(Path(temporary) / "images", task="classes", n_images=options.images, seed=1)
        wall, own = time.perf_counter() - wall, time.process_time() - own
    print(f"{options.images / wall:.0f} images/s of wall time, {options.images / own:.0f} images/s of processor time")


if __name__ == "__main__":
    main()
