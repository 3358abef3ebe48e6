"""Text from beside the pixels, from hand-made boxes, from a failing engine; the cache's bound; the second opinion."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from msgspec.structs import replace
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from audit.data.images import read_gray
from audit.data.manifests import load_cohort
from audit.data.records import Record, TextRegion
from audit.data.strings import StringPolicy
from audit.errors import ImageError, TextError
from audit.run.pipeline import run_audit
from audit.run.settings import Settings
from audit.text.cache import RegionCache
from audit.text.find import find_in, find_regions
from audit.text.finders import make_finder
from audit.text.overlays import overlay_regions
from audit.text.second_opinion import ask_second_opinion
from tests.conftest import Audit, one_paragraph


class Fixed:
    """A finder that says what it is told to, and fails where it is told to."""

    name = "fixed"
    version = "1"
    about = "a finder that says what it is told to"
    parts = (("fixed", "1"),)

    def __init__(self, *regions: TextRegion, fails_on: int | None = None) -> None:
        self.regions = regions
        self.fails_on = fails_on
        self.calls = 0

    def config(self) -> dict[str, Any]:
        return {}

    looks_up = False

    def find(self, image: np.ndarray) -> Sequence[TextRegion]:
        if self.fails_on == self.calls:
            self.calls += 1
            raise RuntimeError("the engine is out of memory")
        self.calls += 1
        return self.regions


def write_dicom(path: Path, *, overlay: np.ndarray | None, origin: tuple[int, int] = (1, 1)) -> Path:
    """Write a DICOM file of 80 by 120 pixels, with an overlay plane if given."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = 80, 120
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = np.random.default_rng(0).integers(0, 255, (80, 120), np.uint8).tobytes()
    if overlay is not None:
        bits = np.packbits(overlay.ravel().astype(np.uint8), bitorder="little").tobytes()
        dataset.add_new(0x60000010, "US", overlay.shape[0])
        dataset.add_new(0x60000011, "US", overlay.shape[1])
        dataset.add_new(0x60000040, "CS", "G")
        dataset.add_new(0x60000050, "SS", list(origin))
        dataset.add_new(0x60000100, "US", 1)
        dataset.add_new(0x60000102, "US", 0)
        dataset.add_new(0x60001500, "LO", "side")
        dataset.add_new(0x60003000, "OW", bits + b"\0" * (len(bits) % 2))
    dataset.save_as(path, enforce_file_format=True)
    return path


def letters(shape: tuple[int, int]) -> np.ndarray:
    """Return a plane with two strokes close together, and one far away."""
    plane = np.zeros(shape, bool)
    plane[10:20, 30:33] = plane[10:20, 34:37] = plane[60:66, 100:110] = True
    return plane


def test_overlay_planes_are_found(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "x.dcm", overlay=letters((80, 120)))
    found = overlay_regions(path, (80, 120))
    assert [(r.x0, r.y0, r.x1, r.y1) for r in found] == [(30, 10, 37, 20), (100, 60, 110, 66)]
    assert {(r.kind, r.detector, r.text) for r in found} == {("overlay", "dicom-overlay", "side")}
    assert find_in(path, RegionCache(None, Fixed())) == found


def test_overlays_that_reach_outside_are_cut(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "x.dcm", overlay=letters((80, 120)), origin=(-8, 6))
    found = overlay_regions(path, (80, 120))
    assert [(r.x0, r.y0, r.x1, r.y1) for r in found] == [(35, 1, 42, 11), (105, 51, 115, 57)]
    path = write_dicom(tmp_path / "y.dcm", overlay=letters((80, 120)), origin=(30, 50))
    assert [(r.x0, r.y0, r.x1, r.y1) for r in overlay_regions(path, (80, 120))] == [(79, 39, 86, 49)]
    assert (
        overlay_regions(write_dicom(tmp_path / "z.dcm", overlay=letters((80, 120)), origin=(999, 1)), (80, 120)) == ()
    )


def test_files_without_overlays_and_damaged_ones(tmp_path: Path) -> None:
    assert overlay_regions(write_dicom(tmp_path / "x.dcm", overlay=None), (80, 120)) == ()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "x.png")
    assert overlay_regions(tmp_path / "x.png", (9, 9)) == ()
    dataset = pydicom.dcmread(write_dicom(tmp_path / "y.dcm", overlay=letters((80, 120))))
    del dataset[0x60000050]
    dataset.save_as(tmp_path / "y.dcm")
    with pytest.raises(ImageError, match="Overlay plane 6000"):
        overlay_regions(tmp_path / "y.dcm", (80, 120))


def test_boxes_join_another_finder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(90, 110, (80, 90), np.uint8)).save(tmp_path / name)
    boxes = tmp_path / "boxes.json"
    boxes.write_text(
        json.dumps({"images": {"a.png": [{"box": [5, 5, 30, 15], "text": "SEDUTO"}, {"box": [80, 70, 200, 99]}]}})
    )
    finder = make_finder("markers", boxes)
    assert finder.name == "markers"
    assert finder.version != make_finder("markers").version, "the cache must not mix them up"
    cache = RegionCache(None, finder)
    assert [(r.x0, r.y0, r.x1, r.y1, r.text) for r in find_in(tmp_path / "a.png", cache)] == [
        (5, 5, 30, 15, "SEDUTO"),
        (80, 70, 90, 80, ""),
    ]
    assert find_in(tmp_path / "b.png", cache) == (), "an image that is not listed has no hand-made box"


def test_the_cache_is_bounded_and_drops_what_was_unused_longest(tmp_path: Path) -> None:
    images = [np.full((9, 9), level, np.uint8) for level in range(40)]
    cache = RegionCache(tmp_path, Fixed(TextRegion(x0=0, y0=0, x1=5, y1=5, text="x" * 100)))
    for image in images:
        cache.find(image)
    files = sorted(tmp_path.rglob("*.json"))
    size = files[0].stat().st_size
    for age, image in enumerate(images):
        path = cache._path(image)
        os.utime(path, (1_000_000 + age, 1_000_000 + age))
    assert cache.knows(images[0])
    cache.find(images[0])  # used just now, so no longer the oldest
    small = RegionCache(tmp_path, Fixed(), max_bytes=20 * size)
    left = [i for i, image in enumerate(images) if small.knows(image)]
    assert left == [0, *range(23, 40)]
    assert small.hits == small.misses == 0


def test_a_failing_engine_is_an_error_or_a_counted_skip(
    write_cohort: Callable[..., Path],
    write_bundle: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifest = write_cohort(4)
    records = load_cohort(manifest).records
    with pytest.raises(TextError, match=r"fixed failed on .*out of memory.*on-bad-image skip"):
        find_regions(records, RegionCache(None, Fixed(fails_on=5)), lambda: None)
    found = find_regions(records, RegionCache(None, Fixed(fails_on=5)), lambda: None, on_bad_image="skip")
    assert list(found.failures) == [records[5].id]
    assert set(found.regions) == {r.id for r in records} - {records[5].id}

    region = TextRegion(x0=4, y0=4, x1=18, y1=12)
    monkeypatch.setattr("audit.run.preparation.make_finder", lambda *_: Fixed(region, fails_on=5))
    settings = Settings(model=str(write_bundle()), data=str(manifest), runs=str(tmp_path / "runs"), suite="quick",
                        cache=str(tmp_path / "cache"), resamples=200, relevance_images=0, on_bad_image="skip",
                        judge_images=0)  # fmt: skip
    path, _ = run_audit(settings, judge_gates=False, command=[], on_stage=lambda *_: lambda: None)
    document = json.loads((path / "run.json").read_text())
    assert document["skipped"] == {"text finder failed": 1}
    clean = next(e for e in json.loads((path / "effects.json").read_text())["effects"] if e["condition"] == "clean")
    assert clean["n_images"] == 11
    monkeypatch.setattr("audit.run.preparation.make_finder", lambda *_: Fixed(region, fails_on=2))
    cache = settings.cache
    (path / "run.json").unlink()
    with pytest.raises(TextError, match="cannot be resumed"):
        run_audit(replace(settings, cache=cache + "2"), judge_gates=False, command=[], on_stage=lambda *_: lambda: None)
    monkeypatch.setattr("audit.run.preparation.make_finder", lambda *_: Failing())
    with pytest.raises(TextError, match="failed on every image"):
        run_audit(settings, judge_gates=False, command=[], on_stage=lambda *_: lambda: None)


class Failing(Fixed):
    """An engine that never works."""

    version = "2"

    looks_up = False

    def find(self, image: np.ndarray) -> Sequence[TextRegion]:
        raise RuntimeError("no")


def test_second_opinion_counts_what_is_covered(tmp_path: Path) -> None:
    records, regions = [], {}
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((60, 60), number, np.uint8)).save(path)
        records.append(Record(id=str(number), path=path, label="a", patient=str(number)))
        regions[str(number)] = (TextRegion(x0=0, y0=0, x1=20, y1=10),)
    judge = Fixed(
        TextRegion(x0=1, y0=1, x1=19, y1=9, text="in"),
        TextRegion(x0=12, y0=0, x1=32, y1=10, text="half"),
        TextRegion(x0=40, y0=40, x1=50, y1=50, text="out"),
    )
    steps: list[int] = []
    found = ask_second_opinion(
        records, regions, RegionCache(None, judge), policy=StringPolicy(shown=frozenset({"HALF"})),
        n_images=4, seed=0, on_image=lambda: steps.append(1)
    )  # fmt: skip
    assert (found.n_images, found.n_regions, found.n_covered, found.judge) == (4, 12, 4, "fixed")
    assert found.missed == ("half",) * 4, "what may not be shown is counted alone"
    assert len(steps) == 4


def test_find_prints_overlays_and_joined_boxes(audit: Audit, tmp_path: Path) -> None:
    image = write_dicom(tmp_path / "x.dcm", overlay=letters((80, 120)))
    code, out, _ = audit("text", "find", image, "--detector", "markers", "--json")
    assert code == 0
    regions = json.loads(out)[0]["regions"]
    assert {"x0": 30, "y0": 10, "x1": 37, "y1": 20}.items() <= next(
        r for r in regions if r["detector"] == "dicom-overlay"
    ).items()
    assert not (tmp_path / ".audit-cache").exists(), "looking at an image leaves nothing behind"
    code, _, _ = audit("text", "find", image, "--detector", "markers", "--cache", tmp_path / "kept")
    assert code == 0
    assert list((tmp_path / "kept").rglob("*.json"))
    code, _, err = audit("text", "find", tmp_path / "none.png")
    assert (code, "does not exist" in one_paragraph(err)) == (4, True)


def test_lung_masks_of_another_size_count_as_missing(write_cohort: Callable[..., Path]) -> None:
    manifest = write_cohort(2)
    folder = manifest.parent
    lines = manifest.read_text().splitlines()
    lines[0] += ",lung_mask"
    for i, (name, shape) in enumerate([("good.png", (96, 96)), ("small.png", (50, 50)), ("none.png", None)], start=1):
        if shape:
            mask = np.zeros(shape, np.uint8)
            mask[10:40, 10:40] = 1  # a mask of zeros and ones is a mask too
            Image.fromarray(mask).save(folder / name)
        lines[i] += f",{name}"
    lines[4:] = [line + "," for line in lines[4:]]
    manifest.write_text("\n".join(lines) + "\n")
    cohort = load_cohort(manifest)
    assert [r.lung_mask is not None for r in cohort.records] == [True] + [False] * 5
    note = next(n for n in cohort.notes if "lung masks" in n)
    assert "2 lung masks cannot be used" in note
    assert [r.name in note for r in cohort.records] == [False, True, True, False, False, False]
    from audit.data.images import read_mask

    assert cohort.records[0].lung_mask is not None
    assert read_mask(cohort.records[0].lung_mask, (96, 96)).sum() == 900
    assert cohort.masks_hash != load_cohort(write_cohort(2)).masks_hash
    assert read_gray(cohort.records[0].path).shape == (96, 96)


def test_a_finder_is_not_scored_with_the_answers(audit: Audit, tmp_path: Path) -> None:
    Image.fromarray(np.full((80, 90), 100, np.uint8)).save(tmp_path / "a.png")
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"images": {"a.png": [{"box": [5, 5, 30, 15], "text": "SEDUTO"}]}}))
    for detector, recall in (("markers", 0.0), ("annotated", 1.0)):
        code, out, _ = audit("text", "score", "--boxes", boxes, "--detector", detector, "--json")
        assert code == 0
        assert json.loads(out)["recalls"][0]["recall"] == recall, detector
