from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import chi2_contingency

from audit.data.manifests import load_cohort
from audit.errors import UsageError
from audit.randomness import generator_for
from audit.training.phantom.cohort import CLASSES, image_specs, make_phantoms
from audit.training.phantom.image import ImageSpec, render
from audit.training.phantom.lettering import CLASS_WORDS
from audit.training.phantom.pathology import FIFTEEN, FINDINGS
from audit.training.phantom.projection import Ellipsoid, add_shadow, axis, project
from audit.training.phantom.scanners import SOURCES


@settings(max_examples=25, deadline=None)
@given(
    x=st.floats(-0.5, 0.5),
    y=st.floats(-0.5, 0.5),
    a=st.floats(0.1, 0.6),
    b=st.floats(0.1, 0.6),
    c=st.floats(0.1, 0.6),
    turn=st.floats(-3, 3),
)
def test_path_length_is_what_counting_along_the_ray_gives(
    x: float, y: float, a: float, b: float, c: float, turn: float
) -> None:
    side, steps = 32, 4001
    found = project([Ellipsoid(x=x, y=y, a=a, b=b, c=c, turn=turn)], side, union=False)
    z = np.linspace(-c, c, steps)
    for row, column in [(16, 16), (8, 20), (25, 11), (16, 4)]:
        dx, dy = axis(side)[column] - x, axis(side)[row] - y
        u, v = np.cos(turn) * dx + np.sin(turn) * dy, -np.sin(turn) * dx + np.cos(turn) * dy
        inside = (u / a) ** 2 + (v / b) ** 2 + (z / c) ** 2 <= 1
        assert found[row, column] == pytest.approx(inside.mean() * 2 * c, abs=4 * c / steps + 0.02 * c)


def test_union_takes_the_longer_path_and_sum_adds() -> None:
    one = Ellipsoid(x=0, y=0, a=0.5, b=0.5, c=0.5)
    two = Ellipsoid(x=0.1, y=0, a=0.4, b=0.4, c=0.8)
    first, second = (project([s], 40, union=False) for s in (one, two))
    assert np.array_equal(project([one, two], 40, union=True), np.maximum(first, second))
    assert np.allclose(project([one, two], 40, union=False), first + second)


def test_shell_is_solid_minus_half_its_core() -> None:
    solid = Ellipsoid(x=0.05, y=-0.1, a=0.5, b=0.3, c=0.4, turn=0.5)
    wall = 0.7
    shell = np.zeros((64, 64), np.float32)
    add_shadow(shell, solid, union=False, wall=wall)
    core = replace(solid, a=solid.a * wall, b=solid.b * wall, c=solid.c * wall)
    assert np.allclose(shell, project([solid], 64, union=False) - 0.5 * project([core], 64, union=False), atol=1e-5)


def digest(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.*")}


def test_same_seed_same_bytes_and_an_image_knows_no_neighbours(tmp_path: Path) -> None:
    for name, n in (("a", 6), ("b", 6), ("c", 3)):
        make_phantoms(tmp_path / name, task="classes", n_images=n, size_px=96, seed=4, word_association=0.5)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    small, large = digest(tmp_path / "c"), digest(tmp_path / "a")
    assert all(large[name] == value for name, value in small.items() if name.endswith(".png"))
    make_phantoms(tmp_path / "d", task="classes", n_images=3, size_px=96, seed=5)
    assert digest(tmp_path / "d")["images/00000.png"] != small["images/00000.png"]


@pytest.mark.parametrize("what", ["word", "source"])
def test_association_goes_from_none_to_certain(what: str) -> None:
    def table(association: float) -> np.ndarray:
        arguments = {f"{what}_association": association}
        counts: dict[tuple[str, str], int] = {}
        for spec in image_specs(task="classes", n_images=600, seed=2, **arguments):
            value = spec.source if what == "source" else spec.letterings[0].text
            counts[spec.label, value] = counts.get((spec.label, value), 0) + 1
        values = list(SOURCES) if what == "source" else list(CLASS_WORDS.values())
        return np.array([[counts.get((label, value), 0) for value in values] for label in CLASSES])

    assert np.array_equal(table(1.0), np.diag([200, 200, 200]))
    assert chi2_contingency(table(0.0)).pvalue > 0.001
    half = np.diag(table(0.5)) / 200
    assert (np.abs(half - (0.5 + 0.5 / 3)) < 0.11).all()


SPECS = list(image_specs(task="classes", n_images=24, seed=9))


@pytest.mark.parametrize("spec", SPECS[::2], ids=lambda s: f"{s.label}-{s.source}")
def test_text_changes_only_its_boxes_and_not_the_lungs(spec: ImageSpec) -> None:
    image, bare = render(spec, 192), render(spec, 192, with_text=False)
    changed = image.image != bare.image
    assert changed.any()
    boxed = np.zeros(changed.shape, bool)
    for box in image.boxes:
        boxed[box.y0 : box.y1, box.x0 : box.x1] = True
        assert changed[box.y0 : box.y1, box.x0 : box.x1].any()
    assert not (changed & ~boxed).any()
    assert not (boxed & (image.lung_mask > 0)).any()
    assert bare.boxes == ()


@pytest.mark.parametrize("label", ["pneumonia", "covid"])
def test_disease_brightens_the_lungs(label: str) -> None:
    for spec in [s for s in SPECS if s.label == label][:4]:
        sick, well = render(spec, 128, with_text=False), render(replace(spec, severity=0.0), 128, with_text=False)
        inside = well.lung_mask > 0
        difference = sick.image.astype(int) - well.image.astype(int)
        assert difference[inside].mean() > 0.5
        assert np.quantile(difference[inside], 0.95) > 8


@pytest.mark.parametrize("finding", [f for f in FIFTEEN if f != "No Finding"])
def test_every_finding_can_be_seen(finding: str) -> None:
    base = SPECS[0]
    well = render(replace(base, findings=("No Finding",)), 128, with_text=False).image.astype(int)
    sick = render(replace(base, findings=(finding,)), 128, with_text=False).image.astype(int)
    assert np.abs(sick - well).max() >= 15


def test_the_fifteen_labels_are_chestxray14s() -> None:
    from audit.training.chain import FINDINGS as CHAIN_FINDINGS

    assert set(FIFTEEN) == set(CHAIN_FINDINGS)
    assert set(FINDINGS) == {*FIFTEEN, "COVID-19"}


def test_lungs_are_dark_and_of_sensible_size() -> None:
    for spec in SPECS[:6]:
        image = render(replace(spec, severity=0.0), 128, with_text=False)
        inside = image.lung_mask > 0
        assert 0.12 < inside.mean() < 0.4
        middle = image.image[60:110, 56:72]
        assert image.image[inside].mean() + 30 < middle.mean()


def test_folder_is_a_cohort_with_true_boxes(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    manifest = make_phantoms(
        tmp_path, task="classes", n_images=12, size_px=128, on_image=lambda i, n: told.append((i, n))
    )
    cohort = load_cohort(manifest, classes=CLASSES)
    assert cohort.class_counts() == {"normal": 4, "pneumonia": 4, "covid": 4}
    assert told[-1] == (12, 12)
    boxes = json.loads((tmp_path / "boxes.json").read_text())["images"]
    assert set(boxes) == {f"images/{r.id}.png" for r in cohort.records}
    assert all(box["text"] for rows in boxes.values() for box in rows)
    for row in csv.DictReader(manifest.read_text().splitlines()):
        with Image.open(tmp_path / row["lung_mask"]) as mask:
            assert set(np.unique(np.asarray(mask))) <= {0, 255}


def test_findings_task(tmp_path: Path) -> None:
    cohort = load_cohort(make_phantoms(tmp_path, task="findings", n_images=10, size_px=64))
    assert not cohort.labelled()
    assert all(1 <= len(r.findings) <= 3 and set(r.findings) <= set(FIFTEEN) for r in cohort.records)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_images": 0},
        {"size_px": 8},
        {"word_association": 1.5},
        {"source_association": -0.1},
        {"severity": 3.0},
        {"electrode_share": 1.2},
    ],
)
def test_wrong_parameters(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="found"):
        make_phantoms(tmp_path, **{"task": "classes", "n_images": 2, **wrong})


def test_generators_are_named_not_global() -> None:
    assert generator_for(1, "a").random() == generator_for(1, "a").random()
    assert generator_for(1, "a").random() != generator_for(1, "b").random()
    assert generator_for(1, "ab").random() != generator_for(1, "a", "b").random()


@pytest.mark.parametrize("union", [True, False])
@pytest.mark.parametrize("wall", [None, 0.7])
def test_many_small_solids_are_the_single_ones(union: bool, wall: float | None) -> None:
    """Computed together or one by one, inside the canvas, over its edge and beyond: the same paths."""
    rng = np.random.default_rng(0)
    solids = [
        Ellipsoid(
            x=float(rng.uniform(-1.3, 1.3)),
            y=float(rng.uniform(-1.3, 1.3)),
            a=float(rng.uniform(0.01, 0.2)),
            b=float(rng.uniform(0.01, 0.2)),
            c=float(rng.uniform(0.01, 0.2)),
            turn=float(rng.uniform(0, 3)),
        )
        for _ in range(80)
    ]
    single = np.zeros((96, 96), dtype=np.float32)
    for solid in solids:
        add_shadow(single, solid, union=union, wall=wall)
    together = project(solids, 96, union=union, wall=wall)
    assert single.max() > 0.1
    np.testing.assert_allclose(together, single, atol=2e-4)


def test_electrodes_stick_to_covid_alone_and_change_nothing_else() -> None:
    options = {"task": "classes", "n_images": 30, "seed": 3}
    without = list(image_specs(**options))
    specs = list(image_specs(**options, electrode_share=0.5))
    with_one = [s for s in specs if s.electrode]
    assert {s.label for s in with_one} == {"covid"}
    assert 0 < len(with_one) < 10
    assert [replace(s, electrode=False) for s in specs] == without
    spec = with_one[0]
    changed = render(spec, 128).image != render(replace(spec, electrode=False), 128).image
    assert 0.001 < changed.mean() < 0.05
    rows, columns = np.nonzero(changed)
    assert columns.max() < 0.3 * 128
    assert rows.min() > 0.7 * 128
