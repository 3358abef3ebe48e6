"""Time the effects of 50 conditions on 100,000 images against a script that resamples images in a loop.

Prints seconds and peak memory of the engine (every measure, 10,000 resamples of patients), the time of a naive loop of one
measure under one condition (a few resamples, scaled up), and the ratio per measure and condition.

    python -m benchmarks.statistics_speed [--images 100000] [--conditions 50]
    python -m benchmarks.statistics_speed --images 1000000 --once

With --once the effects are measured a single time, and not compared with the loop.
"""

from __future__ import annotations

import argparse
import os
import resource
import time

import numpy as np

from audit.data.conditions import CLEAN, Condition, Declared, Suite
from audit.statistics.effects import measure_effects
from audit.store.results import PredictionTable
from audit.store.serialise import to_json

CLASSES = ("covid", "normal", "pneumonia")
NAIVE_RESAMPLES = 20
WORDS = {"L": 0.4, "R": 0.2, "AP": 0.1, "PORTABLE": 0.05, "SUPINE": 0.02, "SEDUTO": 0.01, "DX": 0.005, "SITIO": 0.002}
"""String -> share of the images that carry it: groups of all sizes, the last two too small for the Gaussian limit."""
TEXT_MASKS = 4
"""As the suite `full` has; the other edits take no text away, and are not told by words."""


def make_suite(n_conditions: int) -> Suite:
    """Return half as many edits as conditions, each beside a placebo; the first take text away."""
    conditions = [CLEAN]
    for i in range(n_conditions // 2):
        declared = Declared(removes=("text",)) if i < TEXT_MASKS else Declared(adds=("look",))
        conditions.append(
            Condition(
                name=f"edit-{i}",
                perturbation="edit",
                declared=declared,
                role="edit",
                placebo=f"placebo-{i}",
                parameters={},
            )
        )
        conditions.append(Condition(name=f"placebo-{i}", perturbation="placebo-mask", role="placebo", parameters={}))
    return Suite(name="speed", version=1, description="", conditions=tuple(conditions))


def make_table(n: int, suite: Suite) -> PredictionTable:
    """Return predictions of images in patients of one to three."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, n)
    clean = rng.normal(0, 1, (n, 3)).astype(np.float32)
    clean[np.arange(n), labels] += 2
    patients = np.repeat(np.arange(n), rng.integers(1, 4, n))[:n]
    logits = {"clean": clean[None]}
    for condition in suite.conditions[1:]:
        logits[condition.name] = (clean + rng.normal(0, 0.2, (n, 3)).astype(np.float32))[None]
    return PredictionTable(
        record_ids=np.array([f"r{i:07}" for i in range(n)]),
        labels=labels,
        patients=np.array([f"p{p:07}" for p in patients]),
        groups={},
        classes=CLASSES,
        logits=logits,
        applied={name: np.ones((1, n), dtype=np.bool_) for name in logits},
        words={word: rng.random(n) < share for word, share in WORDS.items()},
    )


def naive_seconds(table: PredictionTable) -> float:
    """Return the seconds of one resample of patients, one measure, one condition, by gathering images patient by patient."""
    clean, edit = (table.logits[name][0] for name in ("clean", "edit-0"))
    change = (edit.argmax(1) == table.labels).astype(float) - (clean.argmax(1) == table.labels)
    _, who = np.unique(table.patients, return_inverse=True)
    order = np.argsort(who, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(who))[:-1])
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    for _ in range(NAIVE_RESAMPLES):
        change[np.concatenate([rows[p] for p in rng.integers(0, len(rows), len(rows))])].mean()
    return (time.perf_counter() - start) / NAIVE_RESAMPLES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--conditions", type=int, default=50)
    parser.add_argument("--once", action="store_true", help="neither a second time, nor by the naive loop")
    options = parser.parse_args()
    suite = make_suite(options.conditions)
    table = make_table(options.images, suite)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start, start_cpu = time.perf_counter(), time.process_time()
    effects = measure_effects(table, suite, seed=0, resamples=10_000)
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{options.images} images of {len(np.unique(table.patients))} patients, {options.conditions} conditions")
    declared = sum(e.family == "declared" for e in effects)
    print(
        f"engine: {len(effects)} effects, {declared} of them judged, in {seconds:.2f} s, peak {peak:.0f} MB ({before:.0f} MB before)"
    )
    # Beside other work the clock says little: the processor's time is what one idle core would need at most.
    print(f"processor time {cpu:.2f} s; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if options.once:
        return
    again = measure_effects(table, suite, seed=0, resamples=10_000)
    print(f"same seed, same bytes: {to_json(effects) == to_json(again)}")
    naive = naive_seconds(table) * 10_000 * len([e for e in effects if e.condition != "clean"])
    print(f"naive loop over resamples, one effect after the other: {naive:.0f} s (scaled from {NAIVE_RESAMPLES})")
    print(f"ratio naive / engine: {naive / seconds:.0f}")


if __name__ == "__main__":
    main()
