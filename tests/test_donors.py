"""What the pool of donors keeps in memory: as many images as its bytes allow, and every look."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from audit.data.records import Record
from audit.perturbations import donors
from audit.perturbations.donors import Donor, DonorPool
from audit.perturbations.looks import measure_look


def pool_of(n: int, side_px: int) -> tuple[DonorPool, list[Donor], Counter[str]]:
    found = [
        Donor(record=Record(id=f"r{i}", path=Path(f"r{i}.png"), label="a", patient=f"p{i}"), regions=())
        for i in range(n)
    ]
    reads: Counter[str] = Counter()

    def read(record: Record) -> np.ndarray:
        reads[record.id] += 1
        return np.random.default_rng(int(record.id[1:])).integers(0, 256, (side_px, side_px), dtype=np.uint8)

    return DonorPool(found, read=read), found, reads


def test_images_are_read_once_as_far_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(donors, "_KEPT_BYTES", 10 * 64 * 64)
    pool, found, reads = pool_of(20, 64)
    for _ in range(3):
        for donor in found[:10]:
            pool.pixels(donor)
    assert max(reads.values()) <= 2, "the first one was read to see how large images are"
    for _ in range(3):
        for donor in found:
            pool.pixels(donor)
    assert min(reads[d.record.id] for d in found[10:]) == 3, "more than the bytes allow are not kept"


def test_one_image_is_kept_however_large() -> None:
    pool, found, reads = pool_of(2, 9000)
    for donor in (found[0], found[0], found[1]):
        pool.pixels(donor)
    assert reads == {"r0": 2, "r1": 1}


def test_a_look_is_measured_once_and_is_the_images() -> None:
    pool, found, reads = pool_of(3, 80)
    looks = [[pool.look(donor) for donor in found] for _ in range(2)]
    assert all(first is again for first, again in zip(*looks, strict=True))
    measured = measure_look(pool.pixels(found[1]), None)
    assert np.array_equal(looks[0][1].quantiles, measured.quantiles)
    assert looks[0][1].frame == measured.frame
    assert sum(reads.values()) <= 4
