"""Frames and aspect ratios are taken on the way in which the groups differ: what was planted is known, so the edited image is too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from audit.data.records import Record
from audit.perturbations.frames import Frame, find_frame
from audit.perturbations.framing import Framing, framed, thumbnail
from audit.perturbations.properties import GroupProperties

GreyImage = NDArray[np.uint8]
SIDE = 96
NONE = Frame(shares=(0.0,) * 4, levels=(0,), aspect=1.0)
BLACK = Frame(shares=(0.0625,) * 4, levels=(0,), aspect=1.0)


def chest(number: int) -> GreyImage:
    """Two dark lungs in a bright body, nearly where those of other patients are, up to the border."""
    rng = np.random.default_rng(number)
    yy, xx = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    lungs = np.exp(-((np.abs(xx) - rng.normal(0.4, 0.02)) ** 2 / 0.03 + (yy - rng.normal(0, 0.02)) ** 2 / 0.2))
    return np.clip(150 + 30 * xx - 90 * lungs + rng.normal(0, 5, (SIDE, SIDE)), 30, 255).astype(np.uint8)


def collimated(image: GreyImage) -> GreyImage:
    return framed(image, BLACK, Framing(frame="covers"))


def padded(image: GreyImage) -> GreyImage:
    return framed(image, BLACK, Framing(frame="surrounds"))


def without_rows(image: GreyImage) -> GreyImage:
    return image[8:-8]


def without_columns(image: GreyImage) -> GreyImage:
    return image[:, 8:-8]


def of_classes(plant) -> GroupProperties:  # type: ignore[no-untyped-def]
    images = {f"r{n}": plant(chest(n)) if n % 2 else chest(n) for n in range(40)}
    records = [
        Record(id=name, path=Path("none.png"), label="ab"[int(name[1:]) % 2], patient=name, source="s")
        for name in images
    ]
    return GroupProperties(records, {r.id: () for r in records}, 1, lambda r: images[r.id])


@pytest.mark.parametrize(
    ("plant", "part", "way"),
    [
        (collimated, "frame", "covers"),
        (padded, "frame", "surrounds"),
        (without_rows, "side", "height"),
        (without_columns, "side", "width"),
    ],
)
def test_the_anatomy_tells_how_frames_are_taken_on(plant, part: str, way: str) -> None:  # type: ignore[no-untyped-def]
    found = of_classes(plant)
    assert getattr(found.framing(("a",), ("b",)), part) == way
    assert found.framing(("b",), ("a",)) == found.framing(("a",), ("b",)), "the same in both directions"


def test_a_frame_covers_or_surrounds_the_image() -> None:
    image = chest(1)
    over, around = collimated(image), padded(image)
    inside = (slice(6, -6), slice(6, -6))
    assert np.array_equal(over[inside], image[inside])
    assert not np.array_equal(around[inside], image[inside])
    for made in (over, around):
        assert find_frame(made).shares == pytest.approx(BLACK.shares)
        outside = np.ones(image.shape, dtype=np.bool_)
        outside[inside] = False
        assert not made[outside].any()
    off = framed(over, NONE, Framing(frame="covers"))
    assert np.array_equal(off[inside], image[inside])
    assert off.min() >= 30, "the nearest pixels continue where the frame was"


def test_a_bright_line_lies_on_a_black_frame() -> None:
    image = collimated(chest(1))
    line = Frame(shares=(1 / SIDE,) * 4, levels=(200,), aspect=1.0)
    made = framed(image, line, Framing())
    assert np.array_equal(made[1:-1, 1:-1], image[1:-1, 1:-1])
    assert set(made[0].tolist()) == {200}
    found = find_frame(made)
    assert (found.shares, found.levels) == (pytest.approx(line.shares), (200,)), "the black behind it is no part of it"


def test_rows_and_columns_are_cut_or_continued() -> None:
    """To be 1.25 times as high, an image gets an eighth of its rows at either end, or loses a tenth of its columns."""
    image, tall = chest(2), Frame(shares=NONE.shares, levels=(0,), aspect=1.25)
    rows = framed(image, tall, Framing(side="height"))
    columns = framed(image, tall, Framing(side="width"))
    assert rows.shape == columns.shape == image.shape
    top = round(SIDE / 8 * SIDE / (SIDE + 2 * round(SIDE / 8)))
    assert np.ptp(rows[: top - 1].astype(int), axis=0).max() == 0, "the first row is continued"
    wide = framed(image, Frame(shares=NONE.shares, levels=(0,), aspect=0.8), Framing(side="height"))
    cut = image[round(SIDE * 0.1) : SIDE - round(SIDE * 0.1)]
    assert (
        np.array_equal(thumbnail(wide), thumbnail(cut))
        or np.abs(thumbnail(wide).astype(int) - thumbnail(cut)).mean() < 2
    )
