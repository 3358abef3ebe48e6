"""Groups of heatmaps: a planted place is found, described by hand-computed shares, and drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.data.records import Record, TextRegion
from audit.relevance.discovery import discover_groups
from audit.relevance.heatmaps import pack_heatmaps
from audit.relevance.spectral_analysis import GRID, MIN_IMAGES, find_clusters, grid_maps
from audit.store.folder import RunFolder

from .test_relevance_regions import row

SIDE = 64


def maps_with_a_clip(n: int, n_with: int, seed: int = 0) -> np.ndarray:
    """Return noise maps (n, SIDE, SIDE) with a broad middle; the first `n_with` have a spot at the lower left."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:SIDE, 0:SIDE]
    middle = np.exp(-((xx - 32) ** 2 + (yy - 32) ** 2) / 300)
    maps = middle + 0.3 * rng.random((n, SIDE, SIDE))
    maps[:n_with, 48:54, 6:12] += 20.0
    return maps.astype(np.float32)


def test_cells_hold_all_relevance_and_the_part_in_text() -> None:
    relevance = np.zeros((SIDE, SIDE))
    relevance[0:4, 0:4] = 1.0
    relevance[8:12, 8:12] = -3.0
    grids = grid_maps([(relevance, [(8, 8, 10, 12)]), (np.zeros((SIDE, SIDE)), [])])
    assert grids.mass[0].sum() == pytest.approx(1.0)
    assert grids.mass[0, 0, 0] == pytest.approx(0.25)
    assert grids.mass[0, 2, 2] == pytest.approx(0.75)
    assert grids.in_text[0].sum() == pytest.approx(0.375)
    assert not grids.mass[1].any()


@pytest.mark.parametrize("side", [40, 64, 224])
def test_cells_of_any_size_add_up(side: int) -> None:
    relevance = np.random.default_rng(0).normal(size=(side, side + 3))
    grids = grid_maps([(relevance, [(0, 0, side, side)])])
    assert grids.mass[0].sum() == pytest.approx(1.0)
    inside = np.abs(relevance[:, :side]).sum() / np.abs(relevance).sum()
    assert grids.in_text[0].sum() == pytest.approx(inside)


def test_a_planted_spot_is_a_group_of_its_own_and_comes_first() -> None:
    maps = maps_with_a_clip(60, 15)
    grids = grid_maps((m, [(0, 0, 4, 4)]) for m in maps)
    outputs = ["covid"] * 40 + ["normal"] * 20
    found = find_clusters(grids, outputs, seed=0)
    first = found["covid"][0]
    assert sorted(first.members) == list(range(15))
    x0, y0, x1, y1 = first.spot
    assert x0 <= 6 / SIDE
    assert x1 >= 12 / SIDE
    assert y0 <= 48 / SIDE
    assert y1 >= 54 / SIDE
    cells = grids.mass[:, round(y0 * GRID) : round(y1 * GRID), round(x0 * GRID) : round(x1 * GRID)].sum(axis=(1, 2))
    assert first.spot_mass == pytest.approx(cells[:15].mean())
    assert first.spot_mass_elsewhere == pytest.approx(cells[15:].mean())
    assert first.spot_mass > 5 * first.spot_mass_elsewhere
    assert first.spot_text == 0.0
    assert first.text_mass == pytest.approx(grids.in_text[:15].sum(axis=(1, 2)).mean())
    assert find_clusters(grids, outputs, seed=0) == found


def test_few_images_form_no_groups() -> None:
    grids = grid_maps((m, []) for m in maps_with_a_clip(MIN_IMAGES - 1, 3))
    assert find_clusters(grids, ["a"] * (MIN_IMAGES - 1), seed=0) == {}


def test_dead_maps_belong_to_no_group() -> None:
    maps = maps_with_a_clip(30, 10)
    maps[20:] = 0.0
    found = find_clusters(grid_maps((m, []) for m in maps), ["a"] * 30, seed=0)
    assert max(i for c in found["a"] for i in c.members) < 20


def test_groups_are_drawn_without_names(tmp_path: Path) -> None:
    maps = maps_with_a_clip(24, 10)
    records, rows = [], []
    for i in range(24):
        path = tmp_path / f"patient-{i}.png"
        Image.fromarray(np.full((80, 70), i, np.uint8)).save(path)
        label = "covid" if i < 10 else "normal"
        records.append(Record(id=f"patient-{i}", path=path, label=label, source="s", patient=f"p{i}", name=f"name{i}"))
        rows.append(row(i, target_class="covid", map_boxes=()))
    (tmp_path / "shard").write_bytes(pack_heatmaps(maps[:, None], np.ones((24, 1), np.float32), maps))
    run = RunFolder(tmp_path / "run")
    covered = {r.id: (TextRegion(x0=0, y0=0, x1=9, y1=9),) for r in records}
    discover_groups(run, records, rows, [tmp_path / "shard"], covered, seed=0)
    text = (run.path / "clusters/clusters.json").read_text()
    assert "patient" not in text
    first = run.read_json("clusters/clusters.json")["clusters"][0]
    assert first["labels"] == {"covid": 10}
    assert (first["n_images"], first["n_of_output"], len(first["exemplars"])) == (10, 24, 3)
    assert {(e["record"][:4], e["n_covered"]) for e in first["exemplars"]} == {("name", 1)}
    for name in (first["mean"]["file"], *(e[k]["file"] for e in first["exemplars"] for k in ("image", "overlay"))):
        with Image.open(run.path / "clusters" / name) as picture:
            assert picture.size[0] > 0
    before = {p: p.read_bytes() for p in (run.path / "clusters").iterdir()}
    discover_groups(run, records, rows, [tmp_path / "shard"], covered, seed=0)
    assert {p: p.read_bytes() for p in (run.path / "clusters").iterdir()} == before
