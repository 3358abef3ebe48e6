"""Does the gate see a network that learned one word too many? A network, and the same one after an epoch with a painted word.

On a copy of a cohort a word is painted on `--share` of the COVID-19 images; training images teach it, the images of validation
and test show it. Audited on these are the network as it was, the same with other draws, and the network after one more epoch. The
rules are `max_increase` on the shortcut sensitivity of the text, over all images, in each class and on the images with the word, for
a word of few images moves the mean over all by little; the baseline is the network as it was, accepted into a file.

    python -m benchmarks.gate_ratchet [--model models/C] [--data MANIFEST] [--share 0.3] [--limit 0.05] [--few 40] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from audit.data.images import read_gray
from audit.data.manifests import load_cohort
from audit.models.bundle import Bundle, load_bundle
from audit.models.saving import save_bundle
from benchmarks.painted_word import paint_word

LABEL = "covid"
WORD = "SITIO"
_BATCH = 8
RULE = """
[[gate.rule]]
id = "text-not-worse-{name}"
measure = "shortcut_sensitivity"
where = {{ condition = "text-mask", group = "{group}" }}
max_increase = {limit}
reason = "Printed words must not come to decide"
"""
SUITE = """name = "one-mask"
version = 1
description = "Text painted over, beside its placebo: what the rules are about, and nothing else."

[[condition]]
name = "text-mask"
perturbation = "text-mask"
role = "edit"
suspect = "the text"
placebo = "placebo-mask"
parameters = { fill = "inpaint" }

[[condition]]
name = "placebo-mask"
perturbation = "placebo-mask"
role = "placebo"
draws = 3
parameters = { fill = "inpaint" }
"""


def fine_tuned(bundle: Bundle, manifest: Path, ignore: tuple[str, ...], rate: float, seed: int) -> torch.nn.Module:
    """Train the whole network for one epoch on the training images of the painted cohort."""
    cohort = load_cohort(manifest, classes=bundle.classes, ignore_labels=ignore)
    records = [r for r in cohort.labelled() if bundle.splits.get(r.id) == "train"]
    # Its normalisation stays as it was: small batches would replace it by their own noise.
    network = bundle.network.requires_grad_(True).eval()
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate)
    torch.manual_seed(seed)
    order = np.random.default_rng(seed).permutation(len(records))
    for start in range(0, len(order), _BATCH):
        batch = [records[i] for i in order[start : start + _BATCH]]
        inputs = torch.stack([bundle.preprocessing.prepare(read_gray(r.path)) for r in batch])
        targets = torch.tensor([bundle.classes.index(str(r.label)) for r in batch])
        loss = functional.cross_entropy(network(inputs), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        print(f"\rfine-tuning: {start + len(batch)} of {len(order)}, loss {loss.item():.3f}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return network.requires_grad_(False)


def tested(manifest: Path, bundle: Bundle, n_images: int | None, target: Path) -> Path:
    """Write a manifest of the images that taught nothing: all of them, or the first of the test, as many of each class."""
    held_out = ("test", "validation") if n_images is None else ("test",)
    with manifest.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if bundle.splits.get(row["id"]) in held_out]
    each = len(rows) if n_images is None else -(-n_images // len(bundle.classes))
    chosen = [row for label in bundle.classes for row in [r for r in rows if r["label"] == label][:each]][:n_images]
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(chosen[0]))
        writer.writeheader()
        writer.writerows(chosen)
    return target


def command(*arguments: object, cwd: Path) -> tuple[int, str]:
    """Run `audit` as a user would; return its exit code and what it printed."""
    found = subprocess.run(
        [sys.executable, "-m", "audit", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )
    if found.returncode in (2, 4):
        raise SystemExit(found.stderr)
    return found.returncode, found.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("models/C"))
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("AUDIT_CXR_DIR", "../shared/cxr")) / "manifest.csv"
    )
    parser.add_argument("--ignore-label", nargs="*", default=["other"])
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--limit", type=float, default=0.05)
    # Twenty patients cannot show that nothing has risen by less.
    parser.add_argument("--word-limit", type=float, default=0.1)
    parser.add_argument("--few", type=int, default=40)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=None)
    options = parser.parse_args()
    for needed in (options.model / "model.json", options.data):
        if not needed.is_file():
            print(f"Skipped: there is no {needed}. Train a network first, or name another with --model and --data.")
            return
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary:
        place = (options.keep or Path(temporary)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        model = options.model.resolve()
        bundle = load_bundle(model)
        painted = place / "painted" / "manifest.csv"
        if not painted.exists():
            paint_word(
                options.data.resolve(), painted.parent, label=LABEL, word=WORD, share=options.share, seed=options.seed
            )
        worse = place / "models" / "painted"
        if not (worse / "model.json").exists():
            save_bundle(
                worse,
                fine_tuned(bundle, painted, tuple(options.ignore_label), options.rate, options.seed),
                name="painted",
                architecture=bundle.architecture,
                classes=bundle.classes,
                task="single-label",
                preprocessing=bundle.preprocessing,
                provenance={"started_from": bundle.digest, "painted": f"{options.share:.0%} of {LABEL}"},
                metrics={},
                splits=bundle.splits,
            )
        groups = {"all": "all", **{name: f"class={name}" for name in bundle.classes}, "word": f"word={WORD}"}
        rules = [
            RULE.format(name=name, group=group, limit=options.word_limit if name == "word" else options.limit)
            for name, group in groups.items()
        ]
        (place / "one-mask.toml").write_text(SUITE)
        (place / "audit.toml").write_text("[gate]\nmin_images = 10\n" + "".join(rules))

        def run(folder: Path, data: Path, seed: int) -> Path:
            asked = [
                "run",
                "--model",
                folder,
                "--data",
                data,
                "--suite",
                "one-mask.toml",
                "--seed",
                seed,
                "--split",
                "all",
            ]
            told = command(*asked, "--relevance-images", 0, "--judge-images", 0, cwd=place)[1]
            return (place / told.strip().splitlines()[-1]).parent

        for name, n_images in (("all images held out", None), (f"{options.few} test images", options.few)):
            data = tested(painted, bundle, n_images, place / f"{n_images or 'all'}.csv")
            before, again, after = run(model, data, 0), run(model, data, 1), run(worse, data, 0)
            file = place / f"{n_images or 'all'}-baseline.json"
            file.unlink(missing_ok=True)
            command("baseline", "accept", before, "--file", file, cwd=place)
            for what, audited in (("itself, other draws", again), ("one epoch later", after)):
                code, told = command("gate", audited, "--baseline", file, cwd=place)
                print(f"{name}, {what}: exit {code}", *told.splitlines()[:-1], sep="\n    ", flush=True)


if __name__ == "__main__":
    main()
