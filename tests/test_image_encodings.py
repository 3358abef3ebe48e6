"""One picture in every encoding that the field produces; what is not understood is refused; what is declared is kept."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.uid import JPEG2000, DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from audit.data.images import look_at, pixel_hash
from audit.data.pixels import dicom_grey, dicom_steps, jpeg, levels, planes, raster
from audit.data.pixels.decoders import plugin_for
from audit.data.pixels.grey import oriented
from audit.data.pixels.limits import RefusedError
from audit.errors import ImageError
from audit.text.overlays import overlay_regions
from tests import image_encodings as made
from tests.image_streams import STREAMS

GREY = made.picture()
HEIGHT, WIDTH = GREY.shape
CASES = {e.name: e for e in made.encodings(GREY)}
HERE = Path("x")


def seen(data: bytes) -> np.ndarray:
    return look_at(data, HERE).pixels


def far(data: bytes, truth: np.ndarray) -> int:
    """Return the largest difference in grey levels."""
    found = seen(data)
    assert found.shape == truth.shape
    assert found.dtype == np.uint8
    return int(np.abs(found.astype(int) - truth).max())


@pytest.mark.parametrize("name", CASES)
def test_one_picture_has_one_pixel_hash(name: str) -> None:
    case = CASES[name]
    if case.tolerance == 0:
        assert pixel_hash(seen(case.data)) == pixel_hash(GREY)
    else:
        assert far(case.data, GREY) <= case.tolerance


def test_the_table_is_long_enough_and_its_files_differ() -> None:
    assert len([c for c in CASES.values() if c.tolerance == 0]) >= 90
    assert len({c.data for c in CASES.values()}) == len(CASES)


def test_real_radiographs_in_every_encoding(cxr_folder: Path) -> None:
    for path in sorted((cxr_folder / "images").iterdir())[::1003]:
        grey = made.full_range(np.asarray(Image.open(path).convert("L")))
        for case in made.encodings(grey):
            assert far(case.data, grey) <= case.tolerance, (path.name, case.name)


@pytest.mark.parametrize("name", STREAMS)
def test_compressions_of_radiography(name: str) -> None:
    """The pixels come back where a decoder is installed; where none is, the message says what to install."""
    number = list(STREAMS).index(name)
    syntax, grey, case = list(made.radiography_encodings())[number]
    _, bits, _, stream = STREAMS[name]
    try:
        plugin_for(syntax, eight_bits=bits <= 8)
    except RefusedError:
        with pytest.raises(ImageError, match=r"no decoder is installed. Run `pip install 'imageaudit\[dicom\]'`"):
            seen(case.data)
        return
    assert far(case.data, grey) <= case.tolerance
    pixels = grey if bits == 8 else grey.astype(np.uint16) * 16
    began = time.process_time()
    for share in (0.3, 0.6, 0.9, 0.97):
        for end in (b"\xff\xd9", b""):
            cut = stream[: int(share * len(stream))] + end
            with pytest.raises(ImageError, match=r"are incomplete|cannot be decoded"):
                seen(made.packed(pixels, syntax, cut, stored=bits))
    assert time.process_time() - began < 2, "no decoder may look for an end for seconds"


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "two frames": (lambda: made.dicom_file(GREY, NumberOfFrames=2), "2 frames; expected one image"),
    "two pages": (
        lambda: made.pillow(Image.fromarray(GREY[::4]), "TIFF", save_all=True, append_images=[Image.fromarray(GREY)]),
        "2 pages; expected one image",
    ),
    "animated png": (
        lambda: made.pillow(Image.fromarray(GREY), "PNG", save_all=True, append_images=[Image.fromarray(255 - GREY)]),
        "animated, with 2 frames",
    ),
    "animated webp": (
        lambda: made.pillow(
            Image.fromarray(np.dstack([GREY] * 3)),
            "WEBP",
            save_all=True,
            append_images=[Image.fromarray(np.dstack([255 - GREY] * 3))],
        ),
        "animated, with 2 frames",
    ),
    "transparent": (
        lambda: made.pillow(Image.fromarray(np.dstack([GREY, GREY, GREY, GREY * 0])), "PNG"),
        "fully transparent",
    ),
    "transparent, 16 bits": (
        lambda: made.png_file(
            (WIDTH, HEIGHT, 16, 4, 0), made.png_rows(np.dstack([GREY.astype(np.uint16), GREY.astype(np.uint16) * 0]))
        ),
        "fully transparent",
    ),
    "all padding": (lambda: made.dicom_file(np.full_like(GREY, 7), PixelPaddingValue=7), "only padding"),
    "HSV": (lambda: made.dicom_file(np.dstack([GREY] * 3), PhotometricInterpretation="HSV"), "'HSV'"),
    "two polarities": (
        lambda: made.dicom_file(GREY, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="IDENTITY"),
        "contradictory",
    ),
    "undefined window": (lambda: made.dicom_file(GREY, WindowCenter=0, WindowWidth=0), "undefined"),
    "half a window": (lambda: made.dicom_file(GREY, WindowCenter=5), "incomplete window"),
    "slope 0": (lambda: made.dicom_file(GREY, RescaleSlope=0), "RescaleSlope is 0"),
    "bits that contradict": (lambda: made.dicom_file(GREY, BitsStored=12, HighBit=11), "contradictory"),
    "more bits than stated": (
        lambda: made.dicom_file(GREY.astype(np.uint16) * 257, BitsStored=12, HighBit=11),
        "exceed the 12 bits that BitsStored states",
    ),
    "more bits than stated, signed": (
        lambda: made.dicom_file((GREY.astype(np.int32) * 250 - 30_000).astype(np.int16), BitsStored=12, HighBit=11),
        "exceed the 12 bits that BitsStored states",
    ),
    "more bits than stated, JPEG 2000": (
        lambda: made.packed(
            GREY.astype(np.uint16) * 257,
            JPEG2000Lossless,
            made.pillow(Image.fromarray(GREY.astype(np.uint16) * 257), "JPEG2000", irreversible=False, no_jp2=True),
            stored=12,
        ),
        "exceed the 12 bits that BitsStored states",
    ),
    "a Git LFS pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer.*`git lfs pull`"),
    "a web page": (lambda: b"\n<!doctype html><title>Quota exceeded</title>", "web page"),
    "what macOS notes of a file": (lambda: b"\0\5\x16\7\0\2\0\0Mac OS X        ", "AppleDouble"),
    "too few pixels": (lambda: made.dicom_file(GREY, PixelData=bytes(100)), "cannot be decoded"),
    "mixed presentation": (lambda: made.dicom_file(GREY, PixelPresentation="MIXED"), "mixed"),
    "not finite": (lambda: made.tiff_file(np.where(GREY > 9, np.nan, GREY).astype(np.float32)), "not finite"),
    "four colours without Adobe": (
        lambda: _without_adobe(made.pillow(Image.fromarray(np.dstack([GREY] * 3)).convert("CMYK"), "JPEG")),
        "negative",
    ),
    "half the rows of a png": (
        lambda: made.png_file((WIDTH, HEIGHT, 8, 0, 0), made.png_rows(GREY[:30])),
        "PNG data are incomplete",
    ),
    "png without end": (
        lambda: made.png_file((WIDTH, HEIGHT, 8, 0, 0), made.png_rows(GREY), end=False),
        "PNG data are incomplete",
    ),
    "progressive jpeg without its last scan": (lambda: _without_last_scan(), "JPEG data are incomplete"),
    "tiff whose strip lies outside": (lambda: made.tiff_file(GREY)[:-40], "TIFF data are incomplete"),
    "eps": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    "gif": (lambda: made.pillow(Image.fromarray(GREY), "GIF"), "not an image"),
    "half a jpeg in dicom": (
        lambda: made.packed(
            GREY, JPEGBaseline8Bit, made.pillow(Image.fromarray(GREY), "JPEG", quality=98)[:-900] + b"\xff\xd9"
        ),
        "JPEG data are incomplete",
    ),
}


@settings(max_examples=60, deadline=None)
@given(bits=st.integers(9, 14), seed=st.integers(0, 2**32), marked=st.booleans(), signed=st.booleans())
def test_marks_above_the_grey_levels_are_not_taken_for_grey_levels(
    bits: int, seed: int, marked: bool, signed: bool
) -> None:
    """A smooth picture that needs one bit more than its header states is refused; one with marks in that bit is not."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:60, 0:70]
    waves = np.sin(xx / rng.uniform(4, 20) + rng.uniform(0, 6)) + np.cos(yy / rng.uniform(4, 20))
    share = (waves - waves.min()) / np.ptp(waves)
    top = (1 << bits) - 1
    if marked:
        grey = np.rint(share * (top >> signed)).astype(np.uint16)
        y, x = rng.integers(0, 40, 2)
        grey[y : y + 9, x : x + 20] |= 1 << bits
        found = look_at(made.dicom_file(grey, BitsStored=bits, HighBit=bits - 1, PixelRepresentation=int(signed)), HERE)
        plain = made.dicom_file(grey & top, BitsStored=bits, HighBit=bits - 1, PixelRepresentation=int(signed))
        assert np.array_equal(found.pixels, seen(plain))
        return
    grey = np.rint(share * (2 * top)).astype(np.int32) - (top if signed else 0)
    data = made.dicom_file(grey.astype(np.int16 if signed else np.uint16), BitsStored=bits, HighBit=bits - 1)
    with pytest.raises(ImageError, match=f"exceed the {bits} bits"):
        seen(data)


def _without_adobe(data: bytes) -> bytes:
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


def _without_last_scan() -> bytes:
    data = made.pillow(Image.fromarray(GREY), "JPEG", progressive=True)
    return data[: data.rindex(b"\xff\xda")] + b"\xff\xd9"


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused_in_one_sentence(name: str) -> None:
    make, says = REFUSED[name]
    with pytest.raises(ImageError, match=says) as caught:
        seen(make())
    message = str(caught.value)
    assert message.startswith("Image x ")
    assert message.endswith(".")
    assert len(message) < 400


@pytest.fixture(scope="module", params=["warnings", "probes"])
def judge(request: pytest.FixtureRequest) -> Iterator[str]:
    """Judge the ends of JPEG streams by libjpeg-turbo's warnings, or by probes as where its wheel is missing."""
    if request.param == "warnings":
        pytest.importorskip("simplejpeg")
        yield request.param
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "simplejpeg", None)
        yield request.param


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.05, 0.999),
    st.sampled_from([{}, {"progressive": True}, {"restart_marker_blocks": 2}, {"optimize": True}, {"quality": 30}]),
    st.booleans(),
)
def test_a_jpeg_that_ends_early_is_refused_whatever_stands_behind_it(
    judge: str, share: float, options: dict[str, Any], colour: bool
) -> None:
    image = Image.fromarray(np.dstack([GREY, 255 - GREY, GREY]) if colour else GREY)
    whole = made.pillow(image, "JPEG", **options)
    expected = seen(whole)
    # The end marker and what fills the last byte belong to no pixel.
    cut = whole[: min(int(share * len(whole)), len(whole) - 4)]
    for end in (b"\xff\xd9", b""):
        try:
            found = seen(cut + end)
        except ImageError:
            continue
        assert np.array_equal(found, expected), "what is accepted is the whole picture"


def test_bytes_behind_and_before_the_end_marker_are_no_damage(judge: str) -> None:
    whole = made.pillow(Image.fromarray(GREY), "JPEG")
    for padded in (whole + b"\0" * 50, whole[:-2] + b"\0" * 9 + whole[-2:], whole[:-2] + b"\xff" * 5 + whole[-2:]):
        assert np.array_equal(seen(padded), seen(whole))


def test_restart_intervals_that_are_missing_are_counted() -> None:
    whole = made.pillow(Image.fromarray(GREY), "JPEG", restart_marker_blocks=5)
    header = jpeg.read_header(whole)
    assert not header.missing
    at = [k for k in range(len(whole) - 1) if whole[k] == 0xFF and 0xD0 <= whole[k + 1] <= 0xD7]
    assert len(at) > 4
    # The scan stops right before a restart marker: nothing is cut, for a decoder that only looks at bits.
    assert jpeg.read_header(whole[: at[-1]] + b"\xff\xd9").missing


@pytest.mark.parametrize("orientation", range(10))
def test_orientations_are_those_of_pillow(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = made.pillow(Image.fromarray(GREY), "PNG", exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        turned = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(seen(data), turned)
    assert np.array_equal(oriented(GREY, orientation), turned)
    assert (levels.TURNED in look_at(data, HERE).notes) == (2 <= orientation <= 8)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*" + b"\xff" * 40]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_data_leave_the_pixels_alone(kind: str, exif: bytes) -> None:
    image = Image.fromarray(np.dstack([GREY] * 3))
    options = {"JPEG": {"quality": 98}, "WEBP": {"lossless": True}}.get(kind, {})
    data = made.pillow(image, kind, exif=exif, **options)
    assert far(data, GREY) <= (4 if kind == "JPEG" else 0)


@pytest.mark.parametrize(("depth", "factor"), [(1, 255), (2, 85), (4, 17)])
def test_few_bits_are_spread(depth: int, factor: int) -> None:
    few = (GREY >> (8 - depth)).astype(np.uint8)
    rows = []
    for row in few:
        bits = ((row[:, None] >> np.arange(depth - 1, -1, -1)) & 1).ravel()
        rows.append(b"\0" + np.packbits(bits).tobytes())
    assert np.array_equal(seen(made.png_file((WIDTH, HEIGHT, depth, 0, 0), b"".join(rows))), few * factor)
    stored = made.dicom_file(few, stored=depth)
    assert np.array_equal(seen(stored), few * factor)


def test_one_bit_tiff_with_white_as_zero() -> None:
    for photometric, bits in (("minisblack", GREY > 99), ("miniswhite", GREY <= 99)):
        assert np.array_equal(seen(made.tiff_file(bits, photometric=photometric)), (GREY > 99) * np.uint8(255))


def test_transparency_is_laid_on_black_before_scaling() -> None:
    clear = np.zeros(GREY.shape, bool)
    clear[20:, :20] = True
    truth = np.where(clear, 0, GREY).astype(np.uint8)
    alpha = np.where(clear, 0, 65535).astype(np.uint16)
    wide = GREY.astype(np.uint16) * 257
    deep = made.png_file((WIDTH, HEIGHT, 16, 4, 0), made.png_rows(np.dstack([wide, alpha])))
    shallow = made.pillow(Image.fromarray(np.dstack([GREY, (alpha >> 8).astype(np.uint8)])), "PNG")
    for data in (deep, shallow, made.tiff_file(np.dstack([wide, alpha]), photometric="minisblack",
                                               extrasamples=["unassalpha"], planarconfig="contig")):  # fmt: skip
        found = look_at(data, HERE)
        assert np.array_equal(found.pixels, truth)
        assert levels.TRANSPARENT in found.notes
        assert found.facts.transparent_share == pytest.approx(clear.mean())


FRAMED = np.zeros_like(GREY)
FRAMED[:, 20:] = made.full_range(GREY[:, 20:])


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("offset", [0, -1000], ids=["unsigned", "signed"])
@pytest.mark.parametrize("window", [False, True])
@pytest.mark.parametrize("limit", [False, True])
@pytest.mark.parametrize("beyond", [False, True], ids=["below", "above"])
def test_padding_is_black_and_leaves_the_range_alone(
    photometric: str, offset: int, window: bool, limit: bool, beyond: bool
) -> None:
    body = FRAMED.astype(np.int32) * 10 + 100
    if photometric == "MONOCHROME1":
        body = 2650 + 100 - body
    border = 4000 if beyond else 20
    stored = body + offset
    stored[:, :20] = border + offset
    tags: dict[str, Any] = {"PhotometricInterpretation": photometric}
    if limit:
        stored[10:30, :20] = border + offset + 3
    if window:
        # Its ends are the ends of the picture: from 100 to 2650, or from 0 - 1000 on.
        tags |= {"WindowCenter": 1375.5 + offset, "WindowWidth": 2551}
    dataset = made.dicom_dataset(stored.astype(np.int16 if offset else np.uint16), **tags)
    for tag, value in ((0x00280120, border + offset), (0x00280121, border + offset + 3))[: 2 if limit else 1]:
        # Both types occur, whatever the sign of the pixels.
        dataset.add_new(tag, "US", value % 65536)
    found = look_at(made.write_dataset(dataset), HERE)
    assert np.array_equal(found.pixels, FRAMED)
    assert dicom_grey.PADDED in found.notes
    assert found.facts.padding == (border + offset, border + offset + (3 if limit else 0))


@settings(max_examples=80, deadline=None)
@given(
    center=st.floats(-50, 300),
    width=st.floats(1, 400),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    slope=st.sampled_from([1.0, -1.0, 0.5, 3.0]),
    inverted=st.booleans(),
)
def test_windows_are_those_of_the_standard(
    center: float, width: float, function: str, slope: float, inverted: bool
) -> None:
    center, width = round(center, 3), round(width, 3)
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    photometric = "MONOCHROME1" if inverted else "MONOCHROME2"
    data = made.dicom_file(values, WindowCenter=center, WindowWidth=width, VOILUTFunction=function, RescaleSlope=slope,
                           RescaleIntercept=5, PhotometricInterpretation=photometric)  # fmt: skip

    def one(value: int) -> int:
        x = value * slope + 5
        if function == "LINEAR":
            if x <= center - 0.5 - (width - 1) / 2:
                y = 0.0
            elif x > center - 0.5 + (width - 1) / 2:
                y = 255.0
            else:
                y = ((x - (center - 0.5)) / (width - 1) + 0.5) * 255
        elif function == "LINEAR_EXACT":
            y = (
                0.0
                if x <= center - width / 2
                else 255.0
                if x > center + width / 2
                else ((x - center) / width + 0.5) * 255
            )
        else:
            y = 255 / (1 + np.exp(min(700.0, -4 * (x - center) / width)))
        level = int(np.rint(y))
        return 255 - level if inverted else level

    expected = np.array([one(v) for v in range(256)]).reshape(16, 16)
    assert np.abs(seen(data).astype(int) - expected).max() <= 1
    assert (seen(data) == expected).mean() > 0.98, "halves may be rounded either way"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4095), min_size=4, max_size=60), st.integers(-20, 40), st.booleans())
def test_a_modality_table_is_that_of_pydicom(entries: list[int], first: int, signed: bool) -> None:
    first = first if signed else abs(first)
    values = np.arange(-32 if signed else 0, 68 if signed else 100).reshape(10, 10)
    dataset = made.dicom_dataset(values.astype(np.int16 if signed else np.uint16),
                                 ModalityLUTSequence=[made.table_item(np.array(entries), first=first)])  # fmt: skip
    expected = np.asarray(apply_modality_lut(values, dataset), float)
    if np.ptp(expected) == 0:
        return
    stretched = np.rint((expected - expected.min()) * (255 / np.ptp(expected)))
    assert np.array_equal(seen(made.write_dataset(dataset)), stretched)


def test_palette_segments_are_those_of_pydicom() -> None:
    words = [0, 3, 0, 5000, 9000, 1, 100, 65535, 0, 1, 7, 1, 152, 300]
    n = 3 + 100 + 1 + 152
    tags: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [n, 0, 16]
        tags[f"Segmented{colour}PaletteColorLookupTableData"] = np.array(words, "<u2").tobytes()
    data = made.dicom_file(GREY, **tags)
    expected = apply_color_lut(GREY, pydicom.dcmread(io.BytesIO(data)))[..., 0]
    assert np.abs(seen(data).astype(int) - expected / 257).max() <= 1
    for colour in ("Red", "Green", "Blue"):
        tags[f"Segmented{colour}PaletteColorLookupTableData"] = np.array([0, 1, 5, 2, 1, 0, 0], "<u2").tobytes()
    with pytest.raises(ImageError, match="invalid segments"):
        seen(made.dicom_file(GREY, **tags))


def _with_overlay(pixels: np.ndarray, bit: int | None, **tags: Any) -> pydicom.Dataset:
    dataset = made.dicom_dataset(pixels, **tags)
    given_ = [(0x10, "US", HEIGHT), (0x11, "US", WIDTH), (0x40, "CS", "G"), (0x50, "SS", [1, 1])]
    given_ += [(0x100, "US", 16 if bit else 1), (0x102, "US", bit or 0)]
    for element, vr, value in given_:
        dataset.add_new(0x60000000 + element, vr, value)
    return dataset


def test_overlays_in_the_high_bits_reach_the_finder(tmp_path: Path) -> None:
    letters = np.zeros(GREY.shape, bool)
    letters[10:18, 30:33] = letters[40:46, 60:70] = True
    wide = GREY.astype(np.uint16) * 16 | letters.astype(np.uint16) << 12
    path = tmp_path / "x.dcm"
    path.write_bytes(made.write_dataset(_with_overlay(wide, 12, stored=12)))
    regions = overlay_regions(path, GREY.shape)
    assert [(r.x0, r.y0, r.x1, r.y1) for r in regions] == [(30, 10, 33, 18), (60, 40, 70, 46)]
    found = look_at(path.read_bytes(), path)
    assert np.array_equal(found.pixels, GREY)
    assert found.facts.overlays == ("6000: bit 12 of the pixels",)
    assert found.notes == ()


def test_an_overlay_in_the_lowest_bit_below_the_grey_levels_is_read(tmp_path: Path) -> None:
    letters = np.zeros(GREY.shape, bool)
    letters[10:18, 30:33] = True
    dataset = made.dicom_dataset(GREY.astype(np.uint16) << 8 | letters, stored=12, HighBit=15)
    given_ = ((0x10, "US", HEIGHT), (0x11, "US", WIDTH), (0x50, "SS", [1, 1]), (0x100, "US", 16), (0x102, "US", 0))
    for element, vr, value in given_:
        dataset.add_new(0x60000000 + element, vr, value)
    path = tmp_path / "x.dcm"
    path.write_bytes(made.write_dataset(dataset))
    assert [(r.x0, r.y0, r.x1, r.y1) for r in overlay_regions(path, GREY.shape)] == [(30, 10, 33, 18)]
    assert np.array_equal(look_at(path.read_bytes(), path).pixels, GREY)


def test_overlays_in_high_bits_survive_lossless_packing(tmp_path: Path) -> None:
    letters = np.zeros(GREY.shape, bool)
    letters[10:18, 30:33] = True
    wide = GREY.astype(np.uint16) * 16 | letters.astype(np.uint16) << 13
    stream = made.pillow(Image.fromarray(wide), "JPEG2000", irreversible=False, no_jp2=True)
    path = tmp_path / "x.dcm"
    packed = _with_overlay(wide, 13, stored=12, syntax=JPEG2000Lossless,
                           PixelData=pydicom.encaps.encapsulate([stream]))  # fmt: skip
    path.write_bytes(made.write_dataset(packed))
    assert np.array_equal(look_at(path.read_bytes(), path).pixels, GREY)
    assert [(r.x0, r.y0, r.x1, r.y1) for r in overlay_regions(path, GREY.shape)] == [(30, 10, 33, 18)]


def test_overlays_that_cannot_be_read_are_noted(tmp_path: Path) -> None:
    wide = GREY.astype(np.uint16) * 16
    lost = made.write_dataset(_with_overlay(GREY, None))
    assert look_at(lost, HERE).notes == (planes.WITHOUT_DATA,)
    (tmp_path / "x.dcm").write_bytes(lost)
    assert overlay_regions(tmp_path / "x.dcm", GREY.shape) == ()
    stream = made.pillow(Image.fromarray(wide), "JPEG2000", irreversible=True, no_jp2=True)
    compressed = _with_overlay(wide, 12, stored=12, syntax=JPEG2000,
                               PixelData=pydicom.encaps.encapsulate([stream]))  # fmt: skip
    assert planes.UNREADABLE_BITS in look_at(made.write_dataset(compressed), HERE).notes
    undeclared = made.dicom_file(wide | 0x2000, stored=12)
    assert look_at(undeclared, HERE).notes == (planes.UNDECLARED,)


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (lambda: made.dicom_file(GREY, WindowCenter=[128, 9], WindowWidth=[256, 2]), dicom_steps.SEVERAL_WINDOWS),
        (lambda: made.dicom_file(255 - GREY, PresentationLUTShape="INVERSE"), dicom_steps.CONTRADICTING_PRESENTATION),
        (lambda: made.dicom_file(GREY, ShutterShape="RECTANGULAR"), dicom_grey.SHUTTER),
        (lambda: CASES["tiff with a marked thumbnail"].data, raster.THUMBNAILS),
        (lambda: CASES["tiff cmyk"].data, levels.CMYK),
        (lambda: CASES["dicom palette of 8 bits in 16"].data, dicom_grey.NARROW_PALETTE),
        (lambda: CASES["dicom table of values of interest, 16 bits"].data, dicom_steps.TABLE_BEFORE_WINDOW),
        (lambda: made.dicom_file(np.full_like(GREY, 9)), levels.CONSTANT),
    ],
)
def test_what_a_reader_should_know_is_noted(data: Callable[[], bytes], note: str) -> None:
    assert note in look_at(data(), HERE).notes


def test_ordinary_files_have_no_notes() -> None:
    for name in ("png 8", "jpeg", "png 16", "tiff 8", "bmp 8", "dicom 12", "dicom 8 full window"):
        assert look_at(CASES[name].data, HERE).notes == (), name


def test_colours_say_ycbcr_whatever_the_header_says() -> None:
    rgb = np.dstack([GREY, np.roll(GREY, 9, 1), 255 - GREY])
    truth = np.asarray(Image.fromarray(rgb).convert("L"))
    stream = made.pillow(Image.fromarray(rgb), "JPEG", quality=98, subsampling=0)
    for photometric in ("RGB", "YBR_FULL", "YBR_FULL_422"):
        data = made.packed(rgb, JPEGBaseline8Bit, stream, PhotometricInterpretation=photometric)
        assert far(data, truth) <= 6, photometric


def test_mutated_files_are_read_or_refused() -> None:
    """A longer run of the same: `python -m benchmarks.image_mutations`."""
    rng = np.random.default_rng(0)
    files = [case.data for case in CASES.values()]
    for number in range(300):
        data = bytearray(files[number % len(files)])
        for at in rng.integers(0, min(len(data), int(rng.choice([200, 900, len(data)]))), int(rng.integers(1, 9))):
            data[at] = rng.choice([0, 255, 128, int(rng.integers(256))])
        try:
            found = look_at(bytes(data[: rng.integers(9, len(data) + 1)] if number % 4 == 0 else data), HERE)
        except ImageError as error:
            assert len(str(error)) < 500
            assert str(error).isprintable()
        else:
            assert found.pixels.ndim == 2


def test_packed_pixels_must_be_of_the_size_that_the_header_says() -> None:
    for syntax, stream in (
        (JPEGBaseline8Bit, made.pillow(Image.fromarray(GREY), "JPEG")),
        (JPEG2000Lossless, made.pillow(Image.fromarray(GREY), "JPEG2000", no_jp2=True)),
    ):
        with pytest.raises(
            ImageError, match=rf"compressed pixels are {WIDTH} x {HEIGHT} with 1 samples, but its header"
        ):
            seen(made.packed(GREY[:-1], syntax, stream))


def test_deflated_and_run_length_bombs_are_refused_by_their_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.data.pixels.dicom.MAX_BYTES", 2000)
    with pytest.raises(ImageError, match="unpacks to more than 2,000 bytes"):
        seen(made.dicom_file(GREY, syntax=DeflatedExplicitVRLittleEndian))
    dataset = made.dicom_dataset(GREY)
    dataset.compress(RLELossless)
    dataset.Rows = dataset.Columns = 20_000
    with pytest.raises(ImageError, match="20000 x 20000 pixels; at most 70,000,000 are allowed"):
        seen(made.write_dataset(dataset))
