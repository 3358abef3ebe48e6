"""Images on which the suspects buy nothing: what a network gets right there it owes to the rest of the image, and must not lose in mending.

An image counts as it is if taking the suspects away does not move the old network's answer, or if there is nothing to take away; of a
suspect that no edit takes away, if no edit of it moves the answer. An image that a suspect does move counts by its copies from which that
suspect was taken away, if there are any and no other suspect moves it. Which images count depends on the old network's probabilities,
never on whether they are right. Accuracy on all edited copies is no substitute: copies that were given the suspect of another class fool
the old network, and getting those right would make up for what is lost on plain images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.randomness import generator_for
from audit.statistics.intervals import change_intervals
from audit.statistics.patient_bootstrap import PatientBootstrap
from audit.statistics.patient_sums import sum_by_patient
from audit.store.mend import Paired

HONEST = "accuracy where the shortcut plays no part"
UNMOVED = 0.05
"""Change of the probabilities, beyond the placebo's, below which an edit does not move an answer."""
FEWEST = 20
"""Images below which such an accuracy is not compared: one image would be more than the points that may be lost."""
_RESAMPLES = 2_000


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What one edit does to the old network's answers to n images."""

    edit: str
    """Its condition."""
    suspect: str
    """What it edits."""
    removes: bool
    """Whether it takes the suspect away, rather than exchanging or adding it."""
    applied: NDArray[np.bool_]
    """(n,) where it could be applied."""
    by: NDArray[np.float64]
    """(n,) total variation, minus the placebo's."""


@dataclass(frozen=True, kw_only=True)
class Honest:
    """How n images count: as they are, by copies without a suspect, or not at all."""

    clean: NDArray[np.bool_]
    """(n,) those that count as they are."""
    copies: Mapping[str, NDArray[np.bool_]]
    """Edit -> (n,) those that count by its copies."""
    moved: NDArray[np.bool_]
    """(n,) whether any edit of a suspect, also one that adds it, moves the old network's answer."""

    def right(self, clean: NDArray[np.float64], edited: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return (n,) how often each image is right where it counts, NaN where it does not.

        Parameters
        ----------
        clean : float (n)
            How far each unedited image is right, 0 to 1.
        edited : mapping
            Edit -> (n,) the same of its copies, the mean over draws.
        """
        total, number = np.where(self.clean, clean, 0.0), self.clean.astype(np.float64)
        for name, here in self.copies.items():
            total += np.where(here, edited[name], 0.0)
            number += here
        return np.asarray(np.divide(total, number, out=np.full(len(total), np.nan), where=number > 0))


def find_honest(moved: Sequence[Moved], n: int) -> Honest:
    """Say how each of n images counts.

    Parameters
    ----------
    moved : sequence of Moved
        Of every edit of the suspects.
    n : int
        Number of images.
    """
    anyhow = np.zeros(n, dtype=np.bool_)
    taken_away = {m.suspect for m in moved if m.removes}
    by_suspect: dict[str, NDArray[np.bool_]] = {}
    for m in moved:
        here = m.applied & (m.by >= UNMOVED)
        anyhow |= here
        if m.suspect in taken_away and not m.removes:
            continue  # what an image does not show plays no part in its answer, whatever adding it would do
        by_suspect[m.suspect] = by_suspect.get(m.suspect, np.zeros(n, dtype=np.bool_)) | here
    n_suspects = np.sum(list(by_suspect.values()), axis=0) if by_suspect else np.zeros(n)
    alone = n_suspects == 1
    return Honest(
        clean=np.asarray(n_suspects == 0),
        copies={m.edit: m.applied & by_suspect[m.suspect] & alone for m in moved if m.removes},
        moved=anyhow,
    )


def compare_right(
    was: NDArray[np.float64],
    now: NDArray[np.float64],
    patients: NDArray[np.intp],
    *,
    level: float,
    seed: int,
    name: str = HONEST,
) -> Paired | None:
    """Compare answers image by image where both count; None with too few images.

    Parameters
    ----------
    was, now : float (n)
        How often each image is right, of the old and of the new network (or edited); NaN where it does not count.
    patients : int (n)
        Number of each image's patient; patients are resampled.
    level : float
        Coverage of the interval of the change.
    seed : int
        Of the resampling.
    name : str
        What is compared.
    """
    here = np.isfinite(was) & np.isfinite(now)
    if here.sum() < FEWEST:
        return None
    number = np.unique(patients, return_inverse=True)[1]
    n_patients = int(number.max()) + 1
    change = np.where(here, now - was, 0.0)
    sums = sum_by_patient(change, number, n_patients, population=here, scale="difference", counted=True)
    assert sums is not None
    bootstrap = PatientBootstrap(n_patients, _RESAMPLES, generator_for(seed, "mend honest"))
    (interval,) = change_intervals([sums], bootstrap=bootstrap, level=level)
    return Paired(
        name=name,
        n_images=int(here.sum()),
        n_patients=len(np.unique(number[here])),
        before=round(float(was[here].mean()), 10),
        after=round(float(now[here].mean()), 10),
        change=round(float(change[here].mean()), 10),
        low=None if interval.low is None else round(interval.low, 10),
        high=None if interval.high is None else round(interval.high, 10),
        method=interval.method,
    )
