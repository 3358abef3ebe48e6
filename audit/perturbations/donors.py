"""The other images of the cohort, as donors of text and looks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from audit.data.findings import ABSENT, PRESENT
from audit.data.images import jpeg_table, read_record
from audit.data.records import Record, TextRegion
from audit.perturbations.looks import Look, measure_look

K = TypeVar("K", bound=Hashable)
_KEPT_BYTES = 64_000_000
"""Decoded images that are kept: an image of a small cohort lends something to others dozens of times."""
_KEPT_LOOKS = 4096
_KEPT_PARTS = 256
"""What was cut out of donors: a hundred kilobytes each."""
_QUICK_TRIES = 20
MIN_LOOK_DONORS = 5
"""Patients that a source needs within a class to serve as donor of a look: with fewer, their own peculiarities would be
attributed to the source, and their variation would be unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Donor:
    """One image that lends something to another."""

    record: Record
    """The image."""
    regions: tuple[TextRegion, ...]
    """Its text."""


class DonorPool:
    """Every image of the cohort, by class where it carries text, and by source; pixels are read when they are drawn."""

    def __init__(self, donors: Iterable[Donor], *, read: Callable[[Record], NDArray[np.uint8]] = read_record) -> None:
        everyone = sorted(donors, key=lambda d: d.record.id)
        self._by_finding = _grouped(
            (place, d) for d in everyone if d.regions for place, there in enumerate(d.record.truth) if there == PRESENT
        )
        self._with_text = [d for d in everyone if d.regions and d.record.truth]
        self._by_label = _grouped((d.record.label, d) for d in everyone if d.regions and d.record.label is not None)
        self._by_look = _counted(_grouped(((d.record.label, d.record.source), d) for d in everyone))
        self._by_own: dict[frozenset[int], Sequence[Donor]] = {}
        self._read = read
        self._kept: Callable[[Record], NDArray[np.uint8]] | None = None
        self.look = lru_cache(maxsize=_KEPT_LOOKS)(self._measured)
        """Donor -> its look, which is measured once."""
        self.once = lru_cache(maxsize=_KEPT_PARTS)(self._computed)
        """A function of a donor and its image, and the donor -> its result, which nobody may change."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source, sorted."""
        return tuple(sorted({source for _, source in self._by_look}))

    def choose(self, record: Record, *, same_class: bool, rng: np.random.Generator) -> Donor | None:
        """Draw a donor of text of the record's class, or of another one, never of the same patient.

        With `same_class` false the class is drawn first, each with equal chance, then the image. Of a multi-label task a donor of another
        class has a finding that the record is known not to have (the finding is drawn first), and one of its class has no finding that
        the record does not have.
        """
        if record.truth:
            if same_class:
                return _draw_stranger(self._among_own(record), record, rng)
            others = {i: pool for i, pool in self._by_finding.items() if record.truth[i] == ABSENT}
            return _choose(others, None, record, same=False, rng=rng)
        return _choose(self._by_label, record.label, record, same=same_class, rng=rng)

    def another(self, donor: Donor, record: Record, rng: np.random.Generator) -> Donor | None:
        """Draw a further donor of text for `record`, of the same class as `donor`."""
        if record.truth:
            foreign = [i for i in self._by_finding if donor.record.truth[i] == PRESENT and record.truth[i] == ABSENT]
            pool = self._by_finding[foreign[int(rng.integers(len(foreign)))]] if foreign else self._among_own(record)
            return _draw_stranger(pool, record, rng)
        label = donor.record.label
        return None if label is None else _draw_stranger(self._by_label.get(label, []), record, rng)

    def _among_own(self, record: Record) -> Sequence[Donor]:
        """Return the donors of text without any finding that the record is not known to have."""
        own = frozenset(i for i, there in enumerate(record.truth) if there == PRESENT)
        if own not in self._by_own:
            self._by_own[own] = [
                d
                for d in self._with_text
                if all(i in own for i, there in enumerate(d.record.truth) if there == PRESENT)
            ]
        return self._by_own[own]

    def choose_look(self, record: Record, *, same_source: bool, rng: np.random.Generator) -> Donor | None:
        """Draw an image of the record's class, from its source or from another one, never of the same patient.

        Within the class, because a look also transfers signs of the disease: if donors were of any class, and classes were
        unevenly spread over sources, looks of sources would differ as the classes do. Each other source is drawn with equal
        probability; one with fewer than `MIN_LOOK_DONORS` patients besides the record's own is not used.
        """
        label, source = record.label, record.source
        keys = [key for key in self._by_look if key[0] == label and (key[1] == source) == same_source]
        return _draw_from_enough(self._by_look, keys, (label, source), record, rng)

    def pixels(self, donor: Donor) -> NDArray[np.uint8]:
        """Return the donor's image, (h, w) or (h, w, 3)."""
        if self._kept is None:
            self._kept = lru_cache(maxsize=max(1, _KEPT_BYTES // self._read(donor.record).nbytes))(self._read)
        return self._kept(donor.record)

    def _computed(self, work: Callable[[Donor, NDArray[np.uint8]], Any], donor: Donor) -> Any:
        return work(donor, self.pixels(donor))

    def _measured(self, donor: Donor) -> Look:
        return measure_look(self.pixels(donor), jpeg_table(donor.record.path))


def has_look_donors(records: Iterable[Record]) -> bool:
    """Return whether any image can take on the look of another source within its class; otherwise the source cannot be tested."""
    patients: defaultdict[str | None, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for record in records:
        patients[record.label][record.source].add(record.patient)
    largest = (sorted((len(p) for p in sources.values()), reverse=True) for sources in patients.values())
    return any(len(n) > 1 and n[0] > MIN_LOOK_DONORS and n[1] >= MIN_LOOK_DONORS for n in largest)


def _grouped(pairs: Iterable[tuple[K, Donor]]) -> Mapping[K, Sequence[Donor]]:
    groups: defaultdict[K, list[Donor]] = defaultdict(list)
    for key, donor in pairs:
        groups[key].append(donor)
    return dict(sorted(groups.items(), key=lambda group: str(group[0])))


def _counted(groups: Mapping[K, Sequence[Donor]]) -> Mapping[K, tuple[Sequence[Donor], int]]:
    """Add to each group how many patients it has."""
    return {key: (found, len({d.record.patient for d in found})) for key, found in groups.items()}


def _draw_from_enough(
    groups: Mapping[K, tuple[Sequence[Donor], int]],
    keys: Iterable[K],
    own: object,
    record: Record,
    rng: np.random.Generator,
) -> Donor | None:
    """Draw one of the groups that have enough patients besides the record's own, then a donor of it."""
    enough = [key for key in keys if groups[key][1] - (key == own) >= MIN_LOOK_DONORS]
    return _draw_stranger(groups[enough[int(rng.integers(len(enough)))]][0], record, rng) if enough else None


def _choose(
    groups: Mapping[K, Sequence[Donor]], own: K | None, record: Record, *, same: bool, rng: np.random.Generator
) -> Donor | None:
    keys = [key for key in groups if (key == own) == same]
    while keys:
        donor = _draw_stranger(groups[keys.pop(int(rng.integers(len(keys))))], record, rng)
        if donor is not None:
            return donor
    return None


def _draw_stranger(pool: Sequence[Donor], record: Record, rng: np.random.Generator) -> Donor | None:
    """Draw a donor of another patient; None if the pool holds only this one."""
    if not pool:
        return None
    for _ in range(_QUICK_TRIES):
        donor = pool[int(rng.integers(len(pool)))]
        if donor.record.patient != record.patient:
            return donor
    # A pool that is mostly one patient's: look at all of it, once.
    strangers = [d for d in pool if d.record.patient != record.patient]
    return strangers[int(rng.integers(len(strangers)))] if strangers else None
