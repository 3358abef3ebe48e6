"""Three questions about text (removing, swapping, painting) put to readers whose answers are known by construction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from audit.data.records import Record, TextRegion
from audit.errors import UsageError
from audit.perturbations.base import NotApplicable, Scene
from audit.perturbations.donors import Donor, DonorPool
from audit.perturbations.masking import TextMask
from audit.perturbations.pasting import IN_LUNGS, NO_PLACE, TAKEN, PasteLetters
from audit.perturbations.places import text_boxes
from audit.randomness import generator_for

SIDE, LEVEL = 120, 60
HERE, THERE = (8, 10), (90, 84)  # where text stands: left and top
WORD = {"horizontal": np.tile([[1], [1], [0], [0]], (3, 20)), "vertical": np.tile([1, 1, 0, 0], (12, 5))}
Reader = Callable[[np.ndarray], float]


def written(*words: tuple[str, tuple[int, int]]) -> np.ndarray:
    image = np.full((SIDE, SIDE), LEVEL, np.uint8)
    for word, (left, top) in words:
        image[top : top + 12, left : left + 20] += (150 * WORD[word]).astype(np.uint8)
    return image


def region(place: tuple[int, int]) -> TextRegion:
    return TextRegion(x0=place[0], y0=place[1], x1=place[0] + 20, y1=place[1] + 12)


def pattern_at(place: tuple[int, int]) -> Reader:
    """Return a reader of one place: 1 for the horizontal word, 0 for the vertical one, .5 where there is no text."""

    def read(image: np.ndarray) -> float:
        seen = image[place[1] : place[1] + 12, place[0] : place[0] + 20].astype(float)
        rows, columns = seen.mean(1).std(), seen.mean(0).std()
        return 0.5 if rows + columns < 5 else float(rows / (rows + columns))

    return read


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Return an image of class horizontal with its word here; a donor of either class has its word there."""
    donors = []
    for label in WORD:
        Image.fromarray(written((label, THERE))).save(tmp_path / f"{label}.png")
        record = Record(id=label, path=tmp_path / f"{label}.png", label=label, patient=label)
        donors.append(Donor(record=record, regions=(region(THERE),)))
    return Scene(
        image=written(("horizontal", HERE)),
        record=Record(id="r", path=tmp_path / "r.png", label="horizontal", patient="p"),
        regions=(region(HERE),),
        donors=DonorPool(donors),
    )


def effect(scene: Scene, reader: Reader, perturbation: PasteLetters | TextMask) -> float:
    drawn = perturbation.draw(scene, generator_for(0))
    assert not isinstance(drawn, NotApplicable)
    return abs(reader(perturbation.apply(scene.image, drawn)) - reader(scene.image))


@pytest.mark.parametrize(
    ("reads", "removing", "swapping", "painting"),
    [
        # A reader of the own place: removed it knows nothing, swapped it changes its mind, and what is added elsewhere it never sees.
        (HERE, 0.5, 1.0, 0.0),
        # A reader of the other place: only what is added there is seen.
        (THERE, 0.0, 0.0, 0.5),
    ],
)
def test_each_condition_answers_its_own_question(
    scene: Scene, reads: tuple[int, int], removing: float, swapping: float, painting: float
) -> None:
    reader = pattern_at(reads)
    assert effect(scene, reader, TextMask(fill="inpaint")) == pytest.approx(removing, abs=0.05)
    assert effect(scene, reader, PasteLetters(source="other-class")) == pytest.approx(swapping, abs=0.05)
    assert effect(scene, reader, PasteLetters(source="other-class", own_text="kept")) == pytest.approx(
        painting, abs=0.05
    )
    # The same word from another image of the class: a reader of the own place cannot tell, so that the placebo takes nothing away.
    same = effect(scene, reader, PasteLetters(source="same-class"))
    assert same == pytest.approx(0.0, abs=0.05)


def test_without_own_text_foreign_text_stands_where_it_stood(scene: Scene) -> None:
    bare = replace(scene, image=written(), regions=())
    for own_text in ("replaced", "kept"):
        drawn = PasteLetters(own_text=own_text).draw(bare, generator_for(0))
        edited = PasteLetters().apply(bare.image, drawn)
        assert np.array_equal(edited, written(("vertical", THERE)))


def test_all_own_text_goes_and_all_foreign_text_comes(scene: Scene, tmp_path: Path) -> None:
    Image.fromarray(written(("vertical", (10, 10)), ("vertical", THERE))).save(tmp_path / "two.png")
    two = Donor(
        record=Record(id="two", path=tmp_path / "two.png", label="vertical", patient="two"),
        regions=(region((10, 10)), region(THERE)),
    )
    swap = PasteLetters()
    edited = swap.apply(scene.image, swap.draw(replace(scene, donors=DonorPool([two])), generator_for(0)))
    assert np.array_equal(edited, written(("vertical", HERE), ("vertical", THERE))), "the nearest stands in its place"
    crowded = replace(
        scene,
        image=written(("horizontal", HERE), ("horizontal", (80, 20)), ("horizontal", (40, 70))),
        regions=(region(HERE), region((80, 20)), region((40, 70))),
    )
    edited = swap.apply(crowded.image, swap.draw(crowded, generator_for(0)))
    assert [pattern_at(p)(edited) for p in (HERE, (80, 20))] == [0.5, 0.5]
    assert pattern_at((40, 70))(edited) == pytest.approx(0.0, abs=0.05), "the nearest of three"


def test_swapped_letters_are_as_high_as_the_own_ones(scene: Scene) -> None:
    large = replace(scene, regions=(TextRegion(x0=10, y0=20, x1=70, y1=44),))
    erased, laid = PasteLetters().draw(large, generator_for(0)).patches
    (x0, y0, x1, y1) = text_boxes(large.regions, (SIDE, SIDE))[0]
    assert (erased.x0, erased.y0, *erased.level.shape) == (x0, y0, y1 - y0, x1 - x0)
    assert laid.level.shape[0] == y1 - y0
    assert laid.level.shape[1] / laid.level.shape[0] == pytest.approx(26 / 18, rel=0.05), "they keep their shape"
    h, w = laid.level.shape
    assert (laid.x0 + w / 2, laid.y0 + h / 2) == (
        pytest.approx((x0 + x1) / 2, abs=1),
        pytest.approx((y0 + y1) / 2, abs=1),
    )


def test_letters_are_never_moved(scene: Scene) -> None:
    lungs = np.zeros((SIDE, SIDE), bool)
    for swap, place in ((PasteLetters(), HERE), (PasteLetters(own_text="kept"), THERE)):
        covered = lungs.copy()
        covered[place[1] : place[1] + 8, place[0] : place[0] + 12] = True
        assert not isinstance(swap.draw(replace(scene, lungs=lungs), generator_for(0)), NotApplicable)
        assert swap.draw(replace(scene, lungs=covered), generator_for(0)) in (
            IN_LUNGS,
            NotApplicable("boxes over text cover more than 10 % of the lungs"),
        )
    taken = replace(scene, regions=(region(HERE), region(THERE)))
    assert PasteLetters(own_text="kept").draw(taken, generator_for(0)) == TAKEN
    # Where one donor's letters have no place, another's may: of the same kind, for edit and placebo alike.
    lungs[THERE[1] : THERE[1] + 12, THERE[0] : THERE[0] + 20] = True
    other = next(d for pool in scene.donors._by_label.values() for d in pool if d.record.id == "vertical")
    pool = [replace(other, regions=(region(HERE),)), other]
    bare = replace(scene, image=written(), regions=(), lungs=lungs, donors=DonorPool(pool))
    draws = [PasteLetters().draw(bare, generator_for(s)) for s in range(60)]
    made = [d for d in draws if not isinstance(d, NotApplicable)]
    assert len(made) > 45, "fifteen in sixteen"
    assert {d for d in draws if isinstance(d, NotApplicable)} <= {IN_LUNGS}


def test_a_count_is_met_or_refused(scene: Scene) -> None:
    with pytest.raises(UsageError, match='own_text = "kept"'):
        PasteLetters(count=2)
    full = replace(scene, lungs=np.ones((SIDE, SIDE), bool))
    assert PasteLetters(own_text="kept", count=2).draw(full, generator_for(0)) == NO_PLACE


@given(st.integers(0, SIDE - 20), st.integers(0, SIDE - 12), st.sampled_from(["horizontal", "vertical"]))
@settings(max_examples=30, deadline=None)
def test_the_image_s_own_letters_put_back_change_nothing(left: int, top: int, word: str) -> None:
    own = PasteLetters(source="own")
    record = Record(id="r", path=Path("r"), label="a", patient="p")
    image = written((word, (left, top)))
    scene = Scene(image=image, record=record, regions=(region((left, top)),), donors=DonorPool([]))
    assert np.array_equal(own.apply(image, own.draw(scene, generator_for(0))), image)


# Of a multi-label task: which findings donors of text have.


def carrier(name: str, truth: tuple[int, ...], *, text: bool = True) -> Donor:
    record = Record(id=name, path=Path(f"{name}.png"), label=name, patient=name, truth=truth)
    return Donor(record=record, regions=(region(HERE),) if text else ())


def donors_of(pool: DonorPool, truth: tuple[int, ...], *, same: bool) -> set[str]:
    record = Record(id="r", path=Path("r.png"), label="r", patient="r", truth=truth)
    rng = generator_for(1)
    drawn = [pool.choose(record, same_class=same, rng=rng) for _ in range(60)]
    return {d.record.id for d in drawn if d is not None}


def test_letters_come_from_images_with_a_finding_that_the_image_does_not_have() -> None:
    pool = DonorPool(
        [
            carrier("a", (1, 0, 0)), carrier("ab", (1, 1, 0)), carrier("b", (0, 1, -1)), carrier("none", (0, 0, 0)),
            carrier("c", (0, 0, 1)), carrier("silent", (1, 1, 1), text=False),
        ]
    )  # fmt: skip
    # Without a: those with it, whatever else they have. Whether the image has c is unknown, so c is not foreign to it.
    assert donors_of(pool, (0, 1, -1), same=False) == {"a", "ab"}
    assert donors_of(pool, (0, 1, -1), same=True) == {"b", "none"}
    assert donors_of(pool, (1, 1, 1), same=False) == set()
    assert donors_of(pool, (0, 0, 0), same=True) == {"none"}
    assert donors_of(pool, (0, 0, 0), same=False) == {"a", "ab", "b", "c"}


def test_further_letters_come_from_images_with_the_same_foreign_finding() -> None:
    pool = DonorPool([carrier("a1", (1, 0)), carrier("a2", (1, 1)), carrier("b", (0, 1)), carrier("none", (0, 0))])
    record = Record(id="r", path=Path("r.png"), label="r", patient="r", truth=(0, 1))
    rng = generator_for(2)
    drawn = [pool.another(carrier("a1", (1, 0)), record, rng) for _ in range(30)]
    assert {d.record.id for d in drawn if d is not None} == {"a1", "a2"}
    own = [pool.another(carrier("none", (0, 0)), record, rng) for _ in range(30)]
    assert {d.record.id for d in own if d is not None} == {"b", "none"}


@given(st.lists(st.tuples(*[st.sampled_from([1, 0, -1])] * 3), min_size=1, max_size=8), st.integers(0, 99))
@settings(max_examples=40)
def test_no_donor_of_the_wrong_side(truths: list[tuple[int, int, int]], seed: int) -> None:
    pool = DonorPool([carrier(f"d{i}", truth) for i, truth in enumerate(truths)])
    own = truths[seed % len(truths)]
    record = Record(id="r", path=Path("r.png"), label="r", patient="r", truth=own)
    rng = generator_for(seed)
    other = pool.choose(record, same_class=False, rng=rng)
    same = pool.choose(record, same_class=True, rng=rng)
    foreign = [any(a == 1 and b == 0 for a, b in zip(t, own, strict=True)) for t in truths]
    assert (other is not None) == any(foreign)
    if other is not None:
        assert foreign[int(other.record.id[1:])]
    assert same is not None, "an image with the same findings is always there"
    assert all(b == 1 for a, b in zip(same.record.truth, own, strict=True) if a == 1)
