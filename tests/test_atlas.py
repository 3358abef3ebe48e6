"""The marker atlas: counts by hand, information against scikit-learn, permutations that are honest."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import mutual_info_score

from audit.data.records import Record, TextRegion
from audit.errors import CohortError
from audit.text.atlas import draw_atlas, explained_share
from audit.text.glyphs import tokens_of
from audit.training.phantom.cohort import make_phantoms

from .conftest import Audit


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=2, max_size=40))
def test_explained_share_is_theils(rows: list[tuple[bool, int]]) -> None:
    present = np.array([[r[0] for r in rows]])
    codes = np.array([r[1] for r in rows])
    counts = np.bincount(codes) / len(codes)
    entropy = -sum(p * np.log(p) for p in counts if p > 0)
    if entropy == 0:
        return
    expected = mutual_info_score(codes, present[0]) / entropy
    assert explained_share(present, codes, 3)[0] == pytest.approx(expected, abs=1e-9)


def test_a_feature_that_is_the_class_explains_everything() -> None:
    codes = np.array([0, 0, 1, 1])
    present = np.array([[True, True, False, False], [True, False, True, False]])
    assert explained_share(present, codes, 2) == pytest.approx([1.0, 0.0])


def write(
    folder: Path, marks: dict[str, str], *, patients: int | None = None
) -> tuple[list[Record], dict[str, tuple[TextRegion, ...]]]:
    """Write one image for each entry (id -> word, perhaps none); the class is the id's first part."""
    records, regions = [], {}
    for i, (name, word) in enumerate(marks.items()):
        image = np.full((90, 120), 60, np.uint8)
        cv2.putText(image, word, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 240, 2)
        Image.fromarray(image).save(folder / f"{name}.png")
        patient = f"p{i if patients is None else i % patients}"
        records.append(
            Record(id=name, path=folder / f"{name}.png", label=name.split("-")[0], patient=patient, source="s")
        )
        box = TextRegion(x0=4, y0=4, x1=8 + 12 * max(1, len(word)), y1=28, text=word)
        regions[name] = (box,) if word else ()
    return records, regions


def test_counts_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.data.strings.MIN_PATIENTS", 3)
    marks = {f"a-{i}": "left l" for i in range(6)} | {f"b-{i}": "R" if i < 3 else "" for i in range(6)}
    records, regions = write(tmp_path, marks)
    atlas = draw_atlas(records, regions, seed=0, n_permutations=500)
    a, b = atlas.presence
    assert (a.label, a.n_images, a.n_with_text, a.regions_per_image) == ("a", 6, 6, 1.0)
    assert (b.n_with_text, b.regions_per_image) == (3, 0.5)
    assert a.area_share == pytest.approx((4 + 12 * 6) * 24 / (90 * 120))
    assert a.tokens == {"L": 6, "LEFT": 6}
    assert a.places == {"top-centre": 6}, "the box ends at 80 of 120"
    assert b.places == {"top-left": 3}
    tells = {t.feature: t for t in atlas.tells}
    assert tells["token:LEFT"].explained_share == pytest.approx(1.0)
    assert tells["token:LEFT"].by_class == {"a": 6, "b": 0}
    # Of 924 ways to pick six of twelve, two are as telling.
    assert tells["token:LEFT"].p == pytest.approx(2 / 924, abs=0.012)
    assert tells["token:LEFT"].p_adjusted >= tells["token:LEFT"].p
    assert tells["any text"].by_class == {"a": 6, "b": 3}
    assert sum(g.n_regions for g in atlas.glyphs) == 9
    assert {next(iter(g.strings)) for g in atlas.glyphs} == {"LEFT L", "R"}
    assert draw_atlas(records, regions, seed=0, n_permutations=500).tells == atlas.tells


def test_strings_of_few_patients_are_counted_and_withheld(tmp_path: Path) -> None:
    marks = {f"a-{i}": "L" if i < 12 else "" for i in range(14)} | {
        f"b-{i}": "SMITH" if i < 9 else "" for i in range(14)
    }
    records, regions = write(tmp_path, marks)
    regions["b-0"] = (replace(regions["b-0"][0], text="SMITH 1970-01-07"),)
    atlas = draw_atlas(records, regions, seed=0, n_permutations=200)
    tells = {t.feature: t for t in atlas.tells}
    assert tells["token:L"].by_class == {"a": 12, "b": 0}
    assert tells["withheld:1"].by_class == {"a": 0, "b": 9}, "that it tells the class is said, what it is is not"
    assert "SMITH" not in repr((atlas.presence, atlas.tells, [g.strings for g in atlas.glyphs]))
    assert atlas.presence[0].tokens == {"L": 12}
    flat = [g.picture.min() == g.picture.max() for g in atlas.glyphs]
    assert flat == [g.n_regions < 10 for g in atlas.glyphs]
    assert any(flat)
    assert not all(flat)
    nobody = [replace(r, patient_known=False) for r in records]
    assert not any(t.feature.startswith("token:") for t in draw_atlas(nobody, regions, seed=0, n_permutations=5).tells)


def test_permutations_keep_patients_together(tmp_path: Path) -> None:
    marks = {f"{'a' if i % 2 else 'b'}-{i}": "L" if i % 2 else "" for i in range(24)}
    records, regions = write(tmp_path, marks)
    many = draw_atlas(records, regions, seed=0, n_permutations=300).tells[0]
    two_patients = [Record(id=r.id, path=r.path, label=r.label, patient=str(r.label), source="s") for r in records]
    few = draw_atlas(two_patients, regions, seed=0, n_permutations=300).tells[0]
    assert many.p < 0.01
    assert few.p > 0.9, "two patients prove nothing"


def test_a_cohort_without_text_or_with_one_class(tmp_path: Path) -> None:
    records, regions = write(tmp_path, {f"{'a' if i % 2 else 'b'}-{i}": "" for i in range(6)})
    atlas = draw_atlas(records, regions, seed=0, n_permutations=10)
    assert (atlas.tells, atlas.glyphs) == ((), ())
    with pytest.raises(CohortError, match="compares classes"):
        draw_atlas([r for r in records if r.label == "a"], regions, seed=0)


def test_glyphs_are_sampled_evenly_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.text.atlas.MAX_GLYPHS", 8)
    records, regions = write(tmp_path, {f"{'a' if i % 2 else 'b'}-{i}": "L" for i in range(40)})
    drawn = [draw_atlas(records, regions, seed=seed, n_permutations=5) for seed in range(2)]
    assert [sum(g.n_regions for g in atlas.glyphs) for atlas in drawn] == [8, 8]
    counts = [next(t.by_class for t in atlas.tells if t.feature == "glyph:1") for atlas in drawn]
    assert all(sum(c.values()) == 8 for c in counts)


def test_tokens() -> None:
    assert tokens_of("Semi-sentado  ap. #12") == ["SEMI-SENTADO", "AP", "12"]
    assert tokens_of("''") == []


@pytest.mark.parametrize(("association", "told"), [(1.0, True), (0.0, False)])
def test_planted_words_are_told_and_others_not(audit: Audit, tmp_path: Path, association: float, told: bool) -> None:
    manifest = make_phantoms(
        tmp_path / "images", task="classes", n_images=60, size_px=128, seed=2, word_association=association
    )
    code, out, err = audit("text", "atlas", "--data", manifest, "--detector", "annotated", "--boxes",
                           manifest.parent / "boxes.json", "--json", "--sheet", "glyphs.png")  # fmt: skip
    assert (code, err) == (0, "")
    words = {t["feature"]: t for t in json.loads(out)["tells"] if t["feature"] in ("token:SEDUTO", "token:PORTABLE")}
    assert all((t["p_adjusted"] < 0.01) is told for t in words.values())
    with Image.open("glyphs.png") as sheet:
        assert sheet.size[0] == 768
    code, out, _ = audit("text", "atlas", "--data", manifest, "--detector", "annotated", "--boxes",
                         manifest.parent / "boxes.json")  # fmt: skip
    assert code == 0
    assert "What predicts the class" in out


def test_atlas_mistakes(audit: Audit, write_cohort: Callable[..., Path]) -> None:
    manifest = write_cohort(2)
    assert audit("text", "atlas", "--data", "none.csv")[0] == 2
    assert audit("text", "atlas", "--data", manifest, "--on-bad-image", "ignore")[0] == 2
    assert audit("text", "atlas", "--data", manifest, "--detector", "annotated")[0] == 2
