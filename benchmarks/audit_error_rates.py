"""How often an audit calls a network sensitive that is not, and how often it finds a shortcut that is there.

Trains a small network C on phantoms whose words tell nothing, and one on phantoms of which a fifth of one class carries a word
that no other image has; then audits each on new phantoms, again and again, and prints the share of audits with any sensitive verdict,
and with any shortcut sensitivity, of all images, a class or the images that carry a word, beyond chance (adjusted p below 0.05), with
Wilson's interval; then which effects these were: condition, measure, group.

    python -m benchmarks.audit_error_rates [--null 200] [--planted 50] [--share 0.2] [--images 300] [--suite quick] [--first 0]
"""

from __future__ import annotations

import argparse
import csv
import logging
import tempfile
from pathlib import Path

import numpy as np
import torch

from audit.data.images import read_gray
from audit.models.bundle import load_bundle
from audit.run.pipeline import run_audit
from audit.run.settings import Settings
from audit.statistics.score_limits import wilson_limits
from audit.store.folder import RunFolder
from audit.store.results import EffectsDocument
from audit.training.chain import train_network
from audit.training.phantom.cohort import CLASSES, make_phantoms
from audit.training.recipes import load_recipe
from benchmarks.painted_word import paint_word

FAINT = 0.4
"""Severity of findings where a word is planted: a network must have a reason to learn it."""


def cohort(folder: Path, n_images: int, share: float, seed: int) -> Path:
    """Make phantoms whose words and sources tell nothing, but for the word painted on a share of one class."""
    plain = make_phantoms(
        folder / "plain", task="classes", n_images=n_images, seed=seed, severity=FAINT if share else 1.0
    )
    if share == 0:
        return plain
    boxes = plain.parent / "boxes.json"
    return paint_word(plain, folder / "painted", label=CLASSES[-1], share=share, seed=seed, boxes=boxes)


def trained(folder: Path, share: float, seed: int) -> Path:
    """Train C on such phantoms."""
    findings = make_phantoms(folder / "findings", task="findings", n_images=240, seed=seed + 1)
    images = cohort(folder / "images", 600, share, seed + 2)
    return train_network("C", images, load_recipe("demo"), folder / "C", findings_manifest=findings, seed=seed)


def word_effect(bundle: Path, folder: Path) -> float:
    """Return how far the word moves the probability of its class, on fresh images of it: what there is to be found."""
    network = load_bundle(bundle)
    plain = make_phantoms(folder / "plain", task="classes", n_images=150, seed=5, severity=FAINT)
    painted = paint_word(plain, folder / "painted", label=CLASSES[-1], share=1.0, seed=5)
    moved = []
    for before, after in zip(_rows(plain), _rows(painted), strict=True):
        if before["label"] == CLASSES[-1]:
            pair = [plain.parent / before["path"], Path(after["path"])]
            inputs = torch.stack([network.preprocessing.prepare(read_gray(path)) for path in pair])
            clean, word = torch.softmax(network.logits(inputs), dim=1)[:, -1].tolist()
            moved.append(word - clean)
    return float(np.mean(moved))


def _rows(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(newline="") as file:
        return list(csv.DictReader(file))


def audited(
    bundle: Path, folder: Path, share: float, seed: int, n_images: int, suite: str
) -> tuple[list[str], list[str]]:
    """Audit a bundle on new phantoms; return the names of what was called sensitive, and of what is more than chance."""
    images = cohort(folder / "images", n_images, share, seed)
    settings = Settings(
        model=str(bundle),
        data=str(images),
        split="all",
        suite=suite,
        detector="annotated",
        boxes=str(images.parent / "boxes.json"),
        judge_images=0,
        relevance_images=0,
        seed=seed,
        runs=str(folder / "runs"),
        cache=str(folder / "cache"),
    )
    run, _ = run_audit(settings, judge_gates=False, command=["benchmark"], on_stage=lambda _name, _steps: lambda: None)
    effects = RunFolder(run).read(EffectsDocument).effects
    sensitive = [f"{e.condition} {e.measure} {e.group}" for e in effects if e.verdict == "sensitive"]
    moved = [e for e in effects if e.measure == "shortcut_sensitivity" and e.p_adjusted is not None]
    # Of a word on a part of one class the mean over all images shows little; its class and the images that carry it show it.
    moved = [e for e in moved if e.family == "declared"]
    return sensitive, [f"{e.condition} {e.group}" for e in moved if e.estimate > 0 and e.p_adjusted < 0.05]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--null", type=int, default=200)
    parser.add_argument("--planted", type=int, default=50)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--suite", default="quick")
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first audit, to share the work between processes"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    for name, share, audits in (("null", 0.0, options.null), ("planted", options.share, options.planted)):
        if audits == 0:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            bundle = trained(Path(temporary), share, seed=7)
            accuracy = load_bundle(bundle).metrics["test"]["accuracy"]
            print(f"{name}: accuracy {accuracy:.2f}; a painted word moves the probability of its class by", end=" ")
            print(f"{word_effect(bundle, Path(temporary) / 'words'):+.2f}", flush=True)
            found: list[tuple[list[str], list[str]]] = []
            for number in range(options.first, options.first + audits):
                with tempfile.TemporaryDirectory() as place:
                    found.append(audited(bundle, Path(place), share, 10_000 + number, options.images, options.suite))
                for what, index in (("something sensitive", 0), ("an effect beyond chance", 1)):
                    hits = sum(bool(one[index]) for one in found)
                    low, high = wilson_limits(hits, len(found), 1.96)
                    print(
                        f"{name}: {hits} of {len(found)} audits find {what}, {hits / len(found):.3f} [{low:.3f}, {high:.3f}]",
                        flush=True,
                    )
            for index in (0, 1):
                names, counts = np.unique([what for one in found for what in one[index]], return_counts=True)
                print(*(f"  {what}: {count}" for what, count in zip(names, counts, strict=True)), sep="\n")


if __name__ == "__main__":
    main()
