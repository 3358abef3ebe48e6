"""How often an interval covers the true effect of a property that classes of some dozens of patients teach, and how far estimates are off.

Each patient has a property of a few dimensions (as grey curves do), which has a class mean in the population. A network reads it through
a linear layer, with weights that differ a little from image to image. The edit moves an image by the difference between the means of
two classes, as they are in the sample. The truth is the same move by the difference between the populations: 0 where there is none.
Printed: truth, bias, coverage and false calls of `sensitive` of the audit's effect; and the same without halves, from images alone.

    OMP_NUM_THREADS=1 python -m benchmarks.taught_coverage --repetitions 500
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import CLEAN, SPLITS, Condition, Declared, Suite
from audit.statistics.effects import measure_effects
from audit.statistics.outputs import softmax
from audit.store.group import ALL
from audit.store.results import Effect, PredictionTable

Values = NDArray[np.float64]
_DIMENSIONS, _OTHER_WEIGHTS = 3, 0.3
_MANY = 40_000


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One world."""

    n: int
    """Images, one a patient."""
    classes: int
    """Equally frequent."""
    apart: float
    """How far the mean of the second class is from the others', in standard deviations."""
    weight: float
    """Logits that a standard deviation of the property moves."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """A sample of a world."""

    labels: NDArray[np.int64]
    others: NDArray[np.int64]
    properties: Values
    weights: Values
    logits: Values

    def moved(self, by: Values) -> Values:
        """Return logits (n, k) after each image moved by (n, dimensions)."""
        return self.logits + np.einsum("nkd,nd->nk", self.weights, by)


def sample(rng: np.random.Generator, world: Setting, n: int) -> Images:
    k = world.classes
    labels = rng.permutation(np.arange(n) % k)
    properties = rng.normal(size=(n, _DIMENSIONS))
    properties[labels == 1, 0] += world.apart
    weights = _OTHER_WEIGHTS * world.weight * rng.normal(size=(n, k, _DIMENSIONS))
    weights[:, 1, 0] += world.weight
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), labels] += 1
    others = (labels + 1 + rng.integers(0, k - 1, size=n)) % k
    return Images(labels=labels, others=others, properties=properties, weights=weights, logits=logits)


def true_effect(world: Setting) -> float:
    images = sample(np.random.default_rng(0), world, _MANY)
    by = np.zeros((_MANY, _DIMENSIONS))
    by[:, 0] = world.apart * ((images.others == 1).astype(float) - (images.labels == 1))
    return float(0.5 * np.abs(softmax(images.moved(by)) - softmax(images.logits)).sum(axis=1).mean())


def edits(rng: np.random.Generator, images: Images, *, halves: bool) -> tuple[Values, Values]:
    """Return the logits under two draws of the edit and of its placebo, each (2, n, k)."""
    members = [np.flatnonzero(images.labels == c) for c in range(images.logits.shape[1])]
    split = np.arange(len(images.labels)) % SPLITS

    def mean(part: int) -> Callable[[Values], Values]:
        return lambda rows: rows[..., part::2, :].mean(axis=-2) if halves else rows.mean(axis=-2)

    def dealt(rows: NDArray[np.int64], times: int) -> Values:
        order = np.argsort(rng.random((times, len(rows))), axis=1)
        return images.properties[rows[order]]

    ways = [dealt(rows, SPLITS) for rows in members]
    edit, placebo = [], []
    for part in (0, 1):
        means = np.stack([mean(part)(way) for way in ways], axis=1)
        edit.append(images.moved(means[split, images.others] - means[split, images.labels]))
    by = np.zeros((2, *images.properties.shape))
    for own, mine in enumerate(members):
        for other, theirs in enumerate(members):
            here = np.flatnonzero((images.labels == own) & (images.others == other))
            if not len(here):
                continue
            about = [images.properties[rows] - images.properties[rows].mean(axis=0) for rows in (mine, theirs)]
            both = np.concatenate(about)[np.argsort(rng.random((len(here), len(mine) + len(theirs))), axis=1)]
            for part in (0, 1):
                if not halves and part == 1:
                    both = both[:, rng.permutation(both.shape[1])]
                by[part, here] = mean(part)(both[:, len(mine) :]) - mean(part)(both[:, : len(mine)])
    placebo = [images.moved(by[part]) for part in (0, 1)]
    return np.stack(edit), np.stack(placebo)


def suite_of(*, halves: bool) -> Suite:
    edit = Condition(
        name="edit", perturbation="class-shift", role="edit", placebo="placebo", draws=2, parameters={},
        declared=Declared(adds=("grey-curve",), halves=halves),
    )  # fmt: skip
    return Suite(
        name="moves",
        version=1,
        description="",
        conditions=(CLEAN, edit, replace(edit, name="placebo", role="placebo", placebo=None)),
    )


def audited(rng: np.random.Generator, images: Images, seed: int, *, halves: bool) -> Effect:
    n = len(images.labels)
    edit, placebo = edits(rng, images, halves=halves)
    applied = np.ones((2, n), dtype=bool)
    table = PredictionTable(
        record_ids=np.array([f"r{i:05d}" for i in range(n)]),
        ranks=np.arange(n),
        labels=images.labels,
        patients=np.array([f"p{i:05d}" for i in range(n)]),
        groups={},
        classes=tuple("abcdefgh"[: images.logits.shape[1]]),
        logits={
            "clean": images.logits[None].astype(np.float32),
            "edit": edit.astype(np.float32),
            "placebo": placebo.astype(np.float32),
        },
        applied={"clean": applied[:1], "edit": applied, "placebo": applied},
    )
    found = measure_effects(table, suite_of(halves=halves), seed=seed, resamples=200)
    return next(e for e in found if (e.placebo, e.measure, e.group) == ("placebo", "shortcut_sensitivity", ALL))


def main() -> None:
    """Print two lines for each world: with halves, and without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("images  classes  apart  weight  truth  | learnt    bias    coverage  below  above  width  sensitive  robust")
    for n, k, apart, weight in (
        (128, 2, 0.0, 0.5), (128, 2, 0.0, 1.5), (128, 3, 0.0, 1.5), (400, 2, 0.0, 1.5), (60, 2, 0.0, 1.5),
        (128, 2, 0.2, 1.5), (128, 2, 0.4, 1.5), (128, 2, 0.8, 1.5), (128, 3, 0.8, 1.5), (60, 2, 0.8, 1.5), (128, 2, 2.0, 1.5),
    ):  # fmt: skip
        world = Setting(n=n, classes=k, apart=apart, weight=weight)
        truth = true_effect(world)
        for halves in (True, False):
            rng = np.random.default_rng([options.seed, n, k, int(100 * apart), int(100 * weight)])
            rows = []
            for seed in range(options.repetitions):
                e = audited(rng, sample(rng, world, n), seed, halves=halves)
                assert e.estimate is not None
                assert e.low is not None
                assert e.high is not None
                rows.append(
                    [
                        e.estimate - truth,
                        e.low <= truth <= e.high,
                        e.high < truth,
                        e.low > truth,
                        e.high - e.low,
                        e.verdict == "sensitive",
                        e.verdict == "robust",
                    ]
                )
            mean = np.mean(rows, axis=0)
            print(
                f"{n:6d}  {k:7d}  {apart:5.1f}  {weight:6.1f}  {truth:5.3f}  | {'halves' if halves else 'whole':7} "
                f"{mean[0]:+7.3f}  {mean[1]:8.3f}  {mean[2]:5.3f}  {mean[3]:5.3f}  {mean[4]:5.3f}  {mean[5]:9.3f}  {mean[6]:6.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
