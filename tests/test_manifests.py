from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from audit.data.manifests import load_cohort
from audit.errors import CohortError, ImageError, UnknownNameError

CLASSES = ("normal", "pneumonia", "covid")


def edit(manifest: Path, change: Callable[[list[dict[str, str]]], None]) -> Path:
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows)
    fields = list(dict.fromkeys(key for row in rows for key in row))
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=fields)
        writer.writeheader()
        writer.writerows(rows)
    return manifest


def test_csv_becomes_a_cohort(write_cohort: Callable[..., Path]) -> None:
    cohort = load_cohort(write_cohort(4), classes=CLASSES)
    assert cohort.class_counts() == {"normal": 4, "pneumonia": 4, "covid": 4}
    assert cohort.records[0].id == "images/normal-0.png"
    assert cohort.records[0].patient == "normal-0"
    assert cohort.records[0].findings == ("No Finding",)
    assert cohort.left_out == {}


def test_parquet_is_the_same_cohort(write_cohort: Callable[..., Path]) -> None:
    manifest = write_cohort(3)
    pd.read_csv(manifest).to_parquet(manifest.with_suffix(".parquet"))
    one, two = load_cohort(manifest), load_cohort(manifest.with_suffix(".parquet"))
    assert one.content_hash == two.content_hash
    assert one.records == two.records


def test_hash_knows_labels_and_pixels_but_not_order(write_cohort: Callable[..., Path]) -> None:
    manifest = write_cohort(3)
    before = load_cohort(manifest).content_hash
    edit(manifest, lambda rows: rows.reverse())
    assert load_cohort(manifest).content_hash == before
    edit(manifest, lambda rows: rows[0].update(source="elsewhere"))
    assert load_cohort(manifest).content_hash != before


def test_empty_label_is_unlabelled_and_ignored_label_too(write_cohort: Callable[..., Path]) -> None:
    manifest = edit(write_cohort(3), lambda rows: (rows[0].update(label=""), rows[1].update(label="other")))
    with pytest.raises(CohortError, match=r"outside the classes.*'other'.*--ignore-label other"):
        load_cohort(manifest, classes=CLASSES)
    cohort = load_cohort(manifest, classes=CLASSES, ignore_labels=["other"])
    assert cohort.left_out == {"unlabelled": 1, "label other ignored": 1}
    assert len(cohort.records) == 9
    assert len(cohort.labelled()) == 7


def test_misspelt_ignored_label_suggests(write_cohort: Callable[..., Path]) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'pneumonia'"):
        load_cohort(write_cohort(2), ignore_labels=["pneumona"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows[1].update(path=rows[0]["path"]), "duplicate id"),
        (lambda rows: rows[0].update(path=""), "Row 2 .* empty path"),
        (lambda rows: rows[0].update(path="a\0.png"), "Row 2 .* zero byte in column .path."),
        (lambda rows: [r.pop("label") for r in rows], "no column label"),
        (lambda rows: rows[0].update(split="holdout"), "holdout"),
        (lambda rows: [r.update(split="train" if i else "test") for i, r in enumerate(rows)], "more than one split"),
    ],
)
def test_table_faults(write_cohort: Callable[..., Path], change: Callable[..., None], says: str) -> None:
    with pytest.raises(CohortError, match=says):
        load_cohort(edit(write_cohort(3), change))


def test_missing_image_fails_or_is_counted(write_cohort: Callable[..., Path]) -> None:
    manifest = write_cohort(3)
    (manifest.parent / "images/normal-1.png").unlink()
    (manifest.parent / "images/covid-1.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"normal-1.png does not exist.*--on-bad-image skip"):
        load_cohort(manifest)
    cohort = load_cohort(manifest, on_bad_image="skip")
    assert cohort.left_out == {"unreadable image": 2}
    assert len(cohort.records) == 7
    assert any("normal-1.png" in note for note in cohort.notes)


def test_duplicate_pixels(write_cohort: Callable[..., Path]) -> None:
    manifest = write_cohort(3)
    pixels = np.asarray(Image.open(manifest.parent / "images/normal-0.png"))
    Image.fromarray(pixels).save(manifest.parent / "images/normal-1.png", compress_level=0)
    assert any("pixel-identical" in note for note in load_cohort(manifest).notes)
    Image.fromarray(pixels).save(manifest.parent / "images/covid-0.png")
    with pytest.raises(CohortError, match="same pixels with different labels"):
        load_cohort(manifest)


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="does not exist"):
        load_cohort(tmp_path / "none.csv")
    with pytest.raises(CohortError, match="does not look like any known data set"):
        load_cohort(tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(CohortError, match="cannot be read as a table"):
        load_cohort(tmp_path / "x.parquet")
    (tmp_path / "e.csv").write_text("path,label\n")
    with pytest.raises(CohortError, match="no rows"):
        load_cohort(tmp_path / "e.csv")


def test_real_manifest_needs_no_special_code(cxr_folder: Path) -> None:
    cohort = load_cohort(cxr_folder / "manifest.csv", classes=CLASSES, ignore_labels=["other"])
    assert len(cohort.records) == 2006
    assert cohort.left_out["unlabelled"] == 28
    assert cohort.class_counts()["covid"] == 377


def test_sources_of_few_patients_have_neutral_names(write_cohort: Callable[..., Path]) -> None:
    """They stay apart, and the hash is over what the table says."""

    def name_sources(rows: list[dict[str, str]]) -> None:
        for i, row in enumerate(rows):
            row.update(patient_id=f"p{i}", source="SMITH" if i == 3 else "JONES" if i < 9 else "many" if i < 20 else "")

    manifest = edit(write_cohort(10), name_sources)
    shown, withheld = load_cohort(manifest), load_cohort(manifest, withhold=True)
    assert shown.content_hash == withheld.content_hash
    neutral = dict(zip((r.source for r in shown.records), (r.source for r in withheld.records), strict=True))
    assert neutral == {
        "SMITH": "source 2 (withheld)", "JONES": "source 1 (withheld)", "many": "many", "unknown": "unknown",
    }  # fmt: skip


def test_a_label_to_ignore_that_no_row_has_is_stated(write_cohort: Callable[..., Path]) -> None:
    cohort = load_cohort(write_cohort(2), ignore_labels=["tuberculosis"])
    assert (
        "The label to ignore 'tuberculosis' occurs in no row; the labels are covid, normal, pneumonia." in cohort.notes
    )
