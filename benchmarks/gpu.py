"""What a card is worth, in at most five minutes on it: images a second, share of its peak, equality with the CPU, one short training.

Predictions are those of the audit: single precision without TF32, batches across images. The peak is that of a large matrix product in
the same precision, measured in the same process. Then every phase of recipe `paper` trains network C for one epoch on phantoms, as
`audit train C --recipe paper` would, with fewer images and copies.

    python -m benchmarks.gpu [--device cuda] [--architecture densenet121] [--images 2048]

Without a card it says so and ends with 2.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from audit.data.images import read_gray
from audit.data.manifests import load_cohort
from audit.errors import AuditError
from audit.models.bundle import Bundle, load_bundle
from audit.models.devices import batch_of, device_name, find_device, on_device
from audit.models.networks import build_network
from audit.models.preprocessing import Preprocessing
from audit.models.saving import save_bundle
from audit.prediction.shards import Batches
from audit.statistics.outputs import probabilities_of
from audit.training.chain import train_network
from audit.training.phantom.cohort import make_phantoms
from audit.training.recipes import Recipe, Step, load_recipe
from audit.training.team import Team

CLASSES = ("normal", "pneumonia", "covid")
LIMIT = 1e-4
COMPARED = 24
PEAK_SIDE = 8192
SEED = 0


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return how long some work takes on a device, after a first time that loads kernels."""
    taken = 0.0
    for _ in range(2):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        taken = time.perf_counter() - start
    return taken


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def bundle_of(architecture: str, folder: Path) -> Bundle:
    """Return an untrained network as a bundle."""
    torch.manual_seed(SEED)
    save_bundle(
        folder / architecture,
        build_network(architecture, len(CLASSES)).eval(),
        name=architecture,
        architecture=architecture,
        classes=CLASSES,
        task="single-label",
        preprocessing=Preprocessing(size_px=(224, 224)),
        provenance={},
        metrics={},
        splits={},
    )
    return load_bundle(folder / architecture)


def predicted(bundle: Bundle, inputs: torch.Tensor) -> np.ndarray:
    """Return logits (n, k), in batches as the audit makes them."""
    batches = Batches(bundle, batch_of(bundle, "auto"))
    for image in inputs:
        batches.ask(image)
    return batches.answers()


def measure_predictions(here: Bundle, asked: str, manifest: Path, n_images: int) -> list[str]:
    """Print speed and share of the peak; return what does not hold."""
    device = find_device(asked)
    there = on_device(here, asked)
    records = load_cohort(manifest, classes=CLASSES).labelled()[:COMPARED]
    inputs = torch.stack([here.preprocessing.prepare(read_gray(record.path)) for record in records])
    expected, found, again = predicted(here, inputs), predicted(there, inputs), predicted(there, inputs)
    gap = float(np.abs(probabilities_of(expected, exclusive=True) - probabilities_of(found, exclusive=True)).max())
    winners = int((expected.argmax(1) == found.argmax(1)).sum())
    with FlopCounterMode(display=False) as counter:
        here.logits(inputs[:1])
    flop = counter.get_total_flops()
    many = inputs.repeat(-(-n_images // len(inputs)), 1, 1, 1)[:n_images]
    taken = seconds(lambda: predicted(there, many), device)
    side = PEAK_SIDE if device.type == "cuda" else 1024
    square = torch.randn(side, side, device=device)
    peak = 2 * side**3 / seconds(lambda: square @ square, device)
    print(
        f"{here.architecture} at 224 px on {device_name(there)}, batches of {batch_of(there, 'auto')}, single precision"
    )
    print(f"  {n_images / taken:.0f} images a second, {flop * n_images / taken / 1e12:.2f} TFLOP/s")
    print(f"  {flop * n_images / taken / peak:.0%} of the peak of a matrix product, {peak / 1e12:.2f} TFLOP/s")
    print(f"  CPU and device: probabilities differ by at most {gap:.1e}, {winners} of {len(records)} winners are equal")
    print(f"  two runs on the device: {'the same bytes' if np.array_equal(found, again) else 'DIFFERENT BYTES'}")
    wrong = (
        [] if gap <= LIMIT and winners == len(records) else [f"{here.architecture} predicts otherwise than on the CPU"]
    )
    return wrong if np.array_equal(found, again) else [*wrong, f"{here.architecture}: two runs differ"]


def short(step: Step) -> Step:
    """Return a step in which every phase is one epoch, of one copy of each image."""
    return replace(step, copies={}, phases=tuple(replace(phase, epochs=1) for phase in step.phases))


def train(device: torch.device, manifest: Path, folder: Path, architecture: str | None) -> None:
    """Train network C through every phase once."""
    paper = load_recipe("paper")
    recipe: Recipe = replace(
        paper, findings=short(paper.findings), classes=short(paper.classes), test_per_class=4, architecture=architecture
    )
    findings = make_phantoms(folder / "findings", task="findings", n_images=96, seed=1)
    n_phases = len(recipe.findings.phases) + len(recipe.classes.phases)
    start = time.perf_counter()
    train_network("C", manifest, recipe, folder / "C", findings_manifest=findings, team=Team(device=device), seed=SEED)
    print(
        f"recipe paper, network C: {n_phases} phases of one epoch on phantoms in {time.perf_counter() - start:.1f} s; the bundle opens: "
        f"{len(load_bundle(folder / 'C').classes)} classes"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, mps; cpu to try the script")
    parser.add_argument("--architecture", help="instead of DenseNet-121 and 201")
    parser.add_argument("--images", type=int, default=2048)
    options = parser.parse_args()
    try:
        device = find_device(options.device)
    except AuditError as error:
        sys.stderr.write(f"No card is at hand: {error}\n")
        sys.exit(2)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        manifest = make_phantoms(folder / "phantoms", task="classes", n_images=60)
        wrong = []
        for architecture in [options.architecture] if options.architecture else ["densenet121", "densenet201"]:
            wrong += measure_predictions(bundle_of(architecture, folder), options.device, manifest, options.images)
        train(device, manifest, folder, options.architecture)
    print(f"in all {time.perf_counter() - began:.0f} s")
    if wrong:
        sys.exit("; ".join(wrong))


if __name__ == "__main__":
    main()
