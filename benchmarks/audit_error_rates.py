"""How often an audit calls a network sensitive that is not, and how often it finds a shortcut that is there.

Trains a small network C on phantoms whose words tell nothing, and one on phantoms whose words go with the class; then audits
each on new phantoms, again and again, and prints the share of audits with any sensitive verdict, with Wilson's interval.

    python benchmarks/audit_error_rates.py [--null 200] [--planted 50] [--association 0.9] [--films 300] [--suite quick]
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

import numpy as np
import torch

from audit.config import Settings
from audit.run import run_audit
from audit.statistics.intervals import wilson_limits
from audit.store import RunFolder
from training.chain import train_network
from training.phantom.cohort import make_phantoms
from training.recipes import load_recipe


def trained(folder: Path, association: float, seed: int) -> Path:
    """Train C on phantoms whose words (and sources) go with the class with this probability."""
    findings = make_phantoms(folder / "findings", task="findings", n_images=240, seed=seed + 1)
    films = make_phantoms(folder / "films", task="classes", n_images=390, seed=seed + 2, word_association=association)
    return train_network("C", films, load_recipe("demo"), folder / "C", findings_manifest=findings, seed=seed)


def audited(bundle: Path, folder: Path, association: float, seed: int, n_films: int, suite: str) -> list[str]:
    """Audit a bundle on new phantoms; return the names of what was called sensitive."""
    films = make_phantoms(folder / "films", task="classes", n_images=n_films, seed=seed, word_association=association)
    settings = Settings(
        model=str(bundle),
        data=str(films),
        split="all",
        suite=suite,
        detector="annotated",
        boxes=str(films.parent / "boxes.json"),
        judge_images=0,
        relevance_images=0,
        seed=seed,
        runs=str(folder / "runs"),
        cache=str(folder / "cache"),
    )
    run, _ = run_audit(settings, judge_gates=False, command=["benchmark"], on_stage=lambda _name, _steps: lambda: None)
    effects = RunFolder(run).read_json("effects.json")["effects"]
    return [f"{e['condition']} {e['measure']}" for e in effects if e["verdict"] == "sensitive"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--null", type=int, default=200)
    parser.add_argument("--planted", type=int, default=50)
    parser.add_argument("--association", type=float, default=0.9)
    parser.add_argument("--films", type=int, default=300)
    parser.add_argument("--suite", default="quick")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    for name, association, audits in (("null", 0.0, options.null), ("planted", options.association, options.planted)):
        if audits == 0:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            bundle = trained(Path(temporary), association, seed=7)
            found: list[list[str]] = []
            for number in range(audits):
                with tempfile.TemporaryDirectory() as place:
                    seed = 10_000 + number
                    found.append(audited(bundle, Path(place), association, seed, options.films, options.suite))
                hits = sum(map(bool, found))
                low, high = wilson_limits(hits, len(found), 1.96)
                print(
                    f"{name}, association {association:g}: {hits} of {len(found)} audits call something sensitive, "
                    f"{hits / len(found):.3f} [{low:.3f}, {high:.3f}]",
                    flush=True,
                )
            names, counts = np.unique([what for one in found for what in one], return_counts=True)
            print(*(f"  {what}: {count}" for what, count in zip(names, counts, strict=True)), sep="\n")


if __name__ == "__main__":
    main()
