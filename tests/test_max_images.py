"""A sample of the images: what is drawn, from what, and that it is said."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import run_audit
from audit.data import manifests
from audit.data.records import Record
from audit.data.sampling import sample_records
from audit.models.bundle import load_bundle
from audit.reports.page.html import render_html
from audit.run.cohorts import audited_cohort
from audit.run.settings import Settings


def record(number: int, label: str, patient: str) -> Record:
    return Record(id=f"r{number}", path=Path(f"{number}.png"), label=label, patient=patient, source="a")


PEOPLE = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), min_size=1, max_size=60)


@given(people=PEOPLE, n=st.integers(1, 70), seed=st.integers(0, 9))
def test_a_sample_keeps_the_classes_in_proportion(people: list[tuple[str, int]], n: int, seed: int) -> None:
    records = [record(i, label, str(patient)) for i, (label, patient) in enumerate(people)]
    drawn = sample_records(records, n, seed)
    assert len(drawn) == min(n, len(records))
    sizes = Counter(r.label for r in records)
    found = Counter(r.label for r in records if r.id in drawn)
    least = int(n >= len(sizes))
    for label, size in sizes.items():
        assert found[label] >= least
        free = (min(n, len(records)) - least * len(sizes)) / max(1, len(records) - least * len(sizes))
        assert abs(found[label] - (least + (size - least) * free)) < 1 + 1e-9
    shuffled = random.Random(seed).sample(records, len(records))
    assert sample_records(shuffled, n, seed) == drawn, "the order of the rows decides nothing"


@given(n_each=st.lists(st.integers(1, 6), min_size=1, max_size=12), n=st.integers(1, 40), seed=st.integers(0, 9))
def test_no_patient_comes_twice_before_every_patient_came_once(n_each: list[int], n: int, seed: int) -> None:
    records = [record(i * 10 + j, "a", str(i)) for i, images in enumerate(n_each) for j in range(images)]
    drawn = sample_records(records, n, seed)
    times = Counter(r.patient for r in records if r.id in drawn)
    most = max(times.values())
    assert all(times[str(i)] >= min(images, most - 1) for i, images in enumerate(n_each))


def test_seeds_draw_other_samples() -> None:
    records = [record(i, "ab"[i % 2], str(i)) for i in range(40)]
    assert len({sample_records(records, 10, seed) for seed in range(5)}) == 5


def settings(manifest: Path, bundle: Path, **further: object) -> Settings:
    return Settings(model=str(bundle), data=str(manifest), **further)  # type: ignore[arg-type]


def test_only_the_sample_is_read(
    write_cohort: Callable[..., Path], known_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = manifests.check_images

    def counted(records: list[Record], *rest: object, **options: object) -> object:
        read.append(len(records))
        return real(records, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(manifests, "check_images", counted)
    manifest, bundle = write_cohort(6), load_bundle(known_bundle)
    cohort, _ = audited_cohort(bundle, settings(manifest, known_bundle, max_images=7))
    assert read == [7] and len(cohort.records) == 7 and cohort.sampled_from == 18
    assert sorted(Counter(r.label for r in cohort.records).values()) == [2, 2, 3]
    whole, _ = audited_cohort(bundle, settings(manifest, known_bundle, max_images=18))
    assert whole.sampled_from == 0 and len(whole.records) == 18
    assert whole.content_hash == audited_cohort(bundle, settings(manifest, known_bundle))[0].content_hash


def test_a_sample_is_drawn_from_the_split_that_is_audited(
    write_cohort: Callable[..., Path], known_bundle: Path
) -> None:
    manifest = write_cohort(6)
    rows = list(csv.DictReader(manifest.read_text().splitlines()))
    for i, row in enumerate(rows):
        row["split"] = "test" if i % 2 else "train"
        row["patient_id"] = str(i)
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    bundle = load_bundle(known_bundle)
    for split, n in (("auto", 9), ("train", 9), ("all", 18)):
        cohort, _ = audited_cohort(bundle, settings(manifest, known_bundle, max_images=5, split=split))
        assert len(cohort.records) == 5 and cohort.sampled_from == n
        if split != "all":
            assert {r.split for r in cohort.records} == {"test" if split == "auto" else split}


def test_a_sample_is_said_and_planned(write_cohort: Callable[..., Path], known_bundle: Path, tmp_path: Path) -> None:
    manifest = write_cohort(4)
    run = run_audit(
        model=known_bundle, data=manifest, detector="annotated", boxes=manifest.parent / "boxes.json", suite="quick",
        runs=tmp_path / "runs", cache=tmp_path / "cache", resamples=100, judge_images=0, relevance_images=0, gate=False,
        max_images=6,
    ).path  # fmt: skip
    data = json.loads((run / "plan.json").read_text())["data"]
    assert (data["n_images"], data["sampled_from"]) == (6, 12)
    page = " ".join(render_html(run).read_text().split())
    assert "Sample: 6 of 12 images" in page
    assert "Sample: 6 of 12 images" in (run / "summary.md").read_text()
