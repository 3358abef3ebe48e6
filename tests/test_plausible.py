"""An edit looks at itself: boxes that cannot be text, lungs whitened or emptied, a word that is not the border."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.data.conditions import Condition
from audit.data.records import Record, TextRegion
from audit.perturbations import NotApplicable, Perturbation, Scene, make_perturbation
from audit.perturbations.donors import DonorPool
from audit.perturbations.fills import without_text
from audit.perturbations.places import text_boxes
from audit.perturbations.plausible import (
    LEAST_CONTRAST,
    MIN_SAMPLE,
    MOST_LUNG_SHARE,
    MOST_TEXT_SHARE,
    SLACK_LEVELS,
    GreyRange,
    covers_too_much,
)
from audit.prediction.variants import make_variant
from audit.randomness import generator_for

SHAPE = (100, 100)
LUNGS = np.zeros(SHAPE, bool)
LUNGS[20:80, 15:45] = LUNGS[20:80, 55:85] = True
RECORDS = [Record(id=str(k), path=Path(f"{k}.png"), label="a", patient=str(k)) for k in range(12)]


def radiograph(k: int) -> np.ndarray:
    """Return an image whose lungs have the mean 60 + 5 k and a standard deviation near 20."""
    noise = np.random.default_rng(k).normal(0, 20, SHAPE)
    return np.clip(60 + 5 * k + noise, 0, 255).astype(np.uint8)


def scene(*regions: TextRegion, lungs: np.ndarray | None = LUNGS) -> Scene:
    return Scene(
        image=radiograph(3),
        record=RECORDS[3],
        regions=regions,
        donors=DonorPool([]),
        lungs=lungs,
        background=lambda shape: np.full(shape, 80, np.uint8),
        leaves_range=GreyRange(RECORDS, 0, lambda r: radiograph(int(r.id))).leaves,
    )


@given(st.lists(st.tuples(*[st.integers(0, 99)] * 4), max_size=5), st.booleans())
@settings(max_examples=100, deadline=None)
def test_shares_are_those_of_a_plain_count(corners: list[tuple[int, int, int, int]], masked: bool) -> None:
    boxes = [(min(a, b), min(c, d), max(a, b) + 1, max(c, d) + 1) for a, b, c, d in corners]
    pixels = {(y, x) for x0, y0, x1, y1 in boxes for y in range(y0, y1) for x in range(x0, x1)}
    lungs = {(y, x) for y, x in zip(*np.nonzero(LUNGS), strict=True)}
    too_much = len(pixels) > MOST_TEXT_SHARE * 100 * 100
    too_much |= masked and len(pixels & lungs) > MOST_LUNG_SHARE * len(lungs)
    found = covers_too_much(boxes, scene(lungs=LUNGS if masked else None))
    assert (found is not None) == too_much


RIBS = TextRegion(x0=18, y0=22, x1=44, y1=44, text="")
LETTER = TextRegion(x0=2, y0=2, x1=12, y1=10, text="L")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("text-mask", {"fill": "inpaint"}),
        ("text-mask", {"fill": "black"}),
        ("placebo-mask", {"fill": "inpaint"}),
        ("marker-only", {"content": "text"}),
        ("marker-only", {"content": "elsewhere"}),
        ("paste-letters", {"source": "other-class"}),
        ("anatomy", {"part": "border", "keep": True}),
    ],
)
def test_boxes_over_ribs_are_no_text(name: str, parameters: dict[str, object]) -> None:
    made = make_perturbation(name, parameters)
    found = made.draw(scene(RIBS), generator_for(0))
    assert found == NotApplicable("boxes over text cover more than 10 % of the lungs")
    if name != "paste-letters":
        assert not isinstance(made.draw(scene(LETTER), generator_for(0)), NotApplicable)
    page = replace(RIBS, x0=0, y0=0, x1=100, y1=30)
    assert made.draw(scene(page, lungs=None), generator_for(0)) == NotApplicable(
        "boxes over text cover more than 25 % of the image"
    )


def test_a_placebo_spares_the_lungs_as_its_edit_must() -> None:
    word = TextRegion(x0=20, y0=1, x1=80, y1=12, text="A LONG WORD")  # elsewhere it would lie across both lungs
    placebo = make_perturbation("placebo-mask", {"fill": "black"})
    draws = [placebo.draw(scene(word), generator_for(s)) for s in range(30)]
    made = [d for d in draws if not isinstance(d, NotApplicable)]
    assert made
    for drawn in made:
        assert covers_too_much(drawn.boxes, scene()) is None


@pytest.mark.parametrize(
    ("lungs", "says"),
    [
        (radiograph(3), None),
        (radiograph(11), None),
        (np.minimum(radiograph(11).astype(int) + 8, 255).astype(np.uint8), None),  # within the slack
        (np.full(SHAPE, 250, np.uint8), "brighter"),
        (np.full(SHAPE, 3, np.uint8), "darker"),
        (np.full(SHAPE, 90, np.uint8), "less contrast"),
    ],
)
def test_lungs_must_stay_in_the_cohort_s_range(lungs: np.ndarray, says: str | None) -> None:
    image = radiograph(3)
    image[LUNGS] = lungs[LUNGS]
    found = scene().leaves_range(image, LUNGS)
    assert found is None if says is None else says in found.reason
    if says is not None:
        outside = radiograph(3)
        outside[~LUNGS] = 250
        assert scene().leaves_range(outside, LUNGS) is None, "only the lungs are looked at"


def test_the_range_is_what_was_measured() -> None:
    levels = [radiograph(k)[LUNGS].astype(float) for k in range(12)]
    top, spread = max(v.mean() for v in levels), min(v.std() for v in levels)
    grey = GreyRange([replace(r, lung_mask=None) for r in RECORDS], 0, lambda r: radiograph(int(r.id)))
    for beyond in (
        -1.5,
        1.5,
    ):  # the inner part stands for lungs without a mask: its means differ by a fraction of a level
        level = top + SLACK_LEVELS + beyond
        image = np.where(np.indices(SHAPE).sum(0) % 2, level - 20, level + 20).round().astype(np.uint8)
        assert (grey.leaves(image, None) is not None) == (beyond > 0)
    for share in (0.8, 1.25):
        half = share * LEAST_CONTRAST * spread
        image = np.where(np.indices(SHAPE).sum(0) % 2, 90 - half, 90 + half).round().astype(np.uint8)
        assert (grey.leaves(image, None) is not None) == (share < 1)
    few = GreyRange(RECORDS[: MIN_SAMPLE - 1], 0, lambda r: radiograph(0))
    assert few.leaves(np.full(SHAPE, 255, np.uint8), None) is None


class Whitening:
    """An edit that makes the whole image white."""

    name, version, needs, removes, adds, keeps = "whitening", 1, (), (), (), ()
    seamless, suspect = True, "white"

    def draw(self, scene: Scene, rng: np.random.Generator) -> int:
        return 255

    def apply(self, image: np.ndarray, drawn: int) -> np.ndarray:
        return np.full_like(image, drawn)


class Looking(Whitening):
    def check(self, scene: Scene, edited: np.ndarray) -> NotApplicable | None:
        assert scene.leaves_range is not None
        return scene.leaves_range(edited, scene.lungs)


def test_an_implausible_image_is_counted_and_not_predicted() -> None:
    condition = Condition(name="c", perturbation="whitening", role="stress", parameters={})

    def variant(perturbation: Perturbation) -> tuple[bool, str]:
        made = make_variant(scene(), condition, perturbation, 0, 0)
        return bool((made.image == 255).all()), made.why_not

    assert variant(Whitening()) == (True, "")
    assert variant(Looking()) == (False, "the edited lungs are brighter than any in the cohort")


@pytest.mark.parametrize("place", ["own", "elsewhere"])
def test_a_corner_word_is_not_the_border(place: str) -> None:
    """Whatever stands in the text's boxes, the kept border is the same; what stands beside them is kept as it is."""
    made = make_perturbation("anatomy", {"part": "border", "keep": True, "place": place})
    seen = scene(LETTER)
    edits = []
    for level in (0, 255):
        image = seen.image.copy()
        image[LETTER.y0 : LETTER.y1, LETTER.x0 : LETTER.x1] = level
        written = replace(seen, image=image)
        edits.append(made.apply(image, made.draw(written, generator_for(5))))
    assert np.array_equal(*edits), "no reader of the word can tell these two apart"
    boxes = text_boxes(seen.regions, SHAPE)
    kept = ~made.draw(seen, generator_for(5)).removed
    assert np.array_equal(edits[0][kept], without_text(seen.image, boxes)[kept])
    line = seen.image.copy()
    line[:, -1] = 255
    bordered = made.apply(line, made.draw(replace(seen, image=line), generator_for(5)))
    assert (bordered[:, -1] == 255).all() == (place == "own"), "a line along the border is the border"
