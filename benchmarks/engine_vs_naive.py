"""How much faster is the engine than the script that everybody writes first? Prints the ratio of wall times.

The naive script reopens and decodes every image for every condition, finds its text again, and predicts
with batches of one. Both see the same images, conditions, seeds and network; predictions must agree to 1e-5.

    python -m benchmarks.engine_vs_naive [--images 100] [--threads 2]

Real radiographs are read from AUDIT_CXR_DIR (default ../shared/cxr); phantoms take their place where there are none.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from audit.data.conditions import Suite
from audit.data.images import read_gray, read_mask
from audit.data.manifests import load_cohort
from audit.data.records import Record
from audit.models.bundle import Bundle, load_bundle
from audit.models.networks import build_network
from audit.models.preprocessing import Preprocessing
from audit.models.saving import save_bundle
from audit.perturbations import NotApplicable, Scene, make_perturbation
from audit.prediction.engine import predict_all
from audit.prediction.experiment import Experiment
from audit.prediction.table import read_predictions
from audit.prediction.variants import CohortContext, cohort_context
from audit.randomness import generator_for
from audit.store.folder import RunFolder
from audit.suites.reader import load_suite
from audit.text.base import TextDetector
from audit.text.cache import RegionCache
from audit.text.detectors import DEFAULT_DETECTOR, make_detector
from audit.text.find import find_regions

CLASSES = ("normal", "pneumonia", "covid")
SEED = 0


EIGHT = (
    "clean",
    "text-mask-median",
    "placebo-mask-median",
    "text-mask-inpaint",
    "placebo-mask-inpaint",
    "letters-other-class",
    "letters-same-class",
    "letters-own",
)


def eight_conditions() -> Suite:
    suite = load_suite("standard")
    conditions = tuple(replace(c, draws=1) for c in suite.conditions if c.name in EIGHT)
    assert len(conditions) == 8
    return replace(suite, conditions=conditions)


def records_to_use(n_images: int, folder: Path) -> list[Record]:
    real = Path(os.environ.get("AUDIT_CXR_DIR", "../shared/cxr")) / "manifest.csv"
    if real.is_file():
        cohort = load_cohort(real, classes=CLASSES, ignore_labels=["other"])
    else:
        from audit.training.phantom.cohort import make_phantoms

        cohort = load_cohort(make_phantoms(folder / "films", task="classes", n_images=n_images), classes=CLASSES)
    labelled = sorted(cohort.labelled(), key=lambda r: r.id)
    chosen = np.random.default_rng(SEED).permutation(len(labelled))[:n_images]
    return [labelled[i] for i in sorted(chosen)]


def a_bundle(folder: Path) -> Bundle:
    torch.manual_seed(SEED)
    network = build_network("densenet121", len(CLASSES)).eval()
    save_bundle(
        folder / "model",
        network,
        name="benchmark",
        architecture="densenet121",
        classes=CLASSES,
        task="single-label",
        preprocessing=Preprocessing(size_px=(224, 224)),
        provenance={},
        metrics={},
        splits={},
    )
    return load_bundle(folder / "model")


def naive(
    bundle: Bundle, suite: Suite, records: list[Record], detector: TextDetector, context: CohortContext
) -> np.ndarray:
    """Return logits (conditions, n, k), the way a first script would make them."""
    network = bundle.network.requires_grad_(True)
    logits = np.zeros((len(suite.conditions), len(records), len(CLASSES)), np.float32)
    for i, record in enumerate(records):
        for c, condition in enumerate(suite.conditions):
            image = read_gray(record.path)
            regions = tuple(detector.detect(image))
            lungs = None if record.lung_mask is None else read_mask(record.lung_mask, image.shape)
            scene = Scene(
                image=image,
                record=record,
                regions=regions,
                donors=context.donors,
                lungs=lungs,
                background=context.background,
            )
            if condition.name != "clean":
                perturbation = make_perturbation(condition.perturbation, condition.parameters)
                drawn = perturbation.draw(scene, generator_for(SEED, record.id, condition.stream, 0))
                image = image if isinstance(drawn, NotApplicable) else perturbation.apply(image, drawn)
            logits[c, i] = network(bundle.preprocessing.prepare(image)[None]).detach().numpy()[0]
    bundle.network.requires_grad_(False)
    return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--detector", default=DEFAULT_DETECTOR, help="the text finder of both")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # ONNX Runtime's
    suite = eight_conditions()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        records = records_to_use(options.images, folder)
        bundle = a_bundle(folder)
        detector = make_detector(options.detector)
        detector.detect(read_gray(records[0].path))  # loads the weights, for both

        start = time.perf_counter()
        regions = find_regions(records, RegionCache(folder / "cache", detector), lambda: None).regions
        found = time.perf_counter()
        run = RunFolder(folder / "run")
        context = cohort_context(records, regions, SEED)
        experiment = Experiment(run=run, bundle=bundle, suite=suite, records=records, context=context, seed=SEED)
        parts = predict_all(experiment, lambda: None)
        engine_s = time.perf_counter() - start
        table = read_predictions(run, parts, suite, records, CLASSES)
        print(f"engine: {engine_s:.1f} s, of which text {found - start:.1f} s")

        start = time.perf_counter()
        logits = naive(bundle, suite, records, detector, context)
        naive_s = time.perf_counter() - start
        print(f"naive:  {naive_s:.1f} s")
        engine = np.stack([table.logits[c.name][0] for c in suite.conditions])
        difference = float(np.abs(engine - logits).max())
        print(f"largest difference of a logit: {difference:.1e}")
        assert difference <= 1e-5, "the engine must predict what the naive script predicts"
        print(
            f"ratio naive / engine: {naive_s / engine_s:.2f} ({len(records)} images, {len(suite.conditions)} conditions)"
        )


if __name__ == "__main__":
    main()
