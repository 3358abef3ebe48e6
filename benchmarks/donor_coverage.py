"""How often an interval covers a source's true effect of zero, where looks are lent by few patients.

Source names are invented: 80 % of one class and 10 % of the other bear one of two names, and pixels know nothing of it. Each patient's
look moves probabilities by an amount of its own, so that the effect of *another* source is zero on average over names, and far from zero in
single audits. Printed: coverage of the audit's interval, of the same without donors (images alone), how often the effect is called
sensitive, and the same for a look that is real.

    python -m benchmarks.donor_coverage --repetitions 300
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from audit.data.conditions import CLEAN, Condition, Suite
from audit.statistics.effects import measure_effects
from audit.store.group import ALL
from audit.store.results import PredictionTable

SUITE = Suite(
    name="looks",
    version=1,
    description="",
    conditions=(
        CLEAN,
        Condition(name="other", perturbation="look-transfer", role="edit", placebo="same", draws=2, parameters={}),
        Condition(name="same", perturbation="look-transfer", role="placebo", draws=2, parameters={}),
    ),
)
FEWEST = 5


def made_table(
    rng: np.random.Generator, n: int, shares: tuple[float, float], spread: float, effect: float
) -> PredictionTable:
    """Make the predictions of one audit: two classes, two sources, two draws of donors within the class."""
    labels = np.repeat([0, 1], n // 2)
    sources = (rng.random(n) < np.array(shares)[labels]).astype(int)
    looks = rng.exponential(spread, n)  # how far a patient's look moves a network, skewed
    clean = np.where(labels == 0, 1.0, -1.0) * rng.normal(1.5, 1.5, n)
    logits, applied, donors = {}, {}, {}
    for name, foreign in (("other", True), ("same", False)):
        margin, lent = np.tile(clean, (2, 1)), np.full((2, n), -1)
        for i in range(n):
            alike = labels == labels[i]
            pool = np.flatnonzero(alike & ((sources != sources[i]) == foreign) & (np.arange(n) != i))
            if len(pool) >= FEWEST:
                lent[:, i] = rng.choice(pool, 2)
                margin[:, i] += rng.normal(0, 0.2, 2) - looks[lent[:, i]] * rng.uniform(0.5, 1.5)
                margin[:, i] -= effect if foreign else 0.0
        logits[name] = np.stack([margin / 2, -margin / 2], axis=2).astype(np.float32)
        applied[name], donors[name] = lent >= 0, lent
    logits["clean"] = np.stack([clean / 2, -clean / 2], axis=1)[None].astype(np.float32)
    return PredictionTable(
        record_ids=np.array([f"r{i:04d}" for i in range(n)]),
        labels=labels.astype(np.int64),
        patients=np.array([f"p{i:04d}" for i in range(n)]),
        groups={"source": np.array(["ab"[s] for s in sources])},
        classes=("x", "y"),
        logits=logits,
        applied={"clean": np.ones((1, n), dtype=bool), **applied},
        donors=donors,
    )


def main() -> None:
    """Print a line for each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("images  shares     spread  coverage  images alone  width  alone  called sensitive, donors  alone")
    for n, shares, spread in (
        (128, (0.8, 0.1), 0.8),
        (128, (0.8, 0.1), 0.3),
        (128, (0.5, 0.5), 0.8),
        (128, (0.9, 0.5), 0.8),
        (400, (0.8, 0.1), 0.8),
        (400, (0.95, 0.05), 0.8),
    ):
        rng = np.random.default_rng([options.seed, n, int(100 * spread), int(100 * shares[0])])
        rows = []
        for seed in range(options.repetitions):
            table = made_table(rng, n, shares, spread, 0.0)
            row = []
            for shown in (table, replace(table, donors={})):
                found = measure_effects(shown, SUITE, seed=seed, resamples=500)
                e = next(
                    e
                    for e in found
                    if (e.condition, e.placebo, e.measure, e.group) == ("other", "same", "shortcut_sensitivity", ALL)
                )
                if e.low is None or e.high is None:
                    continue
                sensitive = any(x.verdict == "sensitive" for x in found)
                row += [e.low <= 0 <= e.high, e.high - e.low, sensitive]
            if len(row) == 6:
                rows.append(row)
        mean = np.mean(rows, axis=0)
        print(
            f"{n:6d}  {shares[0]:.2f} {shares[1]:.2f}  {spread:6.2f}  {mean[0]:8.3f}  {mean[3]:12.3f}  {mean[1]:.3f}  {mean[4]:.3f}"
            f"  {mean[2]:24.3f}  {mean[5]:.3f}"
        )


if __name__ == "__main__":
    main()
