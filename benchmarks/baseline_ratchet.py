"""Does the ratchet of `audit baseline accept` hold, and does it let equal networks through? Retrainings and slow declines, simulated.

A network's effect on an image is what the image does to any of them, plus what this training happened to make of it (independent
from image to image), plus what it happened to make of all of them. Nine figures are held, as in a run of the standard suite, or one. Each
sequence begins with a new baseline; each of its networks is compared with the pinned values and accepted, or refused, as the command
would. Comparison and decision are the package's own; only the runs are drawn.

    python -m benchmarks.baseline_ratchet [--sequences 40] [--seed 0]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np

from audit.baseline.ratchet import TIGHTEN_LEVEL, Held, weigh_changes
from audit.statistics.intervals import change_intervals
from audit.statistics.patient_bootstrap import PatientBootstrap
from audit.statistics.patient_sums import sum_by_patient
from audit.store.group import ALL
from audit.store.results import Effect

N_FIGURES = 9
N_RETRAININGS = 50
N_RELEASES = 12
STEP = 0.01
# An interval of a change of about 0.027 on either side, at 300 images: what the demo's networks show.
TRAINING_SD = 0.17
RESAMPLES = 400


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """What became of one sequence of networks."""

    refused: list[int]
    """Which of them were refused, from 1."""
    moved: int
    """How often a pinned value was replaced."""
    drift: list[float]
    """Where the pins ended: the true mean of what each figure is now compared with, minus that of the first network."""


def change(new: np.ndarray, pinned: np.ndarray, rng: np.random.Generator) -> Effect:
    """Estimate the paired change, as `compare_images` does; two images a patient."""
    patients = np.arange(len(new)) // 2
    sums = sum_by_patient(
        new - pinned,
        patients,
        int(patients.max()) + 1,
        population=np.ones(len(new), dtype=np.bool_),
        scale="contrast",
        counted=False,
        spread=1.0,
    )
    assert sums is not None
    interval = change_intervals(
        [sums], bootstrap=PatientBootstrap(int(patients.max()) + 1, RESAMPLES, rng), level=0.95
    )[0]
    return Effect(
        condition="edit", placebo=None, measure="shortcut_sensitivity", group=ALL, estimate=sums.estimate, low=interval.low,
        high=interval.high, level=0.95, method="", n_images=sums.n_images, n_patients=sums.n_patients, discordant=0, p=None,
        p_adjusted=None, tolerance=None, verdict="descriptive", minimum_detectable=None,
    )  # fmt: skip


def follow(
    rises: np.ndarray,
    rng: np.random.Generator,
    *,
    n_images: int,
    rule: str = "shown",
    n_figures: int = N_FIGURES,
    rising: int = N_FIGURES,
    common_sd: float = 0.0,
) -> Sequence:
    """Offer networks whose true effect has risen by `rises`, in order, after a first one that is the baseline.

    Parameters
    ----------
    rule : str
        estimate: compare estimates, and pin whatever is accepted, as the command once did; eager: pin what is better at 95 %; shown: as
        the command does.
    n_figures, rising : int
        How many are held, and how many of them rise.
    common_sd : float
        How far a training moves a figure on all images at once.
    """
    image = rng.normal(0.1, 0.1, (n_figures, n_images))
    share = (np.arange(n_figures) < rising).astype(np.float64)

    def train(rise: float) -> tuple[np.ndarray, np.ndarray]:
        true = rise * share + rng.normal(0, common_sd, n_figures)
        own = rng.normal(0, TRAINING_SD, (n_figures, n_images))
        return image + true[:, None] + own, true + own.mean(1)

    pinned, began = train(0.0)
    stands = began.copy()
    refused, moved = [], 0
    for number, rise in enumerate(rises, 1):
        new, now = train(float(rise))
        held = [Held(way="higher", change=change(new[i], pinned[i], rng)) for i in range(n_figures)]
        if rule == "estimate":
            outcomes = ["worse" if (h.change.estimate or 0.0) > 0 else "better" for h in held]
        else:
            outcomes = list(weigh_changes(held, tighten_level=0.95 if rule == "eager" else TIGHTEN_LEVEL))
        if "worse" in outcomes:
            refused.append(number)
            continue
        for i, outcome in enumerate(outcomes):
            if outcome == "better":
                pinned[i], stands[i], moved = new[i], now[i], moved + 1
    return Sequence(refused=refused, moved=moved, drift=(stands - began).tolist())


WORDS = {"estimate": "by the estimate", "eager": "shown, pin at 95 %", "shown": "shown, pin at 99.9 %"}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequences", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.perf_counter()
    rng = np.random.Generator(np.random.PCG64(options.seed))
    print(f"{N_RETRAININGS} equal retrainings after the first; means of {options.sequences} sequences")
    print(
        f"{'images':<8}{'figures':<9}{'decision':<22}{'common SD':<11}{'refused':<9}{'pins moved':<12}drift of pins: mean, furthest"
    )
    for n_images, n_figures, rule, common in (
        (300, 1, "estimate", 0.0),
        (300, 1, "eager", 0.0),
        (300, 1, "shown", 0.0),
        (300, 9, "estimate", 0.0),
        (300, 9, "eager", 0.0),
        (300, 9, "shown", 0.0),
        (300, 9, "shown", 0.005),
        (2000, 9, "shown", 0.0),
        (2000, 9, "shown", 0.005),
    ):
        flat = np.zeros(N_RETRAININGS)
        found = [
            follow(flat, rng, n_images=n_images, rule=rule, n_figures=n_figures, common_sd=common)
            for _ in range(options.sequences)
        ]
        drift = np.array([s.drift for s in found])
        refused, moved = np.mean([len(s.refused) for s in found]), np.mean([s.moved for s in found])
        furthest = drift.flat[np.abs(drift).argmax()]
        print(
            f"{n_images:<8}{n_figures:<9}{WORDS[rule]:<22}{common:<11}{refused:<9.1f}{moved:<12.2f}{drift.mean():+.4f}, {furthest:+.4f}"
        )
    print(
        f"\n{N_RELEASES} releases of {STEP:+.2f} each; all must be compared with the first, or the rise adds up unseen"
    )
    print(
        f"{'images':<8}{'rising':<9}{'first refused (middle, latest)':<33}{'last accepted':<15}largest rise let through"
    )
    for n_images, rising in ((100, 9), (300, 9), (300, 1), (2000, 9), (2000, 1)):
        rises = STEP * np.arange(1, N_RELEASES + 1)
        slow = [follow(rises, rng, n_images=n_images, rising=rising) for _ in range(options.sequences)]
        first = sorted(min(s.refused, default=N_RELEASES + 1) for s in slow)
        last = max(max((n for n in range(1, N_RELEASES + 1) if n not in s.refused), default=0) for s in slow)
        middle = first[len(first) // 2]
        print(f"{n_images:<8}{f'{rising} of 9':<9}{f'release {middle}, {first[-1]}':<33}{last:<15}{STEP * last:+.2f}")
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
