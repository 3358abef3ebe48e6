"""Times the search for objects against the images, and a standard audit with and without it.

    python -m benchmarks.object_search [--most 256] [--audit 96]

Doubles the images of phantoms with an electrode, and prints processor seconds of the search against images, with the exponent between the
first and the last: from 64 images on, because of fewer hardly any place recurs and little is fitted. With `--audit` a small network is
audited on so many images, by the suite standard with and without objects and by what the suite held before global properties, added letters
and objects came; the last line is their ratio.
"""

from __future__ import annotations

import argparse
import logging
import math
import tempfile
import time
import tomllib
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

import torch

from audit.data.pixels.facts import GreyImage
from audit.discovery.fitting import Half
from audit.discovery.search import search_objects
from audit.models.networks import build_network
from audit.models.preprocessing import Preprocessing
from audit.models.saving import save_bundle
from audit.perturbations.suspects import at_search_scale
from audit.run.pipeline import run_audit
from audit.run.settings import Settings
from audit.suites.reader import load_suite
from audit.training.phantom.cohort import image_specs, make_phantoms
from audit.training.phantom.image import render

IMAGE_PX = 256
SINCE = ("letters-added", "grey-curve", "sharpness-", "frame-")
"""How the names of conditions begin that the suite did not hold before."""


def halves(n: int) -> tuple[Half, Half]:
    """Render n images of as many patients, in two halves."""
    specs = {
        s.patient: s for s in image_specs(n_images=2 * n, seed=6, electrode_share=0.6, task="classes", severity=0.5)
    }
    rows = [(at_search_scale(render(s, IMAGE_PX).image, ()), s.label, s.patient) for s in list(specs.values())[:n]]
    return _half(rows[::2]), _half(rows[1::2])


def _half(rows: list[tuple[GreyImage, str, str]]) -> Half:
    images, labels, names = zip(*rows, strict=True)
    return Half(images=images, labels=labels, names=names)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the processor time of a piece of work in this process."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def search_seconds(most: int) -> None:
    """Print seconds against images."""
    counts = [n for n in (64, 128, 256, 400) if n <= most]
    found = []
    for n in counts:
        first, second = halves(n)
        found.append(cpu_seconds(lambda a=first, b=second: search_objects(a, b, most=4)))  # type: ignore[misc]
        print(f"{n:4} images  {found[-1]:6.1f} s  {1000 * found[-1] / n:5.0f} ms an image", flush=True)
    if len(found) > 1:
        print(
            f"seconds grow as images to the power {math.log(found[-1] / found[0]) / math.log(counts[-1] / counts[0]):.2f}"
        )


def audit_seconds(n: int) -> None:
    """Print what the suites cost, and their ratios."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        manifest = make_phantoms(
            folder / "data", task="classes", n_images=n, size_px=IMAGE_PX, seed=6, severity=0.5, electrode_share=0.6
        )
        torch.manual_seed(0)
        save_bundle(
            folder / "C",
            build_network("densenet-small", 3).eval(),
            name="C",
            architecture="densenet-small",
            classes=("normal", "pneumonia", "covid"),
            task="single-label",
            preprocessing=Preprocessing(size_px=(224, 224)),
            provenance={},
            metrics={},
            splits={},
        )
        names = [c.name for c in load_suite("standard").conditions]
        before = [name for name in names if not name.startswith(SINCE)]
        suites = {"before": (before, 0), "without": (names, 0), "standard": (names, 1)}
        spent: dict[str, float] = {}
        for name, (kept, objects) in suites.items():
            file = folder / f"{name}.toml"
            file.write_text(_suite_text(name, kept, objects))
            settings = Settings(
                model=str(folder / "C"),
                data=str(manifest),
                split="all",
                suite=str(file),
                judge_images=0,
                workers=1,  # the time of other processes is not this one's
                runs=str(folder / name),
                cache=str(folder / f"cache-{name}"),
                plain_ids=True,
            )
            spent[name] = cpu_seconds(
                lambda s=settings: run_audit(s, judge_gates=True, command=["audit"], on_stage=_silent)  # type: ignore[misc]
            )
            print(f"{name:9} {spent[name]:6.1f} s of {n} images", flush=True)
        print(
            f"objects: {spent['standard'] / spent['without']:.2f} times; standard: {spent['standard'] / spent['before']:.2f} times what it "
            "cost before"
        )


def _suite_text(name: str, kept: Sequence[str], objects: int) -> str:
    """Return the suite standard with these conditions, as TOML."""
    text = (resources.files("audit") / "suites" / "standard.toml").read_text(encoding="utf-8")
    head, *tables = text.split("[[condition]]\n")
    head = head.replace('name = "standard"', f'name = "{name}"')
    if not objects:
        head = head.partition("[objects]")[0]
    chosen = [t for t in tables if tomllib.loads(t)["name"] in kept]
    return "[[condition]]\n".join([head.rstrip() + "\n\n", *chosen])


def _silent(_name: str, _steps: int) -> Callable[[], None]:
    return lambda: None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, default=256, help="images of the largest search")
    parser.add_argument("--audit", type=int, default=0, help="images of the audits; 0 for none")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    search_seconds(options.most)
    if options.audit:
        audit_seconds(options.audit)


if __name__ == "__main__":
    main()
