"""Images are checked on every core, in the order of the table, within the memory of one; tables of many rows in little time."""

from __future__ import annotations

import threading
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.data import checks, manifests
from audit.data.checks import CheckedImages, check_images
from audit.data.images import ImageFacts
from audit.data.pixels import limits
from audit.data.pixels.limits import RefusedError, check_size, image_errors
from audit.data.records import Record
from audit.errors import ImageError
from benchmarks.manifest_speed import CLASSES, write_manifest


def records(folder: Path, n: int, *, bad: tuple[int, ...] = ()) -> list[Record]:
    made = []
    for i in range(n):
        path = folder / f"{i}.png"
        if i in bad:
            path.write_bytes(b"no image")
        else:
            Image.fromarray(np.full((20, 20 + i), i, np.uint8)).save(path)
        made.append(Record(id=f"r{i}", path=path, label="x", patient=f"p{i}", name=f"r{i}"))
    return made


def cores(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(n)), raising=False)


@pytest.mark.parametrize("n_cores", [1, 5])
def test_what_is_found_does_not_depend_on_the_cores(
    n_cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = records(tmp_path, 60, bad=(17, 40))
    cores(monkeypatch, n_cores)
    with pytest.raises(ImageError, match=r"17\.png.*--on-bad-image skip"):
        check_images(images, "fail")
    found = check_images(images, "skip")
    assert [r.id for r in found.bad] == ["r17", "r40"]
    assert [r.id for r in found.records] == [f"r{i}" for i in range(60) if i not in (17, 40)]
    assert found.shapes["r7"] == (20, 27)
    assert len({id(f) for f in found.facts.values()}) == 1, "facts that are equal are held once"


def test_images_are_looked_at_side_by_side_and_no_more_than_a_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = records(tmp_path, 100)
    cores(monkeypatch, 4)
    meeting = threading.Barrier(4, timeout=30)
    taken, given_back = 0, 0

    def look(record: Record) -> str:
        if int(record.id[1:]) < 4:
            meeting.wait()  # passes only if four look at once
        return record.id

    def counted() -> object:
        nonlocal taken
        for record in images:
            taken += 1
            assert taken - given_back <= checks._WINDOW * 4 + 2
            yield record

    for record, said in checks._in_order(counted(), look):  # type: ignore[arg-type]
        given_back += 1
        assert said == record.id
    assert given_back == 100


def test_large_images_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many threads there are, no more pixels are decoded at once than one image may have."""
    monkeypatch.setattr(limits, "_room", limits._Room(limits.MAX_PIXELS))
    at_once, most, lock = 0, 0, threading.Lock()
    side = 5_000

    def decode() -> None:
        nonlocal at_once, most
        with image_errors(Path("x")):
            check_size(side, side, limits.MAX_PIXELS)
            check_size(side, side, limits.MAX_PIXELS)  # a second header of the same file does not wait for the first
            with lock:
                at_once += side * side
                most = max(most, at_once)
            time.sleep(0.02)
            with lock:
                at_once -= side * side

    threads = [threading.Thread(target=decode) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert side * side < most <= limits.MAX_PIXELS


def test_warnings_are_silent_meanwhile_and_heard_afterwards() -> None:
    before = list(warnings.filters)

    def decode(seconds: float) -> None:
        with image_errors(Path("x")):
            time.sleep(seconds)
            warnings.warn("of a library", stacklevel=1)

    threads = [threading.Thread(target=decode, args=(0.01 * i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert list(warnings.filters) == before
    with pytest.raises(UserWarning, match="of a library"):
        warnings.warn("of a library", stacklevel=1)


def test_room_is_given_back_after_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_room", limits._Room(100))
    for _ in range(3):
        with pytest.raises(ImageError, match="too odd"), image_errors(Path("x")):
            check_size(10, 10, 100)
            raise RefusedError("is too odd", "Export it again")
    assert limits._room._free == 100


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no image be read: what is measured is the table."""
    facts = ImageFacts(format="PNG", depth=8, samples=1, photometric_interpretation="L", compression="x", decoder="x")

    def look(images: list[Record], on_bad_image: str, *, colour: bool) -> CheckedImages:
        assert not colour

        return CheckedImages(
            records=images,
            hashes={r.id: (r.id, r.id) for r in images},
            shapes=dict.fromkeys((r.id for r in images), (9, 9)),
            facts=dict.fromkeys((r.id for r in images), facts),
            bad=[],
            notes=[],
        )

    monkeypatch.setattr(manifests, "check_images", look)


@pytest.mark.parametrize("n_further", [0, 60])
def test_a_long_table_takes_little_time_and_memory(n_further: int, pretended: None, tmp_path: Path) -> None:
    """200,000 rows may take 15 s and 500 MB; a tenth of them, with the columns that are not read, a fifth of that at most."""
    write_manifest(tmp_path / "m.csv", 20_000, n_further)
    began = time.process_time()
    cohort = manifests.load_cohort(tmp_path / "m.csv", classes=CLASSES, withhold=True)
    assert time.process_time() - began < 3
    assert len(cohort.records) == 20_000
    tracemalloc.start()
    try:
        manifests.load_cohort(tmp_path / "m.csv", classes=CLASSES, withhold=True)
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()
