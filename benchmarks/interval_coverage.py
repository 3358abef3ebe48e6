"""How often do 95 % intervals hold the truth? Prints coverage and mean width, by kind of effect and number of patients.

Each repetition draws a cohort with films that come in patients of one to four, whose changes agree half of the time. Beside the
engine's intervals stands the plain percentile bootstrap over images, which is what scripts commonly use.

    python benchmarks/interval_coverage.py [--repetitions 400]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from audit.statistics.clusters import PatientBootstrap, sum_by_patient
from audit.statistics.intervals import change_intervals

PATIENTS = (20, 60, 150)
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
    "accuracy, 2 % lost": (*counts(0.0, 0.02), True),
    "accuracy, 5 % gained, 10 % lost": (*counts(0.05, 0.10), True),
    "accuracy, 15 % gained, 30 % lost": (*counts(0.15, 0.30), True),
    "sensitivity, 2 % of the images moved by 0.4": (*shifts(0.02, 0.4), False),
    "sensitivity, 10 % moved by 0.4": (*shifts(0.10, 0.4), False),
    "sensitivity, 50 % moved by 0.2": (*shifts(0.50, 0.2), False),
}


def cohort(draw: Draw, n_patients: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return values and patients; a film's change is its patient's half of the time."""
    patients = np.repeat(np.arange(n_patients), rng.integers(1, 5, n_patients))
    own, shared = draw(rng, len(patients)), draw(rng, n_patients)[patients]
    return np.where(rng.random(len(patients)) < 0.5, shared, own), patients


def naive_interval(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    rows = rng.integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[rows].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=400)
    options = parser.parse_args()
    print(f"{'':46}{'patients':>9}{'engine':>9}{'width':>8}{'naive':>9}{'width':>8}")
    worst = 1.0
    for name, (draw, truth, counted) in SCENARIOS.items():
        for n_patients in PATIENTS:
            rng = np.random.default_rng(n_patients)
            held, naive_held, width, naive_width = 0, 0, 0.0, 0.0
            for _ in range(options.repetitions):
                values, patients = cohort(draw, n_patients, rng)
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
            print(f"{name:46}{n_patients:9}{held / n:9.3f}{width / n:8.3f}{naive_held / n:9.3f}{naive_width / n:8.3f}")
    print(f"lowest coverage of the engine's intervals: {worst:.3f}")


if __name__ == "__main__":
    main()
