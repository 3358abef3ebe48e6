"""The text of other images of the cohort, to be pasted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from audit.images import read_gray
from audit.records import Record, TextRegion

# Decoding is cheap beside prediction; a few images kept are enough for the draws that come together.
_KEPT_IMAGES = 16
_QUICK_TRIES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Donor:
    """One image whose text may be pasted into another."""

    record: Record
    """The image."""
    regions: tuple[TextRegion, ...]
    """Its text, at least one region."""


class DonorPool:
    """Every image of the cohort that carries text, by class; pixels are read when they are drawn."""

    def __init__(self, donors: Iterable[Donor]) -> None:
        by_label: defaultdict[str, list[Donor]] = defaultdict(list)
        for donor in donors:
            if donor.record.label is not None and donor.regions:
                by_label[donor.record.label].append(donor)
        self._by_label: Mapping[str, list[Donor]] = {
            label: sorted(pool, key=lambda d: d.record.id) for label, pool in sorted(by_label.items())
        }
        self._read = lru_cache(maxsize=_KEPT_IMAGES)(read_gray)

    def choose(self, record: Record, *, same_class: bool, rng: np.random.Generator) -> Donor | None:
        """Draw a donor of the record's class, or of another one, never of the same patient.

        With `same_class` false the class is drawn first, each with equal chance, then the image.
        """
        labels = [label for label in self._by_label if (label == record.label) == same_class]
        while labels:
            label = labels.pop(int(rng.integers(len(labels))))
            donor = _draw_stranger(self._by_label[label], record, rng)
            if donor is not None:
                return donor
        return None

    def pixels(self, donor: Donor) -> NDArray[np.uint8]:
        """Return the donor's image, grey (h, w)."""
        return self._read(donor.record.path)


def _draw_stranger(pool: list[Donor], record: Record, rng: np.random.Generator) -> Donor | None:
    """Draw a donor of another patient; None if the pool holds only this one."""
    for _ in range(_QUICK_TRIES):
        donor = pool[int(rng.integers(len(pool)))]
        if donor.record.patient != record.patient:
            return donor
    # A pool that is mostly one patient's: look at all of it, once.
    strangers = [d for d in pool if d.record.patient != record.patient]
    return strangers[int(rng.integers(len(strangers)))] if strangers else None
