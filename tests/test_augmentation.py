from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.errors import UsageError
from audit.randomness import generator_for
from audit.training.augmentation import Augmentation, Movement, augment, draw, move

PAPER = Augmentation(rotation_deg=40, shift_share=28 / 224, flip_share=0.5)
STILL = {"angle_deg": 0.0, "right_px": 0, "down_px": 0, "flip": False}


def scan(side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (side, side), dtype=np.uint8)


@settings(max_examples=30, deadline=None)
@given(right=st.integers(-9, 9), down=st.integers(-9, 9), flip=st.booleans())
def test_flip_and_shift_are_exact(right: int, down: int, flip: bool) -> None:
    image = scan()
    expected = np.zeros_like(image)
    for y in range(32):
        for x in range(32):
            sy, sx = y - down, x - right
            if 0 <= sy < 32 and 0 <= sx < 32:
                expected[y, x] = image[sy, 31 - sx if flip else sx]
    moved = move(image, Movement(angle_deg=0.0, right_px=right, down_px=down, flip=flip))
    np.testing.assert_array_equal(moved, expected)


def test_quarter_turn_is_counter_clockwise() -> None:
    moved = move(scan(), Movement(**{**STILL, "angle_deg": 90.0}))
    np.testing.assert_array_equal(moved, np.rot90(scan()))


def test_rotation_keeps_the_centre_and_blackens_the_corners() -> None:
    image = np.full((33, 33), 200, dtype=np.uint8)
    moved = move(image, Movement(**{**STILL, "angle_deg": 40.0}))
    assert moved[16, 16] == 200 and moved[0, 0] == 0 and moved.dtype == np.uint8


def test_nothing_asked_nothing_done() -> None:
    image = scan()
    before = image.copy()
    np.testing.assert_array_equal(augment(image, Augmentation(), seed=0, epoch=1, record_id="r"), image)
    augment(image, PAPER, seed=0, epoch=1, record_id="r")
    np.testing.assert_array_equal(image, before)


def test_draws_fill_the_papers_range() -> None:
    draws = [draw(PAPER, (224, 224), generator_for(0, i)) for i in range(3000)]
    angles = np.array([d.angle_deg for d in draws])
    shifts = np.array([(d.right_px, d.down_px) for d in draws])
    assert -40 <= angles.min() < -39 and 39 < angles.max() <= 40 and abs(angles.mean()) < 1.5
    assert shifts.min() == -28 and shifts.max() == 28 and abs(shifts.mean()) < 1.0
    assert abs(np.mean([d.flip for d in draws]) - 0.5) < 0.03
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.06


def test_draw_depends_on_its_key_alone() -> None:
    key = {"seed": 1, "epoch": 2, "record_id": "a", "copy": 0}
    first = augment(scan(), PAPER, **key)
    augment(scan(), PAPER, seed=9, epoch=9, record_id="z")
    np.testing.assert_array_equal(augment(scan(), PAPER, **key), first)
    for change in ({"seed": 2}, {"epoch": 3}, {"record_id": "b"}, {"copy": 1}):
        assert not np.array_equal(augment(scan(), PAPER, **{**key, **change}), first), change


@pytest.mark.parametrize(
    "wrong", [{"rotation_deg": -1}, {"shift_share": 0.6}, {"flip_share": 1.2}, {"rotation_deg": float("nan")}]
)
def test_impossible_ranges_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Augmentation(**wrong)
