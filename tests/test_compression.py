"""JPEG compression: the quality is told from grey levels alone, and an image is encoded as a more compressed class is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from audit.perturbations import NotApplicable
from audit.perturbations.compression import UNCOMPRESSED, compressed, jpeg_quality
from audit.perturbations.shifts import CompressionShift, ShiftDraw, Stay

from .test_class_shift import GreyImage, chest, cohort, drawn_for


def large(number: int) -> GreyImage:
    fine = cv2.resize(chest(number), (256, 256), interpolation=cv2.INTER_CUBIC)
    return np.clip(fine + np.random.default_rng(number).normal(0, 2, fine.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("quality", [7, 20, 35, 60, 80, 90])
def test_the_quality_of_an_encoding_is_told_from_the_levels(quality: int) -> None:
    for number in range(3):
        for image in (chest(number), large(number)):
            assert jpeg_quality(compressed(image, quality)) == pytest.approx(quality, abs=2)


def test_other_edits_are_no_compression() -> None:
    for number in range(3):
        image = large(number)
        blurred = cv2.GaussianBlur(image, (0, 0), 2)
        gamma = np.rint(255 * (image / 255.0) ** 0.7).astype(np.uint8)
        coarse = (np.rint(image / 17) * 17).astype(np.uint8)
        framed = image.copy()
        framed[:, :80] = 90
        for other in (image, blurred, gamma, coarse, framed, np.full_like(image, 90), image[:7, :7]):
            assert jpeg_quality(np.ascontiguousarray(other)) == UNCOMPRESSED
        small = cv2.resize(compressed(image, 20), (200, 200), interpolation=cv2.INTER_AREA)
        assert jpeg_quality(small) == UNCOMPRESSED, "the grid is gone with the size, and nothing is claimed"


def test_the_coarsest_of_several_encodings_is_told_and_encoding_again_changes_little() -> None:
    image = compressed(compressed(large(1), 90), 15)
    assert jpeg_quality(image) == pytest.approx(15, abs=1)
    again = compressed(image, 15)
    assert np.abs(again.astype(int) - image).mean() < 0.2 * np.abs(image.astype(int) - large(1)).mean()


def test_colour_is_read_by_its_brightness() -> None:
    colour = np.stack([large(1), np.roll(large(2), 3, axis=0), large(3)], axis=-1)
    strong = compressed(colour, 20)
    assert strong.shape == colour.shape
    assert jpeg_quality(strong) == pytest.approx(20, abs=2)


def heavily(image: GreyImage) -> GreyImage:
    return compressed(image, 12)


def test_a_class_gets_the_compression_of_the_other_and_never_loses_its_own() -> None:
    images, found, records = cohort([heavily])
    for record in records[:12]:
        _, drawn = drawn_for(images, found, record, of="compression")
        if record.label == "b":
            assert drawn == NotApplicable("no class shows stronger JPEG compression")
            continue
        assert isinstance(drawn, ShiftDraw)
        assert isinstance(drawn.shift, CompressionShift)
        assert drawn.shift.quality == pytest.approx(12, abs=1)
        _, placebo = drawn_for(images, found, record, of="compression", towards="by-chance")
        assert placebo == ShiftDraw(shift=Stay()), "its own class is not compressed"


def test_where_no_class_is_compressed_nothing_is_said() -> None:
    images, found, records = cohort([])
    for towards in ("other-class", "by-chance"):
        _, drawn = drawn_for(images, found, records[0], of="compression", towards=towards)
        assert drawn == NotApplicable("no class shows stronger JPEG compression")


def test_a_share_of_a_class_is_given_to_the_same_share_of_the_other() -> None:
    """Half of class b is compressed: so is half of class a, and half of its placebos are not."""
    turns = iter(range(10_000))

    def every_other(image: GreyImage) -> GreyImage:
        return heavily(image) if next(turns) % 2 else image

    images, found, records = cohort([every_other])
    mine = [r for r in records if r.label == "a"]
    kinds = [type(drawn_for(images, found, r, of="compression")[1].shift) for r in mine]
    assert 0.3 < kinds.count(CompressionShift) / len(kinds) < 0.7
