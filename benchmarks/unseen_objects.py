"""Are objects found that nobody named? Plants things that neither phantoms nor the zoo show, and audits networks that read them.

    python -m benchmarks.unseen_objects [--out unseen] [--suite standard] [--folds 2] [--only NAME ...]

The network has a filter for every thing and sees how bright an image is where; a head fitted on training images with a plant decides what
counts, so that a network truly reads its plant. The truth is measured by intervention. Radiographs (AUDIT_CXR_DIR) are used where they are
there, phantoms always. Null networks have no plant, one in both classes alike, or one that was not learnt. Prints a row a network: the
truth over all images, over carriers and of adding; the exit code; and each object that was proposed, with the share of its sightings that
lie on the plant. Then how many were found, named and falsely alarmed, and how near the estimates are to the truth. What was audited by this
version is kept, and so is the text of radiographs, which takes longest to find.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast
from unittest import mock

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from audit.calibration import lettering, objects, properties
from audit.calibration.calibrate import make_workshop
from audit.calibration.corpus import Corpus, Specimen, phantom_corpus, radiograph_corpus, radiograph_folder
from audit.calibration.plants import Picture, is_named
from audit.calibration.table import make_table
from audit.calibration.trial import Outcome, Workshop, audit_case, build, read_outcome
from audit.calibration.zoo import Case
from audit.files import write_atomically
from audit.models import networks
from audit.models.bodies import Backbone
from audit.models.preprocessing import Preprocessing
from audit.text.finders import make_finder
from audit.training.phantom.lettering import TextBox
from benchmarks.foreign_objects import THINGS, Thing, lay, things_as_kinds

ARCHITECTURE = "seer"
INPUT_PX, N_TRAINING, N_TEST = 96, 640, 128
ANGLES, GRID, FLAT = (-12.0, 0.0, 12.0), 6, 0.06
"""Turns at which the network knows a thing, in degrees; cells of brightness a side; contrast below which nothing is seen."""
ON_PHANTOMS = ("snap", "drain", "chevron", "ring")
SHARES = (0.8, 0.45, 1.0)


class Seer(nn.Module):
    """Reads how like every thing the likest place of an image is, and how bright the image is where: the head decides what counts."""

    def __init__(self, k: int) -> None:
        super().__init__()
        drawn = [[_kernel(thing, angle) for angle in ANGLES] for thing in THINGS.values()]
        self.kernels = nn.ParameterList(
            [nn.Parameter(torch.from_numpy(np.stack(of_thing))[:, None]) for of_thing in drawn]
        )
        self.classifier = nn.Linear(len(drawn) + GRID**2, k)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grey = x[:, :1]
        found = []
        for kernels in self.kernels:
            n = kernels.shape[-2] * kernels.shape[-1]
            window = torch.ones_like(kernels[:1])
            sums, squares = (functional.conv2d(v, window) for v in (grey, grey**2))
            spread = (squares - sums**2 / n).clamp_min(n * FLAT**2).sqrt()
            found.append((functional.conv2d(grey, kernels) / spread).amax((1, 2, 3)))
        likeness = torch.sigmoid(12 * (torch.stack(found, 1) - 0.75))
        bright = functional.adaptive_avg_pool2d(grey, GRID).flatten(1)
        return cast(torch.Tensor, self.classifier(torch.cat([likeness, 0.3 * bright], 1)))


def _kernel(thing: Thing, angle: float) -> NDArray[np.float32]:
    """Draw a thing at the network's scale, its mean 0 and its norm 1."""
    still = replace(thing, place=(0.5, 0.5), jitter=0.0, turn=0.0, zoom=0.0, angle=angle)
    flat = np.full((4 * INPUT_PX, 4 * INPUT_PX), 110, np.uint8)
    laid = lay(Picture(image=flat), still, 1.0, np.random.default_rng(0)).image.astype(np.float32) - 110
    small = cv2.resize(laid, (INPUT_PX, INPUT_PX), interpolation=cv2.INTER_AREA)
    reach = max(3, round(0.5 * thing.size * INPUT_PX) + 1)
    middle = INPUT_PX // 2
    cut = small[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
    cut = cut - cut.mean()
    return np.asarray(cut / np.linalg.norm(cut), dtype=np.float32)


@contextmanager
def only_things() -> Iterator[None]:
    """Let the machinery of the zoo plant the things of `benchmarks.foreign_objects` and nothing else."""
    with ExitStack() as stack:
        for module, kinds in ((objects, things_as_kinds()), (lettering, ()), (properties, ())):
            stack.enter_context(mock.patch.object(module, "KINDS", kinds))
        known = {**networks.ARCHITECTURES, ARCHITECTURE: Seer}
        stack.enter_context(mock.patch.object(networks, "ARCHITECTURES", known))
        yield


def cases(*, radiographs: bool) -> list[Case]:
    """Return the networks: every thing on one class, at shares in turn, and null networks."""
    found: list[Case] = []
    if radiographs:
        for number, name in enumerate(THINGS):
            found.append(_case(name, share=SHARES[number % len(SHARES)], seed=number, real=True))
        found += [
            _case("snap", share=0.0, design="none", seed=20, real=True),
            _case("pin", share=0.0, design="none", seed=21, real=True),
            _case("staples", share=0.5, design="alike", seed=22, real=True),
            _case("cross", share=0.5, design="alike", seed=23, real=True),
            _case("chevron", share=0.8, design="unlearnt", seed=24, real=True),
            _case("lead", share=0.8, design="unlearnt", seed=25, real=True),
        ]
    for number, name in enumerate(ON_PHANTOMS):
        found.append(_case(name, share=SHARES[number % 2], seed=30 + number, real=False))
    found += [
        _case("snap", share=0.0, design="none", seed=40, real=False),
        _case("drain", share=0.5, design="alike", seed=41, real=False),
        _case("ring", share=0.8, design="unlearnt", seed=42, real=False),
    ]
    return found


def _case(name: str, *, share: float, seed: int, real: bool, design: str = "planted") -> Case:
    case = Case(
        name=f"{seed:02d}-{name}-{design}-{100 * share:.0f}-{'real' if real else 'phantoms'}", kind=name, share=share, seed=seed
    )  # fmt: skip
    case = replace(case, design=design)  # type: ignore[arg-type]
    return replace(case, corpus="radiographs") if real else case


def workshops(names: Sequence[str], n_folds: int, kept: Path) -> dict[str, Workshop]:
    """Read or render the images, and let the network see them; the text of radiographs is kept in a file."""
    folder, shops = radiograph_folder(), {}
    for name in names:
        corpus: Corpus
        if name == "phantoms":
            corpus = phantom_corpus(n_training=N_TRAINING, n_test=N_TEST, n_folds=n_folds)
        else:
            assert folder is not None
            corpus = radiograph_corpus(folder, n_training=N_TRAINING, n_test=N_TEST, n_folds=n_folds)
            # Their own text is looked for once, not in every network's copies.
            corpus = replace(corpus, folds=with_text(corpus.folds, kept))
        preprocessing = Preprocessing(size_px=(INPUT_PX, INPUT_PX), mean=(0.4,) * 3, std=(0.25,) * 3)
        network = Seer(len(corpus.classes)).eval().requires_grad_(False)
        body = Backbone(network=network, architecture=ARCHITECTURE, preprocessing=preprocessing)
        shops[name] = make_workshop(corpus, body, made_by={"things": sorted(THINGS), "corpus": name})
    return shops


def with_text(folds: Sequence[Sequence[Specimen]], kept: Path) -> tuple[tuple[Specimen, ...], ...]:
    """Return specimens whose text is known, as the default finder finds it."""
    known = json.loads(kept.read_text()) if kept.is_file() else {}
    finder = make_finder("cascade")
    for specimen in (s for fold in folds for s in fold if s.id not in known):
        found = finder.find(specimen.picture.image)
        boxes = (TextBox(text=t.text, x0=t.x0, y0=t.y0, x1=t.x1, y1=t.y1, kind="overlay") for t in found)
        known[specimen.id] = [asdict(box) for box in boxes]
    write_atomically(kept, json.dumps(known).encode())

    def named(specimen: Specimen) -> Specimen:
        boxes = tuple(TextBox(**box) for box in known[specimen.id])
        return replace(specimen, picture=replace(specimen.picture, boxes=boxes))

    return tuple(tuple(map(named, fold)) for fold in folds)


def line(outcome: Outcome) -> str:
    """Say in a line what was planted and what the audit made of it."""
    case, truth, finding = outcome.case, outcome.truth, outcome.finding
    shown = [
        f"{e.condition} {e.verdict} {e.estimate:.3f} [{e.low:.3f}, {e.high:.3f}] of {e.n_images}, {100 * e.on_plant:.0f} % on the plant"
        for e in finding.estimates
        if e.on_plant is not None and e.group == "all"
    ]
    of_carriers, added = ("  -  " if v is None else f"{v:.3f}" for v in (truth.removed_carriers, truth.added))
    named = "named" if is_named(("object",), finding.sentence) else "     "
    head = f"{case.name:36} {truth.rank:8} {truth.n_carriers:3} {truth.removed:.3f} {of_carriers} {added}"
    head = f"{head}  exit {finding.exit_code} {named}  {finding.cpu_seconds:.0f} s"
    return "\n    ".join([head, *shown, *(f"sensitive: {suspect}" for suspect in finding.sensitive)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("unseen"))
    parser.add_argument("--suite", default="standard")
    parser.add_argument("--folds", type=int, default=2, help="test sets that the networks share")
    parser.add_argument("--only", nargs="*", default=[], help="names that hold one of these, in their order")
    parser.add_argument("--build-only", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    every = cases(radiographs=radiograph_folder() is not None)
    chosen = list(dict.fromkeys(c for word in options.only or [""] for c in every if word in c.name))
    folders = {c.name: options.out / "networks" / c.name for c in chosen}
    outcomes = []
    with only_things():
        shops = workshops(sorted({c.corpus for c in chosen}), options.folds, options.out / "texts.json")
        for case in chosen:
            build(case, shops[case.corpus], folders[case.name])
            if not options.build_only:
                audit_case(case, folders[case.name], options.suite)
                outcomes.append(read_outcome(case, folders[case.name]))
                print(line(outcomes[-1]), flush=True)
    for rank in ("planted", "faint", "null"):
        members = [o for o in outcomes if o.truth.rank == rank]
        if members:
            found = sum(o.finding.exit_code == 1 for o in members)
            named = sum(o.finding.exit_code == 1 and is_named(("object",), o.finding.sentence) for o in members)
            print(f"{rank}: {found} of {len(members)} exit 1, {named} of them name an object")
    with only_things():
        for target in make_table(outcomes).targets:
            print(f"{target.status:8} {target.name}: {target.found}")


if __name__ == "__main__":
    main()
