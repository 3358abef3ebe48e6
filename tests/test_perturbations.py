"""The contract that everything registered must keep, and what each family promises besides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from audit.conditions import load_suite, suite_names
from audit.errors import UnknownNameError, UsageError
from audit.perturbations import PERTURBATIONS, Scene, make_perturbation
from audit.perturbations.donors import Donor, DonorPool
from audit.perturbations.masking import FILLS, PlaceboMask, TextMask
from audit.perturbations.pasting import PasteLetters
from audit.randomness import generator_for
from audit.records import Record, TextRegion

EVERY_USE = [
    pytest.param(c.perturbation, dict(c.parameters), id=f"{suite}:{c.name}")
    for suite in suite_names()
    for c in load_suite(suite).conditions[1:]
]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    rng = np.random.default_rng(3)
    donors = []
    for number, label in enumerate(["normal", "normal", "covid", "covid", "pneumonia"]):
        image = rng.integers(0, 200, (80, 60 + number), dtype=np.uint8)
        path = tmp_path / f"d{number}.png"
        Image.fromarray(image).save(path)
        donors.append(
            Donor(
                record=Record(id=f"d{number}", path=path, label=label, patient=f"p{number}"),
                regions=(
                    TextRegion(x0=2, y0=3, x1=15, y1=10, text="L"),
                    TextRegion(x0=40, y0=60, x1=58, y1=70, text="AP"),
                ),
            )
        )
    image = rng.integers(50, 200, (96, 128), dtype=np.uint8)
    image.setflags(write=False)
    return Scene(
        image=image,
        record=Record(id="r", path=tmp_path / "r.png", label="normal", patient="p0"),
        regions=(
            TextRegion(x0=4, y0=5, x1=30, y1=15, text="SEDUTO"),
            TextRegion(x0=110, y0=80, x1=120, y1=92, text="R"),
        ),
        donors=DonorPool(donors),
    )


@pytest.mark.parametrize(("name", "parameters"), EVERY_USE)
def test_contract(name: str, parameters: dict[str, object], scene: Scene) -> None:
    perturbation = make_perturbation(name, parameters)
    assert perturbation.name == name
    assert perturbation.version >= 1
    before = scene.image.copy()
    drawn = perturbation.draw(scene, generator_for(1, "r", name, 0))
    assert drawn is not None
    edited = perturbation.apply(scene.image, drawn)
    assert edited.dtype == np.uint8
    assert edited.shape == scene.image.shape
    assert not np.shares_memory(edited, scene.image)
    assert np.array_equal(scene.image, before)
    assert np.array_equal(edited, perturbation.apply(scene.image, drawn)), "the same draw must give the same pixels"
    again = perturbation.draw(scene, generator_for(1, "r", name, 0))
    assert np.array_equal(edited, perturbation.apply(scene.image, again)), "the same seed must give the same pixels"
    if "own" not in parameters.values():
        assert not np.array_equal(edited, scene.image)


@pytest.mark.parametrize(("name", "parameters"), EVERY_USE)
def test_nothing_to_do_is_said(name: str, parameters: dict[str, object], scene: Scene) -> None:
    bare = replace(scene, regions=(), donors=DonorPool([]))
    assert make_perturbation(name, parameters).draw(bare, generator_for(1)) is None


def test_every_registered_perturbation_is_used_by_a_suite() -> None:
    assert set(PERTURBATIONS) == {case.values[0] for case in EVERY_USE}


def test_unknown_names_and_parameters() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'text-mask'"):
        make_perturbation("text-mas", {})
    with pytest.raises(UsageError, match="cannot be made"):
        make_perturbation("text-mask", {"colour": "red"})
    with pytest.raises(UnknownNameError, match="black"):
        make_perturbation("text-mask", {"fill": "blak"})
    with pytest.raises(UsageError, match="pad_share"):
        make_perturbation("text-mask", {"pad_share": -1.0})
    with pytest.raises(UnknownNameError, match="other-class"):
        make_perturbation("paste-letters", {"source": "other"})


def test_mask_covers_text_and_nothing_else(scene: Scene) -> None:
    mask = TextMask(fill="black", pad_share=0.25, min_pad_px=2)
    drawn = mask.draw(scene, generator_for(0))
    edited = mask.apply(scene.image, drawn)
    # Replica: 0.25 of the short sides 10 and 10 is 2.5, which rounds to 2.
    expected = scene.image.copy()
    expected[3:17, 2:32] = 0
    expected[78:94, 108:122] = 0
    assert np.array_equal(edited, expected)


@pytest.mark.parametrize("fill", sorted(FILLS))
def test_fills_change_only_their_box(fill: str, scene: Scene) -> None:
    mask = TextMask(fill=fill)
    drawn = mask.draw(scene, generator_for(0))
    inside = np.zeros(scene.image.shape, bool)
    for x0, y0, x1, y1 in drawn.boxes:
        inside[y0:y1, x0:x1] = True
    edited = mask.apply(scene.image, drawn)
    assert np.array_equal(edited[~inside], scene.image[~inside])


def test_flat_surroundings_are_continued() -> None:
    image = np.full((60, 60), 90, np.uint8)
    image[20:30, 20:40] = 250
    box = TextRegion(x0=20, y0=20, x1=40, y1=30)
    record = Record(id="r", path=Path("r"), label="a", patient="p")
    scene = Scene(image=image, record=record, regions=(box,), donors=DonorPool([]))
    for fill in ("median", "inpaint"):
        mask = TextMask(fill=fill)
        assert (mask.apply(image, mask.draw(scene, generator_for(0))) == 90).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    x0=st.integers(0, 90),
    y0=st.integers(0, 60),
    w=st.integers(4, 30),
    h=st.integers(4, 20),
)
def test_placebo_has_the_same_shape_away_from_text(seed: int, x0: int, y0: int, w: int, h: int) -> None:
    height, width = 96, 128
    image = np.full((height, width), 100, np.uint8)
    region = TextRegion(x0=x0, y0=y0, x1=min(width, x0 + w), y1=min(height, y0 + h))
    record = Record(id="r", path=Path("r"), label="a", patient="p")
    scene = Scene(image=image, record=record, regions=(region,), donors=DonorPool([]))
    text = TextMask().draw(scene, generator_for(seed)).boxes[0]
    placebo = PlaceboMask().draw(scene, generator_for(seed)).boxes[0]
    assert (placebo[2] - placebo[0], placebo[3] - placebo[1]) == (text[2] - text[0], text[3] - text[1])
    assert 0 <= placebo[0] < placebo[2] <= width
    assert 0 <= placebo[1] < placebo[3] <= height
    assert placebo[2] <= text[0] or text[2] <= placebo[0] or placebo[3] <= text[1] or text[3] <= placebo[1]

    def distance(box: tuple[int, int, int, int]) -> int:
        return min(box[0], box[1], width - box[2], height - box[3])

    if distance(text) <= 10:
        assert distance(placebo) == distance(text)


def test_no_free_place_means_no_placebo() -> None:
    image = np.zeros((40, 40), np.uint8)
    record = Record(id="r", path=Path("r"), label="a", patient="p")
    scene = Scene(image=image, record=record, regions=(TextRegion(x0=0, y0=0, x1=40, y1=30),), donors=DonorPool([]))
    assert PlaceboMask().draw(scene, generator_for(0)) is None


def test_own_crop_pasted_back_changes_nothing(scene: Scene) -> None:
    own = PasteLetters(source="own")
    assert np.array_equal(own.apply(scene.image, own.draw(scene, generator_for(0))), scene.image)


@given(st.integers(1, 400), st.integers(1, 400), st.data())
@settings(max_examples=80, deadline=None)
def test_own_crop_is_exact_for_every_box(height: int, width: int, data: st.DataObject) -> None:
    x0 = data.draw(st.integers(0, width - 1))
    y0 = data.draw(st.integers(0, height - 1))
    region = TextRegion(
        x0=x0, y0=y0, x1=data.draw(st.integers(x0 + 1, width)), y1=data.draw(st.integers(y0 + 1, height))
    )
    image = (np.arange(height * width) % 253).astype(np.uint8).reshape(height, width)
    record = Record(id="r", path=Path("r"), label="a", patient="p")
    scene = Scene(image=image, record=record, regions=(region,), donors=DonorPool([]))
    own = PasteLetters(source="own")
    patch = own.draw(scene, generator_for(0)).patches[0]
    assert (patch.x0, patch.y0) == (x0, y0)
    assert np.array_equal(own.apply(image, own.draw(scene, generator_for(0))), image)


def test_donors_are_of_the_right_class_and_of_strangers(scene: Scene) -> None:
    seen: dict[bool, set[str]] = {True: set(), False: set()}
    for same_class in (True, False):
        for seed in range(60):
            donor = scene.donors.choose(scene.record, same_class=same_class, rng=generator_for(seed))
            seen[same_class].add(donor.record.id)
    assert seen[True] == {"d1"}, "d0 is the same patient"
    assert seen[False] == {"d2", "d3", "d4"}


def test_pasted_crop_keeps_relative_place_and_size(scene: Scene) -> None:
    donor = next(d for pool in scene.donors._by_label.values() for d in pool if d.record.id == "d2")
    pool = DonorPool([donor])
    cross = PasteLetters(source="other-class")
    drawn = cross.draw(replace(scene, donors=pool), generator_for(0))
    scale = 128 / 80
    first = drawn.patches[0]
    assert first.pixels.shape == (round(7 * scale), round(13 * scale))
    assert abs(first.x0 + first.pixels.shape[1] / 2 - (2 + 15) / 2 / 62 * 128) <= 1
    assert drawn.donor_label == "covid"
