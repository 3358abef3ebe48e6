"""How often do 95 % intervals hold the truth? Prints coverage and mean width, by kind of effect and number of patients.

Each repetition draws a cohort with images that come in patients of one to three, whose changes agree half of the time. Beside
the engine's intervals stands the plain percentile bootstrap over images, which is what scripts commonly use. The last rows are
AUCs, and differences of AUC and of likelihood between two sets of logits, whose truth is that of 400,000 images.

    python -m benchmarks.interval_coverage [--repetitions 1000] [--evidence 1.6 --taken 0.4]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from audit.data.conditions import CLEAN, Condition, Suite
from audit.statistics.effects import measure_effects
from audit.statistics.intervals import change_intervals
from audit.statistics.patient_bootstrap import PatientBootstrap
from audit.statistics.patient_sums import sum_by_patient
from audit.store.results import Effect, PredictionTable

IMAGES = (50, 150, 500)
RESAMPLES = 1000
Draw = Callable[[np.random.Generator, int], np.ndarray]


def counts(gained: float, lost: float) -> tuple[Draw, float]:
    """Changes of correctness: -1, 0 or 1."""
    return lambda rng, n: rng.choice([1.0, -1.0, 0.0], n, p=[gained, lost, 1 - gained - lost]), gained - lost


def shifts(share: float, size: float) -> tuple[Draw, float]:
    """Shifts of probabilities: most images hardly move, a share of them moves by about `size`."""

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        moved = rng.random(n) < share
        return np.where(moved, rng.beta(2, 2, n) * 2 * size, rng.normal(0, 0.01, n).clip(-0.05, 0.05))

    return draw, share * size


SCENARIOS: dict[str, tuple[Draw, float, bool]] = {
    "accuracy, nothing changes": (*counts(0.0, 0.0), True),
    "accuracy, 1 % lost": (*counts(0.0, 0.01), True),
    "accuracy, 2 % lost": (*counts(0.0, 0.02), True),
    "accuracy, 1 % gained, 3 % lost": (*counts(0.01, 0.03), True),
    "accuracy, 5 % lost": (*counts(0.0, 0.05), True),
    "accuracy, 5 % gained, 10 % lost": (*counts(0.05, 0.10), True),
    "sensitivity, 2 % of the images moved by 0.4": (*shifts(0.02, 0.4), False),
    "sensitivity, 10 % moved by 0.4": (*shifts(0.10, 0.4), False),
    "sensitivity, 50 % moved by 0.2": (*shifts(0.50, 0.2), False),
}


def patients_of(n_images: int, rng: np.random.Generator) -> np.ndarray:
    """Return (n,) patients of one to three images."""
    return np.repeat(np.arange(n_images), rng.integers(1, 4, n_images))[:n_images]


def cohort(draw: Draw, n_images: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return values and patients; an image's change is its patient's half of the time."""
    patients = patients_of(n_images, rng)
    own, shared = draw(rng, n_images), draw(rng, n_images)[patients]
    return np.where(rng.random(n_images) < 0.5, shared, own), patients


@dataclass(frozen=True)
class World:
    """How well classes can be told, and what an edit does to it."""

    evidence: float
    """What the true class has more, in logits; 1.6 gives an AUC of .93, 3.2 one of .999."""
    taken: float
    """What the edit takes of it; 0 for an edit that does nothing but add noise."""


def two_models(
    n_images: int, world: World, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return logits before and after an edit, labels and patients."""
    patients = patients_of(n_images, rng)
    labels = rng.integers(0, 3, n_images)[patients]
    taste = rng.normal(0, 0.7, (n_images, 3))[patients]
    clean = taste + rng.normal(0, 0.7, (n_images, 3))
    clean[np.arange(n_images), labels] += world.evidence
    edit = clean + rng.normal(0, 0.5, (n_images, 3))
    edit[np.arange(n_images), labels] -= world.taken
    return clean, edit, labels, patients


def naive_interval(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    rows = rng.integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[rows].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--evidence", type=float, default=1.6, help="logits that tell the true class")
    parser.add_argument("--taken", type=float, default=0.4, help="of which the edit takes")
    options = parser.parse_args()
    print(f"{'':46}{'images':>9}{'engine':>9}{'width':>8}{'naive':>9}{'width':>8}")
    worst = 1.0
    for name, (draw, truth, counted) in SCENARIOS.items():
        for n_images in IMAGES:
            rng = np.random.default_rng(n_images)
            held, naive_held, width, naive_width = 0, 0, 0.0, 0.0
            for _ in range(options.repetitions):
                values, patients = cohort(draw, n_images, rng)
                n_patients = int(patients.max()) + 1
                sums = sum_by_patient(
                    values,
                    patients,
                    n_patients,
                    population=np.ones(len(values), bool),
                    scale="difference",
                    counted=counted,
                )
                assert sums is not None
                bootstrap = PatientBootstrap(
                    n_patients, RESAMPLES, np.random.Generator(np.random.PCG64(rng.integers(1 << 60)))
                )
                found = change_intervals([sums], bootstrap=bootstrap, level=0.95)[0]
                assert found.low is not None
                assert found.high is not None
                low, high = naive_interval(values, rng)
                held += found.low <= truth <= found.high
                naive_held += low <= truth <= high
                width += found.high - found.low
                naive_width += high - low
            n = options.repetitions
            worst = min(worst, held / n)
            print(f"{name:46}{n_images:9}{held / n:9.3f}{width / n:8.3f}{naive_held / n:9.3f}{naive_width / n:8.3f}")
    worst = min(worst, *whole_sample_coverage(World(options.evidence, options.taken), options.repetitions))
    print(f"lowest coverage of the engine's intervals: {worst:.3f}")


def effects_of(n_images: int, world: World, rng: np.random.Generator) -> dict[str, Effect]:
    """Return the engine's effects of one cohort, by measure; AUCs of the clean images as `clean ...`."""
    clean, edit, labels, patients = two_models(n_images, world, rng)
    table = PredictionTable(
        record_ids=np.array([f"r{i:06}" for i in range(n_images)]),
        labels=labels,
        patients=np.array([f"p{p}" for p in patients]),
        groups={},
        classes=("a", "b", "c"),
        logits={"clean": clean[None].astype(np.float32), "edit": edit[None].astype(np.float32)},
        applied={name: np.ones((1, n_images), dtype=np.bool_) for name in ("clean", "edit")},
    )
    edit_condition = Condition(name="edit", perturbation="text-mask", role="edit", parameters={})
    suite = Suite(name="coverage", version=1, description="", conditions=(CLEAN, edit_condition))
    effects = measure_effects(table, suite, seed=0, resamples=RESAMPLES)
    shown = [e for e in effects if str(e.group) in ("all", "class=a")]
    return {("clean " if e.condition == "clean" else "") + e.measure: e for e in shown if e.measure != "recall"}


def whole_sample_coverage(world: World, repetitions: int) -> Iterator[float]:
    """Yield the coverage of every measure's change, by number of images."""
    measures = (
        "accuracy",
        "balanced_accuracy",
        "clean macro_auc",
        "clean auc",
        "macro_auc",
        "auc",
        "nll",
        "brier",
        "ece",
        "margin",
        "harm",
        "total_variation",
    )
    truth = effects_of(400_000, world, np.random.default_rng(0))
    for n_images in IMAGES:
        rng = np.random.default_rng(n_images + 1)
        held, width = dict.fromkeys(measures, 0), dict.fromkeys(measures, 0.0)
        for _ in range(repetitions):
            found = effects_of(n_images, world, rng)
            for name in measures:
                low, high, true = found[name].low, found[name].high, truth[name].estimate
                assert low is not None
                assert high is not None
                assert true is not None
                held[name] += low <= true <= high
                width[name] += high - low
        for name in measures:
            share = held[name] / repetitions
            row = f"evidence {world.evidence:g} less {world.taken:g}: {name}"
            print(f"{row:46}{n_images:9}{share:9.3f}{width[name] / repetitions:8.3f}")
            yield share


if __name__ == "__main__":
    main()
