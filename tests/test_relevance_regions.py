"""Relevance inside text: shares by hand, fair nulls, their summary over patients, and agreement with what edits do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.data.records import Record, TextRegion
from audit.errors import StoreError
from audit.randomness import generator_for
from audit.relevance.agreement import measure_agreement
from audit.relevance.heatmaps import pack_heatmaps, read_heatmaps
from audit.relevance.regions import map_boxes, mass_inside, summarise_relevance
from audit.relevance.same_place import with_same_place
from audit.relevance.summary import mean_over_patients, summarise_groups
from audit.store.results import PredictionTable, RelevanceRow
from audit.suites.reader import load_suite


def test_mass_share_and_enrichment_by_hand() -> None:
    relevance = np.zeros((20, 20))
    relevance[2:4, 2:6] = 1.0  # 8 inside
    relevance[10, 10] = 2.0
    relevance[3, 3] = -4.0  # inside, negative
    found = summarise_relevance(relevance, [(2, 2, 6, 4)], generator_for(0), 50)
    assert found.mass_in_text == pytest.approx(7 / 9)
    assert found.signed == pytest.approx(3.0)
    assert found.box_masses == (pytest.approx(7 / 9),)
    assert found.box_areas == (pytest.approx(8 / 400),)
    # Nine pixels are positive: 7 of the 8 strongest lie inside, and the other is the one worth 2.
    assert found.rank_accuracy == pytest.approx(7 / 8)
    assert found.area_share == pytest.approx(8 / 400)
    assert found.enrichment == pytest.approx(7 / 9 / 0.02)
    assert found.placebo_high == 0.0
    assert found.relocation_p == pytest.approx(1 / 51)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 20), st.integers(0, 20), st.integers(1, 8), st.integers(1, 8))
def test_inside_plus_outside_is_everything(seed: int, x0: int, y0: int, w: int, h: int) -> None:
    relevance = np.random.default_rng(seed).normal(size=(28, 28))
    box = (x0, y0, x0 + w, y0 + h)
    inside = np.zeros(relevance.shape, bool)
    inside[box[1] : box[3], box[0] : box[2]] = True
    found = summarise_relevance(relevance, [box], generator_for(seed), 20)
    outside = np.clip(relevance[~inside], 0, None).sum() / np.clip(relevance, 0, None).sum()
    assert found.mass_in_text + outside == pytest.approx(1.0)
    again = summarise_relevance(relevance, [box], generator_for(seed), 20)
    assert found == again


def test_placebo_keeps_the_distance_from_the_border() -> None:
    """All relevance sits in a ring 3 px from the border: text and placebo must see it alike."""
    relevance = np.zeros((60, 60))
    relevance[3, 3:57] = relevance[56, 3:57] = relevance[3:57, 3] = relevance[3:57, 56] = 1.0
    found = summarise_relevance(relevance, [(20, 3, 30, 4)], generator_for(1), 200)
    assert found.placebo_low == pytest.approx(found.mass_in_text, rel=0.95)
    assert found.relocation_p > 0.2


def test_null_is_not_significant_too_often() -> None:
    hits = 0
    for seed in range(200):
        relevance = np.random.default_rng(seed).exponential(size=(40, 40))
        hits += (summarise_relevance(relevance, [(3, 2, 12, 6)], generator_for(seed), 99).relocation_p or 1.0) <= 0.05
    assert hits <= 20


def test_edge_cases() -> None:
    relevance = np.ones((10, 10))
    bare = summarise_relevance(relevance, [], generator_for(0))
    assert (bare.mass_in_text, bare.enrichment, bare.relocation_p, bare.area_share) == (None, None, None, 0.0)
    whole = summarise_relevance(relevance, [(0, 0, 10, 10)], generator_for(0))
    assert (whole.mass_in_text, whole.enrichment, whole.relocation_p) == (1.0, 1.0, None)
    negative = summarise_relevance(-relevance, [(0, 0, 2, 2)], generator_for(0))
    assert negative.mass_in_text is None


def test_boxes_are_carried_to_the_map_and_rounded_outwards() -> None:
    regions = [TextRegion(x0=0, y0=10, x1=33, y1=21), TextRegion(x0=639, y0=479, x1=640, y1=480)]
    assert map_boxes(regions, (480, 640), (128, 128)) == ((0, 2, 7, 6), (127, 127, 128, 128))


# --- heatmaps on disk, and the same place in other images


def test_heatmaps_come_back_as_they_were_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    maps, bare = rng.normal(size=(2, 3, 8, 9)).astype(np.float32), rng.normal(size=(2, 8, 9)).astype(np.float32)
    maps[0, 1] = 0.0
    signs = np.array([[1, 0, 0], [0, 1, -1]], dtype=np.float32)
    (tmp_path / "a").write_bytes(pack_heatmaps(maps * 1e-7, signs, bare * 1e7))
    first, second = read_heatmaps([tmp_path / "a"])
    assert np.allclose(first.outputs, maps[0] * 1e-7, atol=1e-3 * np.abs(maps).max() * 1e-7)
    assert np.allclose(second.chosen, (maps[1, 1] - maps[1, 2]) * 1e-7, atol=2e-3 * np.abs(maps).max() * 1e-7)
    assert np.allclose(second.bare, bare[1] * 1e7, atol=1e-3 * np.abs(bare).max() * 1e7)
    (tmp_path / "a").write_bytes(b"no shard")
    with pytest.raises(StoreError, match="Delete the file and run the audit again"):
        list(read_heatmaps([tmp_path / "a"]))


def row(number: int, **fields: object) -> RelevanceRow:
    plain: dict[str, object] = {
        "record_id": f"r{number}", "target_class": "a", "preset": "p", "start": 2.0, "mass_in_text": 0.5, "signed_share": 0.4,
        "area_share": 0.1, "enrichment": 5.0, "rank_accuracy": 0.6, "placebo_low": 0.0, "placebo_median": 0.1,
        "placebo_high": 0.2, "placebo_mean": 0.1, "relocation_p": 0.01, "same_place_p": None, "placebo_p": 0.01,
        "mass_gone": 0.1, "fall_when_gone": 1.0, "map_boxes": ((0, 0, 2, 2),), "region_masses": (0.5,), "region_areas": (0.1,),
        "at_pixels": 0.9, "kept_bias": 0.1, "kept_shift": 0.0, "kept_stabiliser": 0.0, "class_cosine": 0.9,
        "conservation_gap": 1e-8,
    }  # fmt: skip
    return RelevanceRow(**(plain | fields))  # type: ignore[arg-type]


def test_a_place_that_is_always_looked_at_is_not_taken_for_text(tmp_path: Path) -> None:
    """Relocation says .01 in both cases; only where other images have nothing at that place does it stand."""
    rng = np.random.default_rng(1)
    watched = rng.exponential(size=(40, 1, 20, 20)).astype(np.float32)
    watched[:, :, :2, :2] += 20.0
    plain = rng.exponential(size=(40, 1, 20, 20)).astype(np.float32)
    for maps, fair in ((watched, False), (plain, True)):
        (tmp_path / "a").write_bytes(pack_heatmaps(maps, np.ones((40, 1), np.float32), maps[:, 0]))
        mass = float(watched[0, 0, :2, :2].sum() / watched[0].sum())
        found = list(with_same_place((row(i, mass_in_text=mass) for i in range(40)), [tmp_path / "a"], 40))
        assert (found[0].placebo_p <= 0.05) == fair
        null = sorted((mass_inside(m[0], [(0, 0, 2, 2)]) for m in maps[1:]), reverse=True)
        assert found[0].same_place_p == pytest.approx((1 + sum(m >= mass * (1 - 1e-6) for m in null)) / 40, abs=0.03)
        assert found[0].placebo_p == max(found[0].same_place_p, 0.01)


def test_same_place_holds_its_level_under_the_null(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    maps = rng.exponential(size=(200, 1, 16, 16)).astype(np.float32)
    (tmp_path / "a").write_bytes(pack_heatmaps(maps, np.ones((200, 1), np.float32), maps[:, 0]))
    rows = (row(i, mass_in_text=mass_inside(m[0], [(0, 0, 2, 2)])) for i, m in enumerate(maps))
    found = [r.same_place_p for r in with_same_place(rows, [tmp_path / "a"], 200)]
    assert 0.01 <= np.mean(np.array(found) <= 0.05) <= 0.1


def test_without_text_a_row_passes_unchanged(tmp_path: Path) -> None:
    maps = np.ones((2, 1, 4, 4), np.float32)
    (tmp_path / "a").write_bytes(pack_heatmaps(maps, np.ones((2, 1), np.float32), maps[:, 0]))
    bare = row(0, mass_in_text=None, relocation_p=None, placebo_p=None, map_boxes=())
    assert next(iter(with_same_place([bare, row(1)], [tmp_path / "a"], 2))) == bare


# --- estimates over patients


def record(number: int, label: str, source: str, patient: str) -> Record:
    return Record(id=f"r{number}", path=Path("x.png"), label=label, source=source, patient=patient)


def region(text: str) -> TextRegion:
    return TextRegion(x0=0, y0=0, x1=1, y1=1, text=text)


def test_groups_by_hand() -> None:
    records = {f"r{i}": record(i, "ab"[i % 2], "s", f"p{i // 2}") for i in range(6)}
    rows = [
        row(i, mass_in_text=0.1 * (i + 1), area_share=0.05, placebo_mean=0.02, region_masses=(0.1 * (i + 1), 0.0),
            region_areas=(0.04, 0.01), placebo_p=0.01 if i < 3 else 0.5, start=1.0 + i, signed_share=0.5)
        for i in range(6)
    ]  # fmt: skip
    rows.append(row(9, mass_in_text=None))
    records["r9"] = record(9, "a", "s", "p9")
    regions = {f"r{i}": (region("dx "), region("R" if i else "")) for i in range(6)} | {"r9": ()}
    groups = {str(g.group): g for g in summarise_groups(rows, records, regions, 0.95)}
    assert list(groups) == ["all", "class=a", "class=b", "source=s", "word=DX", "word=R"]
    whole = groups["all"]
    assert (whole.n_images, whole.n_patients) == (6, 3)
    assert whole.mass.value == pytest.approx(0.35)
    assert whole.enrichment.value == pytest.approx(0.35 / 0.05)
    assert whole.beyond_placebo.value == pytest.approx(0.33)
    assert whole.significant == 0.5
    assert whole.signed_share.value == pytest.approx(0.5)
    assert whole.signed_share.low == pytest.approx(0.5)
    assert groups["class=b"].mass.value == pytest.approx(0.4)
    assert groups["word=DX"].enrichment.value == pytest.approx(0.35 / 0.04)
    assert (groups["word=R"].n_images, groups["word=R"].mass.value) == (5, 0.0)
    assert groups["word=R"].enrichment.low is None
    # Three patients' sums about the mean of 0.35, by hand: Student's t with two degrees of freedom.
    sums = np.array([0.1 + 0.2, 0.3 + 0.4, 0.5 + 0.6]) - 0.7
    half = 4.30265 * np.sqrt(3 / 2 * np.square(sums / 6).sum())
    assert whole.mass.low == pytest.approx(max(0, 0.35 - half), abs=1e-4)
    assert whole.mass.high == pytest.approx(min(1, 0.35 + half), abs=1e-4)


def test_intervals_of_means_cover_when_patients_are_the_units() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(400):
        patients = np.repeat(np.arange(30), 3)
        values = np.clip(0.3 + 0.1 * rng.normal(size=30)[patients] + 0.02 * rng.normal(size=90), 0, 1)
        found = mean_over_patients(values, patients, 0.95)
        hits += found.low <= 0.3 <= found.high
    assert 0.92 <= hits / 400 <= 0.98
    assert mean_over_patients(np.array([0.2, 0.4]), np.array([0, 0]), 0.95).low is None


# --- agreement with what edits do


def table(fall: np.ndarray) -> PredictionTable:
    n = len(fall)
    clean = np.tile(np.array([2.0, 0.0], np.float32), (1, n, 1))
    edited = clean.copy()
    edited[0, :, 0] -= fall
    suite = load_suite("quick")
    logits = {c.name: clean if c.name == "clean" else edited for c in suite.conditions}
    return PredictionTable(
        record_ids=np.array([f"r{i}" for i in range(n)]), labels=np.zeros(n, np.int64),
        patients=np.array([f"p{i}" for i in range(n)]), groups={}, classes=("a", "b"), logits=logits,
        applied={c.name: np.ones((1, n), bool) for c in suite.conditions},
    )  # fmt: skip


def test_agreement_is_the_correlation_with_the_real_fall() -> None:
    rng = np.random.default_rng(4)
    fall = rng.normal(size=60)
    credited = fall + 0.5 * rng.normal(size=60)
    rows = [
        row(i, signed_share=credited[i] / 2.0, enrichment=abs(fall[i]) * 3, fall_when_gone=float(fall[i]))
        for i in range(60)
    ]
    found = {
        a.condition: a
        for a in measure_agreement(rows, table(fall), load_suite("quick"), start="winner", level=0.95,
                                   rng=generator_for(0))
    }  # fmt: skip
    assert list(found) == ["text inpainted", "text-mask-inpaint", "text-mask-median", "letters-other-class"]
    expected = np.corrcoef(credited, fall)[0, 1]
    for name in ("text inpainted", "text-mask-inpaint", "text-mask-median"):
        assert found[name].signed.value == pytest.approx(expected, abs=1e-6)
        assert found[name].signed.low < expected < found[name].signed.high
        assert found[name].enrichment.value == pytest.approx(1.0)
    assert found["letters-other-class"].signed is None


def test_agreement_says_nothing_where_nothing_varies_or_little_is_known() -> None:
    rows = [row(i, fall_when_gone=0.0) for i in range(12)]
    suite = load_suite("quick")
    for a in measure_agreement(rows, table(np.zeros(12)), suite, start="a", level=0.95, rng=generator_for(0)):
        assert a.enrichment is None
        assert a.signed is None
    few = [replace(r, fall_when_gone=float(i)) for i, r in enumerate(rows[:5])]
    assert measure_agreement(few, table(np.zeros(5)), suite, start="a", level=0.95, rng=generator_for(0)) == ()
