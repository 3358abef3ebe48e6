"""The contract that everything registered must keep, and what each family promises besides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from audit.data.conditions import MOST_TITLE, Condition
from audit.data.images import read_record
from audit.data.pixels.colour import luminance
from audit.data.records import Record, TextRegion
from audit.errors import UnknownNameError, UsageError
from audit.perturbations import PERTURBATIONS, NotApplicable, Scene, Titled, changed_pixels, make_perturbation
from audit.perturbations.compression import compressed
from audit.perturbations.corruption import CORRUPTIONS, Corruption
from audit.perturbations.donors import Donor, DonorPool, has_look_donors
from audit.perturbations.fills import FILLS, without_text
from audit.perturbations.looks import FACTORS, measure_look
from audit.perturbations.marker_only import MarkerOnly
from audit.perturbations.masking import PlaceboMask, TextMask
from audit.perturbations.pasting import PasteLetters
from audit.perturbations.places import _candidates, cover, relocate_all, text_boxes
from audit.perturbations.properties import GroupProperties, by_source
from audit.perturbations.strokes import find_strokes
from audit.randomness import generator_for
from audit.suites.objects import with_objects
from audit.suites.reader import load_suite, suite_names

RECORD = Record(id="r", path=Path("r.png"), label="x", patient="r", source="a")
EVERY_USE = [
    pytest.param(c.perturbation, dict(c.parameters), id=f"{suite}:{c.name}")
    for suite in suite_names()
    for c in load_suite(suite).conditions[1:]
]
EVERY_CONDITION = [
    pytest.param(c, id=f"{suite}:{c.name}") for suite in suite_names() for c in load_suite(suite).conditions[1:]
]
WHOLE_IMAGE = ("corruption", "anatomy")


def scan(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Return a smooth image with grain, dark lungs and a flat frame, that every factor of a look has something to say of."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    levels = 150 - 70 * np.exp(-((np.abs(xx) - 0.4) ** 2 / 0.05 + yy**2 / 0.3)) + 30 * yy + rng.normal(0, 6, shape)
    image = np.clip(levels, 0, 255).astype(np.uint8)
    image[: 2 + 4 * (seed % 3)] = 10
    return image


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    donors = []
    for number, label in enumerate(["normal", "normal", "covid", "covid", "pneumonia"]):
        image = scan((160, 120 + number), number)
        if number % 2:  # a coarser, darker, compressed source
            image = (image // 8 * 6).astype(np.uint8)
        image[3:10, 2:15] = 240
        image[140:150, 50:68] = 230
        path = tmp_path / f"d{number}.{'png' if number in (0, 3) else 'jpg'}"
        Image.fromarray(image).save(path)
        donors.append(
            Donor(
                record=Record(id=f"d{number}", path=path, label=label, patient=f"p{number}", source="ab"[number % 2]),
                regions=(
                    TextRegion(x0=2, y0=3, x1=15, y1=10, text="L"),
                    TextRegion(x0=50, y0=140, x1=68, y1=150, text="AP"),
                ),
            )
        )
    # Further patients of the scene's class lend their look, and no text.
    donors += [
        Donor(record=replace(donors[i % 5].record, id=f"look{i}", label="normal", patient=f"look{i}"), regions=())
        for i in range(15)
    ]
    donors += [
        Donor(record=replace(donors[i % 5].record, id=f"further{i}", label="covid", patient=f"further{i}"), regions=())
        for i in range(6)
    ]
    records, regions = [d.record for d in donors], {d.record.id: d.regions for d in donors}
    image = scan((96, 128), 9)
    image[5:15, 4:30] = 250
    image[80:92, 110:120] = 245
    image.setflags(write=False)
    lungs = np.zeros((96, 128), bool)
    lungs[30:70, 25:55] = lungs[30:70, 75:105] = True
    return Scene(
        image=image,
        record=Record(id="r", path=tmp_path / "r.png", label="normal", patient="p0", source="a"),
        regions=(
            TextRegion(x0=4, y0=5, x1=30, y1=15, text="SEDUTO"),
            TextRegion(x0=110, y0=80, x1=120, y1=92, text="R"),
        ),
        donors=DonorPool(donors),
        lungs=lungs,
        properties=GroupProperties(records, regions, 0, read_record),
        sources=GroupProperties(records, regions, 0, read_record, by_source),
        background=lambda shape: scan(shape, 40),
    )


def of_class_that_can_move(scene: Scene, parameters: dict[str, object]) -> Scene:
    """Return the scene of a record of the class whose images can lose sharpness, or be compressed: of two classes only one can."""
    if parameters.get("of") == "compression":
        known = scene.properties
        assert known is not None

        def read(record: Record) -> np.ndarray:
            # One class strongly, and half of the other a little, so that chance has something to deal.
            quality = 10 if record.label == "covid" else 40 if sum(record.id.encode()) % 2 else None
            return read_record(record) if quality is None else compressed(read_record(record), quality)

        return replace(scene, properties=GroupProperties(known._records, known._regions, 0, read))
    label = "covid" if parameters.get("of") == "sharpness" else scene.record.label
    return replace(scene, record=replace(scene.record, label=label))


@pytest.mark.parametrize(("name", "parameters"), EVERY_USE)
def test_contract(name: str, parameters: dict[str, object], scene: Scene) -> None:
    scene = of_class_that_can_move(scene, parameters)
    perturbation = make_perturbation(name, parameters)
    assert perturbation.name == name
    assert perturbation.version >= 1
    before = scene.image.copy()
    seed = next(  # a donor that is a JPEG, where the edit needs one
        s for s in range(9) if not isinstance(perturbation.draw(scene, generator_for(s, "r", name, 0)), NotApplicable)
    )
    drawn = perturbation.draw(scene, generator_for(seed, "r", name, 0))
    edited = perturbation.apply(scene.image, drawn)
    assert edited.dtype == np.uint8
    assert edited.shape == scene.image.shape
    assert not np.shares_memory(edited, scene.image)
    assert np.array_equal(scene.image, before)
    assert np.array_equal(edited, perturbation.apply(scene.image, drawn)), "the same draw must give the same pixels"
    again = perturbation.draw(scene, generator_for(seed, "r", name, 0))
    assert np.array_equal(edited, perturbation.apply(scene.image, again)), "the same seed must give the same pixels"
    changed = changed_pixels(scene.image, edited)
    assert changed.shape == scene.image.shape
    assert np.array_equal(changed, edited != scene.image)
    if "own" in parameters.values():
        assert not changed.any()
    else:
        draws = [perturbation.draw(scene, generator_for(s, "r", name, 0)) for s in range(9)]
        edits = [perturbation.apply(scene.image, d) for d in draws if not isinstance(d, NotApplicable)]
        assert any(changed_pixels(scene.image, e).any() for e in edits), "an edit that never edits is none"


@pytest.mark.parametrize(("name", "parameters"), EVERY_USE)
def test_nothing_to_do_is_said(name: str, parameters: dict[str, object], scene: Scene) -> None:
    bare = replace(scene, regions=(), donors=DonorPool([]), lungs=None, background=None, properties=None, sources=None)
    drawn = make_perturbation(name, parameters).draw(bare, generator_for(1))
    if name in WHOLE_IMAGE and not str(parameters.get("part", "")).startswith("lungs"):
        assert not isinstance(drawn, NotApplicable)
    else:
        assert isinstance(drawn, NotApplicable)
        assert drawn.reason


@pytest.mark.parametrize(("name", "parameters"), EVERY_USE)
@pytest.mark.parametrize("shape", [(60, 60), (7, 300), (1, 1)])
def test_odd_sizes(name: str, parameters: dict[str, object], shape: tuple[int, int], scene: Scene) -> None:
    image = scan(shape, 2) if min(shape) > 1 else np.full(shape, 90, np.uint8)
    half = TextRegion(x0=0, y0=0, x1=max(1, shape[1] // 2), y1=shape[0], text="half of the scan")
    odd = replace(scene, image=image, regions=(half,), lungs=np.ones(shape, bool))
    perturbation = make_perturbation(name, parameters)
    drawn = perturbation.draw(odd, generator_for(1))
    if not isinstance(drawn, NotApplicable):
        assert perturbation.apply(image, drawn).shape == shape


def test_every_registered_perturbation_is_used_by_a_suite() -> None:
    # `object` is used by the conditions that a run adds (tests/test_objects.py).
    assert set(PERTURBATIONS) == {case.values[0] for case in EVERY_USE} | {"object"}


def test_unknown_names_and_parameters() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'text-mask'"):
        make_perturbation("text-mas", {})
    with pytest.raises(UsageError, match="cannot be created"):
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
@given(st.integers(1, 40), st.integers(2, 40), st.data())
@settings(max_examples=60, deadline=None)
def test_fills_are_pure(fill: str, height: int, width: int, data: st.DataObject) -> None:
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = (x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height)))
    image = np.random.default_rng(height * width).integers(0, 255, (height, width), dtype=np.uint8)
    covered = cover([box], (height, width))
    first = FILLS[fill](image, box, covered)
    for level in (3, 200):
        np.full(50_000, level, np.uint8)  # what is left in freed memory must not matter
        assert np.array_equal(FILLS[fill](image, box, covered), first)


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


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    word=st.sampled_from(["L", "SEDUTO", "AP 12"]),
    level=st.sampled_from([20, 235]),
    noise=st.floats(0, 4),
)
def test_inpainting_takes_the_strokes_and_leaves_what_lies_between_them(
    seed: int, word: str, level: int, noise: float
) -> None:
    """Painted on a background that is known: nearer to it than a rectangle filled from its border, strokes gone, the rest as it was."""
    rng = np.random.default_rng(seed)
    slope = 110 + np.add.outer(np.linspace(-25, 25, 120), np.linspace(-20, 20, 160)) + rng.normal(0, noise, (120, 160))
    background = np.clip(np.rint(slope), 0, 255).astype(np.uint8)
    image = background.copy()
    cv2.putText(image, word, (40, 70), cv2.FONT_HERSHEY_SIMPLEX, 0.8, level, 2, cv2.LINE_AA)
    painted = image != background
    rows, columns = np.flatnonzero(painted.any(axis=1)), np.flatnonzero(painted.any(axis=0))
    region = TextRegion(x0=int(columns[0]), y0=int(rows[0]), x1=int(columns[-1]) + 1, y1=int(rows[-1]) + 1)
    record = Record(id="r", path=Path("r"), label="a", patient="p")
    scene = Scene(image=image, record=record, regions=(region,), donors=DonorPool([]))
    mask, placebo = TextMask(fill="inpaint"), PlaceboMask(fill="inpaint")
    drawn = mask.draw(scene, generator_for(seed))
    edited = mask.apply(image, drawn)
    clearly = np.abs(image.astype(int) - background) > 30
    assert np.abs(edited.astype(int) - background)[clearly].max() < 30
    far = ~cv2.dilate(painted.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
    assert (edited == background)[far].mean() > 0.95
    whole = without_text(image, drawn.boxes)
    assert np.abs(edited.astype(int) - background).mean() <= np.abs(whole.astype(int) - background).mean() + 0.01
    # The placebo fills as many pixels of the same shape, elsewhere.
    elsewhere = placebo.apply(image, placebo.draw(scene, generator_for(seed)))
    box = drawn.boxes[0]
    strokes = find_strokes(image, box, cover(drawn.boxes, image.shape))
    assert np.count_nonzero(elsewhere != image) <= np.count_nonzero(strokes)
    assert (elsewhere == image)[box[1] : box[3], box[0] : box[2]].all()


def test_strokes_that_cannot_be_told_from_their_surroundings_are_the_whole_box() -> None:
    flat = np.full((60, 80), 90, np.uint8)
    box = (20, 20, 50, 40)
    assert find_strokes(flat, box, cover([box], flat.shape)).all()
    assert find_strokes(flat, (0, 0, 80, 60), np.ones_like(flat, dtype=bool)).all()


def test_no_free_place_means_no_placebo() -> None:
    image = np.zeros((40, 40), np.uint8)
    record = Record(id="r", path=Path("r"), label="a", patient="p")
    # Neither strip can go anywhere without crossing the other.
    strips = (TextRegion(x0=18, y0=0, x1=19, y1=40), TextRegion(x0=0, y0=18, x1=40, y1=19))
    scene = Scene(image=image, record=record, regions=strips, donors=DonorPool([]))
    assert PlaceboMask().draw(scene, generator_for(0)) == NotApplicable("no free place for the placebo")


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
    padded = text_boxes(scene.regions, (height, width))[0]
    assert (patch.x0, patch.y0) == padded[:2]
    assert np.array_equal(own.apply(image, own.draw(scene, generator_for(0))), image)


def test_donors_are_of_the_right_class_and_of_strangers(scene: Scene) -> None:
    seen: dict[bool, set[str]] = {True: set(), False: set()}
    for same_class in (True, False):
        for seed in range(60):
            donor = scene.donors.choose(scene.record, same_class=same_class, rng=generator_for(seed))
            seen[same_class].add(donor.record.id)
    assert seen[True] == {"d1"}, "d0 is the same patient"
    assert seen[False] == {"d2", "d3", "d4"}


def only_donor(scene: Scene, name: str, region: TextRegion) -> DonorPool:
    donor = next(d for pool in scene.donors._by_label.values() for d in pool if d.record.id == name)
    return DonorPool([replace(donor, regions=(region,))])


def flat_donor(folder: Path) -> Donor:
    """Return a flat image of level 40 with one bar of level 200."""
    donor_image = np.full((100, 100), 40, np.uint8)
    donor_image[10:20, 6:26] = 200
    Image.fromarray(donor_image).save(folder / "d.png")
    return Donor(
        record=Record(id="d", path=folder / "d.png", label="covid", patient="q"),
        regions=(TextRegion(x0=6, y0=10, x1=26, y1=20),),
    )


def test_letters_keep_relative_place_size_and_contrast(tmp_path: Path) -> None:
    donor = flat_donor(tmp_path)
    image = np.full((200, 200), 70, np.uint8)
    record = Record(id="r", path=Path("r"), label="normal", patient="p")
    scene = Scene(image=image, record=record, regions=(), donors=DonorPool([donor]))
    cross = PasteLetters(source="other-class")
    edited = cross.apply(image, cross.draw(scene, generator_for(0)))
    changed = changed_pixels(image, edited)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    # Twice the donor's size: the letters' box is 20..40 by 12..52, with a pixel of interpolation at most.
    assert np.abs([rows[0] - 20, rows[-1] - 39, columns[0] - 12, columns[-1] - 51]).max() <= 2
    assert edited[30, 32] == 70 + 160, "the contrast with the film behind it"
    assert (edited[~changed] == 70).all(), "no rectangle is brought along"


@pytest.mark.parametrize("opacity", [0.0, 0.25, 0.5, 1.0])
def test_opacity_scales_every_change(opacity: float, scene: Scene) -> None:
    whole = PasteLetters(source="other-class")
    part = PasteLetters(source="other-class", opacity=opacity)
    image = scene.image.astype(float)
    full = whole.apply(scene.image, whole.draw(scene, generator_for(3))) - image
    some = part.apply(scene.image, part.draw(scene, generator_for(3))) - image
    assert np.abs(full).max() > 50
    assert np.abs(some - opacity * full).max() <= 0.51


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_count_is_kept(count: int, scene: Scene) -> None:
    roomy = replace(scene, image=scan((400, 400), 1), regions=(), lungs=None)
    paste = PasteLetters(source="other-class", own_text="kept", count=count)
    assert len(paste.draw(roomy, generator_for(5)).patches) == count


def test_a_donor_larger_than_the_target_is_scaled(tmp_path: Path, scene: Scene) -> None:
    big = scan((2000, 1500), 3)
    big[20:80, 30:140] = 255
    Image.fromarray(big).save(tmp_path / "big.png")
    donor = Donor(
        record=Record(id="big", path=tmp_path / "big.png", label="covid", patient="q"),
        regions=(TextRegion(x0=30, y0=20, x1=140, y1=80),),
    )
    paste = PasteLetters()
    patch = paste.draw(replace(scene, regions=(), donors=DonorPool([donor])), generator_for(0)).patches[0]
    assert patch.level.shape == (round((60 + 30) * 128 / 2000), round((110 + 30) * 128 / 2000))


def test_placebo_is_matched_in_brightness() -> None:
    image = np.full((300, 300), 60, np.uint8)
    image[:, 150:] = 180  # text on the bright side must find its placebo there
    region = TextRegion(x0=260, y0=100, x1=280, y1=110)
    record = Record(id="r", path=Path("r"), label="a", patient="p")
    scene = Scene(image=image, record=record, regions=(region,), donors=DonorPool([]))
    places = [PlaceboMask().draw(scene, generator_for(seed)).boxes[0] for seed in range(30)]
    assert all(image[y0:y1, x0:x1].min() == 180 for x0, y0, x1, y1 in places)
    assert len(set(places)) > 20


def test_marker_only_keeps_text_and_nothing_else(scene: Scene) -> None:
    only = MarkerOnly(content="text")
    edited = only.apply(scene.image, only.draw(scene, generator_for(0)))
    kept = np.zeros(scene.image.shape, bool)
    for x0, y0, x1, y1 in TextMask().draw(scene, generator_for(0)).boxes:
        kept[y0:y1, x0:x1] = True
    assert np.array_equal(edited[kept], scene.image[kept])
    assert np.array_equal(edited[~kept], scan((96, 128), 40)[~kept])
    elsewhere = MarkerOnly(content="elsewhere").draw(scene, generator_for(0))
    assert not any(kept[y0:y1, x0:x1].any() for x0, y0, x1, y1 in elsewhere.boxes)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("part", ["lungs", "lungs-dilated", "lungs-box", "centre", "border"])
def test_anatomy_and_its_placebo_take_the_same_area(part: str, keep: bool, scene: Scene) -> None:
    own = make_perturbation("anatomy", {"part": part, "keep": keep}).draw(scene, generator_for(0)).removed
    other = make_perturbation("anatomy", {"part": part, "keep": keep, "place": "elsewhere"})
    moved = other.draw(scene, generator_for(0)).removed
    assert own.sum() == moved.sum()
    assert (own & moved).sum() < own.sum()
    if part == "lungs":
        assert np.array_equal(own, ~scene.lungs if keep else scene.lungs)
    if part == "lungs-box":
        box = np.zeros_like(scene.lungs)
        box[30:70, 25:105] = True
        assert np.array_equal(own, ~box if keep else box)
    if part == "border":
        frame = np.ones_like(scene.lungs)
        frame[10:86, 10:118] = False
        assert np.array_equal(own, ~frame if keep else frame)


@pytest.mark.parametrize("kind", sorted(CORRUPTIONS))
def test_severity_zero_is_the_identity_and_more_is_more(kind: str, scene: Scene) -> None:
    changes = []
    for severity in range(6):
        corruption = Corruption(kind=kind, severity=severity)
        edited = corruption.apply(scene.image, corruption.draw(scene, generator_for(2)))
        changes.append(float(np.abs(edited.astype(float) - scene.image).mean()))
    assert changes[0] == 0
    assert changes == sorted(changes)
    assert changes[5] > changes[1] > 0


def test_look_of_oneself_changes_next_to_nothing(scene: Scene) -> None:
    look = measure_look(scene.image, None)
    for name, take_on in FACTORS.items():
        edited = take_on(scene.image, look)
        assert np.abs(edited.astype(int) - scene.image).mean() < 1.0, name


def test_looks_are_taken_on() -> None:
    target, donor = scan((120, 100), 1), scan((90, 110), 2)
    donor = np.clip(donor.astype(int) // 16 * 16 // 2, 0, 255).astype(np.uint8)
    donor[:9] = 4
    look = measure_look(donor, (16,) * 64)
    levels = [np.quantile(image, [0.2, 0.5, 0.8]) for image in (FACTORS["histogram"](target, look), donor)]
    assert np.abs(levels[0] - levels[1]).max() <= 8
    assert len(np.unique(FACTORS["bit-depth"](target, look))) <= look.n_levels < 64
    framed = FACTORS["border"](target, look)
    assert (framed[: 120 // 10] == framed[0, 0]).all(), "a tenth of the donor is frame"
    low = FACTORS["fourier"](target, look)
    assert abs(low.mean() - target.mean()) < 6, "the mean is the histogram's"
    first = [np.abs(np.fft.fft2(image)[1, 0]) / image.size for image in (low, donor, target)]
    assert abs(first[0] - first[1]) < 0.2 * abs(first[2] - first[1]), (
        "one cycle down the scan has the donor's amplitude"
    )
    assert not np.array_equal(FACTORS["jpeg"](target, look), target)
    assert FACTORS["aspect"](target, look).shape == target.shape
    blurred = np.asarray(Image.fromarray(donor).resize((30, 25)).resize((110, 90)), np.uint8)
    soft = FACTORS["sharpness"](target, measure_look(blurred, None))
    assert np.abs(np.diff(soft.astype(int))).mean() < 0.8 * np.abs(np.diff(target.astype(int))).mean()


def look_cohort(counts: dict[tuple[str, str], int]) -> DonorPool:
    """A pool of `counts[label, source]` patients, with two images each."""
    return DonorPool(
        Donor(
            record=replace(
                RECORD, id=f"{label}{source}{i}-{j}", label=label, source=source, patient=f"{label}{source}{i}"
            ),
            regions=(),
        )
        for (label, source), n in counts.items()
        for i in range(n)
        for j in range(2)
    )


def test_looks_are_lent_within_the_class() -> None:
    pool = look_cohort({("x", "a"): 6, ("x", "b"): 5, ("x", "c"): 4, ("y", "a"): 9, ("y", "b"): 9})
    record = replace(RECORD, id="xa0-0", label="x", source="a", patient="xa0")
    for same, expected in ((True, "a"), (False, "b")):
        found = [pool.choose_look(record, same_source=same, rng=generator_for(s)) for s in range(60)]
        assert {(d.record.label, d.record.source) for d in found if d} == {("x", expected)}, (
            "four patients of c are too few"
        )
        assert len({d.record.patient for d in found if d}) == 5, "and never the image's own patient"
        assert "xa0" not in {d.record.patient for d in found if d}
    alone = replace(record, source="b", patient="xb0")
    assert pool.choose_look(alone, same_source=True, rng=generator_for(0)) is None, (
        "four others of its class and source"
    )


@pytest.mark.parametrize(
    ("counts", "known"),
    [
        ({("x", "a"): 6, ("x", "b"): 5}, True),
        ({("x", "a"): 5, ("x", "b"): 5}, False),
        ({("x", "a"): 60, ("y", "b"): 60}, False),
        ({("x", "a"): 60, ("y", "b"): 60, ("y", "a"): 5}, True),
    ],
)
def test_a_source_that_cannot_be_told_from_the_class_is_not_tested(
    counts: dict[tuple[str, str], int], known: bool
) -> None:
    pool = look_cohort(counts)
    records = [d.record for found, _ in pool._by_look.values() for d in found]
    assert has_look_donors(records) is known
    drawn = [r for r in records if all(pool.choose_look(r, same_source=s, rng=generator_for(1)) for s in (True, False))]
    assert bool(drawn) is known, "a cohort has donors where any image has both kinds"


@pytest.mark.parametrize(
    ("name", "parameters", "says"),
    [
        ("text-mask", {"fill": 3}, "No fill is called 3"),
        ("text-mask", {"fill": ["black"]}, "cannot be created with"),
        ("paste-letters", {"count": "two"}, "cannot be created with"),
        ("corruption", {"kind": "blurr"}, "Did you mean 'blur'"),
        ("corruption", {"severity": 6}, "0, 1, 2, 3, 4, 5"),
        ("anatomy", {"part": "lung"}, "Did you mean 'lungs'"),
        ("anatomy", {"keep": "yes"}, "true or false"),
        ("look-transfer", {"factors": ["histgram"]}, "Did you mean 'histogram'"),
        ("look-transfer", {"factors": "histogram"}, "must be a list"),
        ("look-transfer", {"source": "others"}, "Did you mean 'other'"),
        ("marker-only", {"content": "txt"}, "text"),
        ("paste-letters", {"opacity": 1.5}, "opacity in 0..1"),
    ],
)
def test_wrong_parameters_are_said(name: str, parameters: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make_perturbation(name, parameters)


@pytest.mark.parametrize("condition", EVERY_CONDITION)
def test_conditions_carry_what_their_perturbation_is_and_declares(condition: Condition) -> None:
    made = make_perturbation(condition.perturbation, condition.parameters)
    assert condition.version == made.version >= 1
    declared = condition.declared
    assert (declared.removes, declared.adds, declared.keeps) == (made.removes, made.adds, made.keeps)
    assert declared.seamless == made.seamless
    assert condition.suspect
    if condition.role == "placebo":
        assert not declared.removes, "a placebo leaves what is suspected where it is"


@pytest.mark.parametrize("name", suite_names())
def test_every_condition_has_a_name_for_people(name: str) -> None:
    suite = with_objects(load_suite(name), ["a", "b"])
    titles = [c.title for c in suite.conditions]
    assert len(set(titles)) == len(titles), "no two conditions of a suite are called alike"
    for condition in suite.conditions:
        title = condition.title
        assert 3 <= len(title) <= MOST_TITLE
        assert title[0].isupper()
        assert not title.endswith(".")
        if condition.role != "clean":
            assert isinstance(make_perturbation(condition.perturbation, condition.parameters), Titled)


def test_a_perturbation_without_a_title_falls_back_to_the_conditions_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Untitled:
        name, version, needs, removes, adds, keeps, seamless, suspect = (
            "untitled",
            1,
            (),
            (),
            (),
            (),
            False,
            "the exposure",
        )

        def draw(self, scene: Scene, rng: np.random.Generator) -> None: ...

        def apply(self, image: np.ndarray, drawn: None) -> np.ndarray:
            return image

    class Point:
        name, value = "untitled", "elsewhere:make"

        def load(self) -> object:
            return lambda **parameters: Untitled()

    monkeypatch.setattr("audit.registry.entry_points", lambda _group: (Point(),))
    path = tmp_path / "s.toml"
    rows = ['[[condition]]\nname = "bright-edge"\nperturbation = "untitled"\nrole = "stress"\n']
    rows += ['[[condition]]\nname = "own"\ntitle = "Brighter"\nperturbation = "untitled"\nrole = "stress"\n']
    rows += ['[[condition]]\nname = "t"\ntitle = "Covered"\nperturbation = "text-mask"\nrole = "stress"\n']
    path.write_text("".join(rows))
    assert [c.title for c in load_suite(str(path)).conditions] == [
        "Unedited image",
        "Bright edge",
        "Brighter",
        "Covered",
    ]


@pytest.mark.parametrize(("name", "parameters"), EVERY_USE)
def test_edits_do_what_they_declare(name: str, parameters: dict[str, object], scene: Scene) -> None:
    made, scene = make_perturbation(name, parameters), of_class_that_can_move(scene, parameters)
    drawn = next(
        d for s in range(9) if not isinstance(d := made.draw(scene, generator_for(s, "r", name, 0)), NotApplicable)
    )
    changed = changed_pixels(scene.image, made.apply(scene.image, drawn))
    inside = [changed[r.y0 : r.y1, r.x0 : r.x1] for r in scene.regions]
    if "text" in made.removes:
        assert all(part.mean() > 0.9 for part in inside), "every region that was found is gone"
    if "text" in made.adds:
        assert drawn.donor.id != scene.record.id
        assert drawn.patches
    if "border" in made.removes:
        assert changed[0].all()
        assert changed[:, -1].all()
    if name == "look-transfer":
        assert drawn.donor.id != scene.record.id
    if name == "placebo-mask":
        assert not any(part.any() for part in inside)


def test_a_factory_from_an_entry_point_is_planned_with_its_own_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Paler(TextMask):
        version = 5

    class Point:
        name, value = "paler", "elsewhere:make"

        def load(self) -> object:
            return lambda **parameters: Paler(**parameters)

    monkeypatch.setattr("audit.registry.entry_points", lambda _group: (Point(),))
    path = tmp_path / "s.toml"
    path.write_text('[[condition]]\nname = "p"\nperturbation = "paler"\nrole = "stress"\n')
    assert load_suite(str(path))["p"].version == 5
    monkeypatch.setattr(Paler, "version", 6)
    assert load_suite(str(path))["p"].version == 6, "other pixels, another plan"


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), colour=st.booleans())
def test_a_placebo_goes_where_the_brightness_is_nearest(seed: int, colour: bool) -> None:
    """A naive replica: the mean of every pixel that is not covered, candidate by candidate."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (48, 64, 3) if colour else (48, 64), dtype=np.uint8)
    boxes = [(3, 4, 11, 9), (50, 2, 60, 8)][: 1 + seed % 2]
    found = relocate_all(image, boxes, generator_for(seed))
    grey, covered, drawn, placed = luminance(image), cover(boxes, (48, 64)), generator_for(seed), []

    def mean(box: tuple[int, int, int, int]) -> float:
        levels = [int(grey[y, x]) for y in range(box[1], box[3]) for x in range(box[0], box[2]) if not covered[y, x]]
        return sum(levels) / len(levels) if levels else 0.0

    for box in boxes:
        reach = max(box[2] - box[0], box[3] - box[1]) // 2 + 2
        around = (max(0, box[0] - reach), max(0, box[1] - reach), min(64, box[2] + reach), min(48, box[3] + reach))
        candidates = _candidates(box, (*boxes, *placed), (48, 64), drawn)
        placed.append(min(candidates, key=lambda c: abs(mean(c) - mean(around))))
    assert found == tuple(placed)
