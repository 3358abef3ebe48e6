from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from audit.data.images import pixel_hash, read_gray
from audit.errors import ImageError

PICTURE = (np.arange(48 * 64).reshape(48, 64) % 251).astype(np.uint8)


def test_png_is_read_to_the_bit(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    assert np.array_equal(read_gray(tmp_path / "a.png"), PICTURE)


def test_colour_is_luma_and_alpha_lies_on_black(tmp_path: Path) -> None:
    rgb = np.stack([PICTURE] * 3, axis=2)
    Image.fromarray(rgb).save(tmp_path / "rgb.png")
    assert np.array_equal(read_gray(tmp_path / "rgb.png"), PICTURE)
    rgba = np.dstack([rgb, np.full(PICTURE.shape, 255, np.uint8)])
    rgba[:10, :, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    seen = read_gray(tmp_path / "rgba.png")
    assert not seen[:10].any()
    assert np.array_equal(seen[10:], PICTURE[10:])


def test_palette_and_one_bit(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).convert("P").save(tmp_path / "p.png")
    assert read_gray(tmp_path / "p.png").shape == PICTURE.shape
    Image.fromarray(PICTURE > 100).save(tmp_path / "one.png")
    assert set(np.unique(read_gray(tmp_path / "one.png"))) == {0, 255}


def test_sixteen_bits_are_scaled_by_their_range(tmp_path: Path) -> None:
    wide = (PICTURE.astype(np.uint16) * 16 + 100).astype(np.uint16)
    Image.fromarray(wide).save(tmp_path / "w.png")
    seen = read_gray(tmp_path / "w.png")
    expected = np.rint((wide.astype(float) - wide.min()) * 255 / (wide.max() - wide.min()))
    assert np.array_equal(seen, expected.astype(np.uint8))
    Image.fromarray(np.full((8, 8), 700, np.uint16)).save(tmp_path / "flat.png")
    assert not read_gray(tmp_path / "flat.png").any()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.png", b"", "is empty"),
        ("text.png", b"this is not a picture at all\n" * 10, "is not an image"),
    ],
)
def test_what_is_no_image_says_so(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=says):
        read_gray(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageError, match="damaged"):
        read_gray(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        read_gray(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match="cannot be opened"):
        read_gray(tmp_path)


def test_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.data.images.MAX_PIXELS", 1000)
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="at most 1,000"):
        read_gray(tmp_path / "a.png")


def _dicom(path: Path, photometric: str) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = PICTURE.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PhotometricInterpretation = photometric
    dataset.PixelData = (PICTURE.astype(np.uint16) * 16).tobytes()
    dataset.save_as(path, enforce_file_format=True)


def test_dicom_and_its_inversion(tmp_path: Path) -> None:
    _dicom(tmp_path / "two", "MONOCHROME2")
    _dicom(tmp_path / "one", "MONOCHROME1")
    bright = read_gray(tmp_path / "two")
    assert np.array_equal(bright, np.rint(PICTURE * (255 / 250)).astype(np.uint8))
    assert np.array_equal(read_gray(tmp_path / "one"), 255 - bright)


def test_damaged_dicom(tmp_path: Path) -> None:
    _dicom(tmp_path / "d", "MONOCHROME2")
    (tmp_path / "d").write_bytes((tmp_path / "d").read_bytes()[:600])
    with pytest.raises(ImageError, match="DICOM"):
        read_gray(tmp_path / "d")


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_pixel_hash_tells_pixels_and_shape(image: np.ndarray) -> None:
    assert pixel_hash(image) == pixel_hash(np.asfortranarray(image))
    other = image.copy()
    other[0, 0] ^= 1
    assert pixel_hash(image) != pixel_hash(other)
    if image.shape[0] != image.shape[1]:
        assert pixel_hash(image) != pixel_hash(image.reshape(image.shape[::-1]))
