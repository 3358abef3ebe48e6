"""Networks of the paper on radiographs with a planted word: what the audit finds, what `audit mend` makes of it, and whether that is true.

    python -m benchmarks.mend_paper --data manifest.csv [--networks C A] [--recipe real-small] [--per-class 460] [--out mend-paper]

A word is painted on a share of the COVID-19 images of every split; the sources of the classes are what they are. Each network is trained,
audited, mended and audited again. The truth is an intervention: test images that bear the word against the same images before it was
painted, and images of the other classes against themselves with the word. The audit knows where the word stands (detector `annotated`), so
other text stays as it is; with `--detector cascade` it looks for all text. D and E start from `chexnet`, which is trained first.
Repeat the command to resume. Exit code 1 if the audit calls something mended whose true effect is not at most a third.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from audit.calibration.truth import total_variation
from audit.commands.progress import ProgressLines
from audit.commands.training import training_listener
from audit.data.images import read_gray
from audit.models.bundle import Bundle, load_bundle
from audit.run.settings import Settings
from audit.statistics.outputs import softmax
from audit.training.chain import train_network
from audit.training.mend.mending import mend
from audit.training.networks import CLASSES, NETWORKS
from audit.training.recipes import load_recipe
from benchmarks.painted_word import paint_word, write_word

LABEL = "covid"
MOST_LEFT = 1 / 3
_BATCH = 32
Image = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network."""

    network: str
    removed: tuple[float, float]
    """True mean total variation over test images that bear the word, before and after mending: taking the word away."""
    added: tuple[float, float]
    """The same over test images of the other classes: painting it."""
    without: tuple[float, float]
    """Accuracy on the test images as they were before any word was painted."""
    suspects: Mapping[str, tuple[float, float, str]]
    """Suspect -> the audit's effect before and after, and its verdict."""
    verdict: str
    method: str
    newly: tuple[str, ...]
    minutes: tuple[float, float]
    """Of training, and of mending with both audits."""


def planted_manifest(data: Path, folder: Path, *, share: float, per_class: int, seed: int) -> Path:
    """Write the manifest of a sample by class, and paint the word; what was written is used again."""
    done = folder / "painted" / "manifest.csv"
    if done.is_file():
        return done
    with data.open(newline="") as file:
        rows = list(csv.DictReader(file))
    of_class: defaultdict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        if row["label"] in CLASSES:
            of_class[row["label"]].append(number)
    chosen = set()
    for label, mine in sorted(of_class.items()):
        rng = np.random.default_rng([seed, CLASSES.index(label)])
        chosen |= {mine[i] for i in rng.permutation(len(mine))[:per_class].tolist()}
    folder.mkdir(parents=True, exist_ok=True)
    sample = []
    for number in sorted(chosen):
        row = {**rows[number], "id": rows[number].get("id") or rows[number]["path"]}
        row["path"] = str((data.parent / row["path"]).resolve())
        if row.get("lung_mask"):
            row["lung_mask"] = str((data.parent / row["lung_mask"]).resolve())
        sample.append(row)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(sample[0]), restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(sample)
    (folder / "no-boxes.json").write_text(json.dumps({"images": {}}))
    made = folder / "painted.part"
    paint_word(folder / "manifest.csv", made, label=LABEL, share=share, seed=seed, boxes=folder / "no-boxes.json")
    text = (made / "manifest.csv").read_text(), (made / "boxes.json").read_text()
    for name, content in zip(("manifest.csv", "boxes.json"), text, strict=True):
        (made / name).write_text(content.replace(str(made.resolve()), str((folder / "painted").resolve())))
    made.rename(folder / "painted")
    return done


def measure_word(bundle: Bundle, folder: Path) -> tuple[float, float, float]:
    """Return the true effects of the word, taken away and painted, and the accuracy without it, on the test images."""
    clean_of = {row["id"]: row for row in _rows(folder / "manifest.csv")}
    painted_of = {row["id"]: row["path"] for row in _rows(folder / "painted" / "manifest.csv")}
    tested = sorted(name for name, split in bundle.splits.items() if split == "test")
    clean = [read_gray(Path(clean_of[name]["path"])) for name in tested]
    twin: list[Image] = []
    for number, (name, image) in enumerate(zip(tested, clean, strict=True)):
        if painted_of[name] != clean_of[name]["path"]:
            twin.append(read_gray(Path(painted_of[name])))
        else:
            copy = image.copy()
            write_word(copy, np.random.default_rng([1, number]))
            twin.append(copy)
    p, q = (_predicted(bundle, images) for images in (clean, twin))
    labels = np.array([CLASSES.index(clean_of[name]["label"]) for name in tested])
    bears = np.array([painted_of[name] != clean_of[name]["path"] for name in tested])
    moved = total_variation(p, q)
    others = labels != CLASSES.index(LABEL)
    return float(moved[bears].mean()), float(moved[others].mean()), float((p.argmax(axis=1) == labels).mean())


def _rows(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(newline="") as file:
        return list(csv.DictReader(file))


def _predicted(bundle: Bundle, images: Sequence[Image]) -> NDArray[np.float64]:
    inputs = [bundle.preprocessing.prepare(image) for image in images]
    with torch.inference_mode():
        found = [bundle.logits(torch.stack(inputs[i : i + _BATCH])) for i in range(0, len(inputs), _BATCH)]
    return np.asarray(softmax(torch.cat(found).float().numpy()))


def run_network(
    name: str, manifest: Path, options: argparse.Namespace, on_stage: Callable[[str, int], Callable[[], None]]
) -> Row:
    """Train, audit and mend one network; what was done is read back."""
    out: Path = options.out
    folder = out / name
    if (folder / "row.json").is_file():
        found = json.loads((folder / "row.json").read_text())
        found["suspects"] = {key: tuple(value) for key, value in found["suspects"].items()}
        return Row(**{key: tuple(value) if isinstance(value, list) else value for key, value in found.items()})
    begun = time.monotonic()
    needs = ["chexnet"] if NETWORKS[name].start == "checkpoint" else []
    for one in (*needs, name):
        if not (out / "models" / one / "model.json").is_file():
            train_network(
                one,
                manifest,
                load_recipe(options.recipe),
                out / "models" / one,
                seed=options.seed,
                on_progress=training_listener(on_stage),
            )
    trained = time.monotonic()
    bundle = out / "models" / name
    settings = Settings(
        model=str(bundle),
        data=str(manifest),
        suite=options.suite,
        detector=options.detector,
        boxes=str(manifest.parent / "boxes.json") if options.detector == "annotated" else "",
        judge_images=0,
        relevance_images=0,
        resamples=2_000,
        runs=str(folder / "runs"),
        cache=str(out / "text-cache"),
        workers=1,
        plain_ids=True,
    )
    found = mend(
        settings,
        folder / "mended",
        run=None,
        suspects=tuple(options.suspect),
        method=options.method,
        command=["mend_paper"],
        on_stage=on_stage,
    )
    before = measure_word(load_bundle(bundle), out)
    after = before if found.document is None else measure_word(load_bundle(folder / "mended"), out)
    document = found.document
    row = Row(
        network=name,
        removed=(before[0], after[0]),
        added=(before[1], after[1]),
        without=(before[2], after[2]),
        suspects={}
        if document is None
        else {
            s.suspect: (s.compared.before.estimate or 0.0, s.compared.after.estimate or 0.0, s.verdict)
            for s in document.suspects
        },
        verdict=found.message if document is None else document.verdict,
        method="–" if document is None else document.story.method,
        newly=() if document is None else tuple(c.title for c in document.effects if c.newly),
        minutes=(round((trained - begun) / 60, 1), round((time.monotonic() - trained) / 60, 1)),
    )
    (folder / "row.json").write_text(json.dumps(asdict(row)))
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("mend-paper"))
    parser.add_argument("--networks", nargs="+", default=["A", "B", "C", "D", "E"], choices=["A", "B", "C", "D", "E"])
    parser.add_argument("--recipe", default="real-small")
    parser.add_argument("--share", type=float, default=0.3, help="Of the COVID-19 images that bear the word.")
    parser.add_argument("--per-class", type=int, default=1_000, help="Images of each class, at most.")
    parser.add_argument("--suite", default="standard")
    parser.add_argument("--detector", default="annotated")
    parser.add_argument("--suspect", action="append", default=[], help="What to mend; default: what the audit finds.")
    parser.add_argument("--method", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    manifest = planted_manifest(
        options.data, options.out, share=options.share, per_class=options.per_class, seed=options.seed
    )
    rows = []
    with ProgressLines() as on_stage:
        for name in options.networks:
            rows.append(run_network(name, manifest, options, on_stage))
            print("\n".join(_lines(rows[-1])), flush=True)
    print("\n" + "\n".join(line for row in rows for line in _lines(row)))
    text = "the text"
    untrue = [
        r.network
        for r in rows
        if r.suspects.get(text, (0, 0, ""))[2] == "mended" and r.removed[1] > MOST_LEFT * r.removed[0]
    ]
    print(f"called mended although more than a third of the true effect is left: {', '.join(untrue) or 'none'}")
    return 1 if untrue else 0


def _lines(row: Row) -> list[str]:
    found = [
        f"  {suspect}: audit {before:.3f} -> {after:.3f}, {verdict}"
        for suspect, (before, after, verdict) in row.suspects.items()
    ]
    return [
        f"{row.network}: {row.verdict} by {row.method} | the word, true: taken away {row.removed[0]:.3f} -> {row.removed[1]:.3f}, painted "
        f"{row.added[0]:.3f} -> {row.added[1]:.3f} | accuracy without it {row.without[0]:.3f} -> {row.without[1]:.3f} | newly "
        f"{', '.join(row.newly) or 'none'} | trained in {row.minutes[0]} min, mended and audited in {row.minutes[1]} min",
        *found,
    ]


if __name__ == "__main__":
    raise SystemExit(main())
