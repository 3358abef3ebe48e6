"""The outline of an object, and what is made of it: its removal, and the same shape elsewhere."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from audit.discovery.outline import as_boxes, outline
from audit.perturbations.fills import inpaint_all
from audit.perturbations.objects import elsewhere
from audit.perturbations.places import around, cover
from audit.randomness import generator_for
from audit.store.suspects import MOST_PARTS

Flags = NDArray[np.bool_]
SIDE = 160
OWN = (0, 0, 24, 24)


def tissue(number: int) -> NDArray[np.uint8]:
    """Draw a patient: shading of their own, ribs in their own places, and noise."""
    rng = generator_for("outline", number)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    shade = 90 + 40 * np.sin(2 * x + rng.uniform(0, 6)) + 30 * np.cos(3 * y + rng.uniform(0, 6))
    ribs = 12 * (np.sin(40 * (y + 0.3 * x) + rng.uniform(0, 6)) > 0.6)
    return np.clip(shade + ribs + rng.normal(0, 4, (SIDE, SIDE)), 0, 255).astype(np.uint8)


def metal(place: tuple[int, int]) -> Flags:
    """Draw a disc, and a lead that leaves it for the lower border: far longer than the disc is wide."""
    left, top = place
    shape = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(shape, (left + 12, top + 12), 9, 1, -1)
    cv2.polylines(shape, [np.array([(left + 12, top + 12), (left - 18, top + 40), (left - 14, top + 92)])], False, 1, 3)
    return np.asarray(shape > 0)


def cohort(n: int) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]], list[tuple[int, int]]]:
    """Return images with the metal, their twins without it, and where its template lies."""
    clean = [tissue(number) for number in range(n)]
    places = [tuple(int(v) for v in generator_for("place", k).integers(50, 58, size=2)) for k in range(n)]
    shown = [
        np.where(metal(p), np.clip(c.astype(int) + 90, 0, 255), c).astype(np.uint8)
        for c, p in zip(clean, places, strict=True)
    ]
    return shown, clean, places


def drawn(boxes: tuple[tuple[int, int, int, int], ...], place: tuple[int, int]) -> Flags:
    moved = [(a + place[0], b + place[1], c + place[0], d + place[1]) for a, b, c, d in boxes]
    return cover([(max(a, 0), max(b, 0), max(c, 0), max(d, 0)) for a, b, c, d in moved], (SIDE, SIDE))


def test_the_outline_is_the_object_and_little_else() -> None:
    shown, clean, places = cohort(24)
    found = outline(shown, places, [tissue(100 + k) for k in range(24)], OWN)
    for place in places:
        inside, true = drawn(found, place), metal(place)
        assert (inside & true).sum() >= 0.97 * true.sum(), "all of it, its lead too"
        assert inside.sum() <= 3 * true.sum(), "a box around it would be seven times as large"
    # Its removal brings the twin back: nearer than the box around it, which takes the patient with it.
    image, twin = shown[0].astype(int), clean[0].astype(int)
    left, top = places[0]
    boxes = tuple((a + left, b + top, c + left, d + top) for a, b, c, d in found)
    after, boxed = (inpaint_all(shown[0], b).astype(int) for b in (boxes, (around(boxes),)))
    there = metal(places[0])
    assert np.abs(after - twin)[there].mean() < 0.25 * np.abs(image - twin)[there].mean()
    assert np.abs(after - twin).sum() < 0.5 * np.abs(boxed - twin).sum()
    assert np.array_equal(after[~drawn(found, places[0])], image[~drawn(found, places[0])]), "the rest is untouched"


def test_where_nothing_stands_out_the_template_is_the_object() -> None:
    images = [tissue(number) for number in range(24)]
    assert outline(images[:12], [(60, 60)] * 12, images[12:], OWN) == (OWN,)


@given(arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))).filter(lambda shape: bool(shape.any())))
def test_boxes_cover_a_shape(shape: Flags) -> None:
    boxes = as_boxes(shape)
    assert 1 <= len(boxes) <= MOST_PARTS
    assert all(0 <= a < c <= shape.shape[1] and 0 <= b < d <= shape.shape[0] for a, b, c, d in boxes)
    assert cover(boxes, shape.shape)[shape].all()


def test_a_simple_shape_is_covered_exactly() -> None:
    shape = np.zeros((40, 40), np.bool_)
    shape[4:10, 6:30] = shape[10:36, 6:12] = True
    assert np.array_equal(cover(as_boxes(shape), shape.shape), shape)


@pytest.mark.parametrize("seed", range(6))
def test_the_placebo_has_the_objects_shape_and_none_of_its_places(seed: int) -> None:
    shown, _, places = cohort(24)
    left, top = places[0]
    found = outline(shown, places, [tissue(100 + k) for k in range(24)], OWN)
    boxes = tuple((a + left, b + top, c + left, d + top) for a, b, c, d in found)
    text = ((130, 4, 156, 14),)
    moved = elsewhere(shown[0], boxes, text, generator_for(seed))
    assert moved is not None
    assert moved == elsewhere(shown[0], boxes, text, generator_for(seed))
    taken = cover([*boxes, *text], (SIDE, SIDE))
    assert not (cover(moved, (SIDE, SIDE)) & taken).any()

    def cut(these: tuple[tuple[int, int, int, int], ...]) -> Flags:
        x0, y0, x1, y1 = around(these)
        return cover(these, (SIDE, SIDE))[y0:y1, x0:x1]

    assert any(np.array_equal(cut(moved), shape) for shape in (cut(boxes), cut(boxes)[:, ::-1]))


def test_without_room_there_is_no_placebo() -> None:
    image = tissue(0)
    assert elsewhere(image, ((0, 0, SIDE, SIDE // 2 + 1),), (), generator_for(0)) is None
