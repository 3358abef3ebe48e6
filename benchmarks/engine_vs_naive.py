"""Is the audit faster than the script that a colleague would write? One table: wall and processor time, alternating, in one run.

The script is a competent one: it finds the text of each image once, by the same finder, makes the same edits, predicts batches of 32
across images with torch's default threads, and skips edits that do not apply. It is one process. The search for objects is left out for
both, because the script has none. Both start as a new process each time, on the same images, conditions, seeds and network; their
probabilities must agree to 1e-4.

    python -m benchmarks.engine_vs_naive [--images 16] [--pairs 5] [--suite standard] [--everything] [--as-it-comes]

With --everything both also make the heatmaps of the same images (of every output, and once more without the text) by the same rules,
and both look at the same images with EasyOCR; without it neither does. In the same time the audit checks every file, holds its back end
against torch, measures intervals, probes the sources, measures four levels of every suspect, shuffles weights, groups heatmaps, and
draws examples and a report, which the script does not.
Real radiographs are read from AUDIT_CXR_DIR (default ../shared/cxr); phantoms take their place where there are none.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:  # each process imports what it needs, and no more
    import torch

    from audit.data.records import Record, TextRegion
    from audit.models.preprocessing import Preprocessing

CLASSES = ("normal", "pneumonia", "covid")
SEED = 0
BATCH = 32
LIMIT = 1e-4
_BECOME_SUBREAPER = 36
CHECKED = 5
"""Images that EasyOCR looks at, as in an audit."""
SCRIPT = "competent script"
AUDITS = {
    "audit run": [],
    "audit run --workers 1": ["--workers", "1"],
    "audit run --backend torch": ["--backend", "torch"],
    "audit run --backend torch --workers 1": ["--backend", "torch", "--workers", "1"],
}


class Took(NamedTuple):
    """Seconds of one process and those that it started."""

    wall: float
    cpu: float


def write_manifest(n_images: int, folder: Path) -> Path:
    """Write the manifest of the images that are used, a fixed draw of all."""
    from audit.data.manifests import load_cohort

    real = Path(os.environ.get("AUDIT_CXR_DIR", "../shared/cxr")) / "manifest.csv"
    if real.is_file():
        cohort = load_cohort(real, classes=CLASSES, ignore_labels=["other"])
    else:
        from audit.training.phantom.cohort import make_phantoms

        cohort = load_cohort(make_phantoms(folder / "phantoms", task="classes", n_images=n_images), classes=CLASSES)
    labelled = sorted(cohort.labelled(), key=lambda r: r.id)
    chosen = np.random.default_rng(SEED).permutation(len(labelled))[:n_images]
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "path", "label", "patient", "source", "lung_mask"])
        for i in sorted(chosen):
            r = labelled[i]
            mask = "" if r.lung_mask is None else r.lung_mask.resolve()
            writer.writerow([r.id, r.path.resolve(), r.label, r.patient, r.source, mask])
    return manifest


def write_model(folder: Path) -> None:
    """Write a bundle of an untrained DenseNet-121."""
    import torch

    from audit.models.networks import build_network
    from audit.models.preprocessing import Preprocessing
    from audit.models.saving import save_bundle

    torch.manual_seed(SEED)
    save_bundle(
        folder / "model",
        build_network("densenet121", len(CLASSES)).eval(),
        name="benchmark",
        architecture="densenet121",
        classes=CLASSES,
        task="single-label",
        preprocessing=Preprocessing(size_px=(224, 224)),
        provenance={},
        metrics={},
        splits={},
    )


def write_suite(name: str, folder: Path) -> None:
    """Write a suite without its search for objects."""
    from audit.suites import reader

    lines = (Path(reader.__file__).parent / f"{name}.toml").read_text().splitlines()
    kept = [line for line in lines if line.strip() != "[objects]" and not line.startswith("propose")]
    (folder / "suite.toml").write_text("\n".join(kept))


def competent_script(folder: Path, cache: Path | None, *, everything: bool) -> None:
    """Predict every condition of every image, as a colleague would; write the probabilities, and heatmaps if asked for."""
    import torch

    from audit.data.manifests import load_cohort
    from audit.models.bundle import load_bundle
    from audit.prediction.variants import cohort_context, make_perturbations, read_scene, variants
    from audit.suites.reader import load_suite
    from audit.text.cache import RegionCache
    from audit.text.find import find_regions
    from audit.text.finders import DEFAULT_FINDER, make_finder

    cohort = load_cohort(folder / "manifest.csv", classes=CLASSES)
    # The audit's own order, on which the draws of groups depend.
    records = sorted(cohort.labelled(), key=lambda r: (cohort.pixels[r.id], r.id))
    bundle, suite = load_bundle(folder / "model"), load_suite(str(folder / "suite.toml"))
    regions = find_regions(records, RegionCache(cache, make_finder(DEFAULT_FINDER)), lambda: None).regions
    context, perturbations = cohort_context(records, regions, SEED), make_perturbations(suite)
    network, wants = bundle.network, bundle.preprocessing
    logits: dict[tuple[str, str, int], np.ndarray] = {}
    waiting: list[tuple[tuple[str, str, int], torch.Tensor]] = []

    def predict() -> None:
        if waiting:
            with torch.inference_mode():
                found = network(torch.stack([tensor for _, tensor in waiting])).numpy()
            logits.update(zip((key for key, _ in waiting), found, strict=True))
            waiting.clear()

    same: list[tuple[str, str, int]] = []
    for record in records:
        for variant in variants(read_scene(record, context), suite, perturbations, SEED):
            key = (record.id, variant.condition, variant.draw)
            if variant.why_not:
                same.append(key)
                continue
            waiting.append((key, wants.prepare(variant.image)))
            if len(waiting) == BATCH:
                predict()
    predict()
    logits |= {key: logits[key[0], "clean", 0] for key in same}
    rows = [[*key, *np.exp(row - np.logaddexp.reduce(row)).tolist()] for key, row in logits.items()]
    (folder / "script.json").write_text(json.dumps(rows))
    if everything:
        competent_extras(folder, cache, records, regions, network, wants)


def competent_extras(
    folder: Path,
    cache: Path | None,
    records: Sequence[Record],
    regions: Mapping[str, Sequence[TextRegion]],
    network: torch.nn.Module,
    wants: Preprocessing,
) -> None:
    """Attribute the images that the audit attributes, with all of torch's threads, and look at those that EasyOCR looks at there."""
    import torch

    from audit.data.images import read_record
    from audit.data.map_budget import USUAL_MAPS
    from audit.perturbations.fills import without_text
    from audit.perturbations.places import text_boxes
    from audit.relevance.lrp import Attributor
    from audit.relevance.measure import SHARD_RECORDS, attributed_records
    from audit.relevance.presets import DEFAULT_PRESET
    from audit.relevance.start import start_each, start_relevance
    from audit.text.cache import RegionCache
    from audit.text.easyocr_finder import weights_folder
    from audit.text.find import find_in
    from audit.text.finders import make_finder
    from audit.text.second_opinion import second_sample

    attributor = Attributor(network, DEFAULT_PRESET)
    chosen = attributed_records(records, USUAL_MAPS, SEED)
    for first in range(0, len(chosen), SHARD_RECORDS):
        shard = chosen[first : first + SHARD_RECORDS]
        images = [read_record(record) for record in shard]
        made = [attributor.attribute(torch.stack([wants.prepare(image) for image in images]), start_each).maps]
        bare = [
            wants.prepare(without_text(image, text_boxes(regions[record.id], image.shape[:2])))
            for record, image in zip(shard, images, strict=True)
            if regions[record.id]
        ]
        if bare:
            made.append(attributor.attribute(torch.stack(bare), lambda logits: start_relevance(logits, CLASSES)).maps)
        np.savez(folder / f"maps-{first:05d}.npz", *made)
    if weights_folder() is not None:
        second = RegionCache(cache, make_finder("easyocr"))
        for record in second_sample(records, CHECKED, SEED):
            find_in(record.path, second, colour=record.colour)


def timed(command: Sequence[str], folder: Path) -> Took:
    """Run a command to its end, and to that of the processes that it started."""
    # The processes of a server of workers outlive the one that started it by moments; as their next of kin they are counted here.
    ctypes.CDLL(None).prctl(_BECOME_SUBREAPER, 1)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    wall = time.perf_counter() - start
    with suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    (folder / "told.txt").write_text(done.stderr)
    return Took(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def run_script(folder: Path, cache: Path | None, *, everything: bool) -> Took:
    """Time the script; without a cache it finds the text."""
    kept = [] if cache is None else ["--text-cache", str(cache)]
    asked = ["--everything"] if everything else []
    return timed(["benchmarks.engine_vs_naive", "--script", str(folder), *kept, *asked], folder)


def run_audit(folder: Path, cache: Path | None, further: Sequence[str], *, everything: bool) -> Took:
    """Time one audit; without a cache it finds the text, and exports the network, as the first audit of a model does."""
    shutil.rmtree(folder / "runs", ignore_errors=True)
    fresh = folder / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    own = [] if everything else ["--relevance-images", "0", "--judge-images", "0"]
    asked = ["audit", "run", "--model", str(folder / "model"), "--data", str(folder / "manifest.csv")]
    asked += ["--suite", str(folder / "suite.toml"), "--seed", str(SEED), "--runs", str(folder / "runs"), "--plain-ids"]
    return timed([*asked, "--cache", str(cache or fresh), *own, *further], folder)


def largest_difference(folder: Path) -> float:
    """Return the largest difference of a probability between the script and the last audit."""
    from audit.prediction.table import read_finished
    from audit.statistics.outputs import probabilities_of

    (run,) = (folder / "runs").iterdir()
    table = read_finished(run).table
    place = {name: i for i, name in enumerate(table.record_ids.tolist())}
    found = {name: probabilities_of(logits, exclusive=True) for name, logits in table.logits.items()}
    rows = json.loads((folder / "script.json").read_text())
    assert len(rows) == sum(logits.shape[0] * logits.shape[1] for logits in table.logits.values())
    return max(float(np.abs(found[c][draw, place[record]] - row).max()) for record, c, draw, *row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--suite", default="standard", help="quick, standard or full")
    parser.add_argument("--everything", action="store_true", help="with heatmaps and EasyOCR's check")
    parser.add_argument(
        "--as-it-comes", action="store_true", help="the audit as it comes alone, without --workers 1 and torch"
    )
    parser.add_argument("--script", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--text-cache", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.script is not None:
        competent_script(options.script, options.text_cache, everything=options.everything)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_manifest(options.images, folder)
        write_model(folder)
        write_suite(options.suite, folder)
        took: dict[tuple[str, str], list[Took]] = {}
        audits = list(AUDITS)[:1] if options.as_it_comes else list(AUDITS)
        worst = 0.0
        kept = folder / "kept"
        run_script(
            folder, kept, everything=options.everything
        )  # the text of every image; and no first run has the disk's cache against it
        for pair in range(options.pairs):
            for state, cache in (("found", None), ("cached", kept)):
                order = [SCRIPT, *audits][:: -1 if pair % 2 else 1]
                for name in order:
                    if name == SCRIPT:
                        seconds = run_script(folder, cache, everything=options.everything)
                    else:
                        seconds = run_audit(folder, cache, AUDITS[name], everything=options.everything)
                        worst = max(worst, largest_difference(folder))
                    took.setdefault((state, name), []).append(seconds)
                    print(f"pair {pair + 1}, text {state}: {name} {seconds.wall:.1f} s", file=sys.stderr, flush=True)
        print(f"{options.images} images, suite {options.suite}, DenseNet-121 at 224 px, {os.cpu_count()} cores,")
        print(f"{options.pairs} alternating pairs; medians; ratio: script / audit, of the pairs' wall times\n")
        print(f"{'text':<8}{'':<40}{'wall s':>8}{'cpu s':>8}{'ratio':>7}  lowest to highest")
        for (state, name), times in sorted(took.items(), key=lambda row: (row[0][0] != "found", name_order(row[0][1]))):
            pairs = zip(took[state, SCRIPT], times, strict=True)
            ratios = sorted(script.wall / own.wall for script, own in pairs)
            span = "" if name == SCRIPT else f"{median(ratios):7.2f}  {ratios[0]:.2f} to {ratios[-1]:.2f}"
            print(f"{state:<8}{name:<40}{median(t.wall for t in times):8.1f}{median(t.cpu for t in times):8.1f}{span}")
        print(f"\nlargest difference of a probability: {worst:.1e} (limit {LIMIT:g})")
        if worst > LIMIT:
            sys.exit("The audit must predict what the script predicts.")


def name_order(name: str) -> int:
    return [SCRIPT, *AUDITS].index(name)


if __name__ == "__main__":
    main()
