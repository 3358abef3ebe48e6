"""`audit look`; files that are no files; sizes that are only claimed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from audit.data.images import read_gray
from audit.errors import ImageError
from audit.text.overlays import overlay_regions
from tests import image_encodings as made
from tests.conftest import Audit, one_paragraph

GREY = made.picture()


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Path]:
    """Return a 12-bit DICOM file, its PNG copy, and a file that is no image."""
    paths = {name: tmp_path / name for name in ("a.dcm", "a.png", "bad.png")}
    paths["a.dcm"].write_bytes(
        made.dicom_file(GREY.astype(np.uint16) * 16, stored=12, WindowCenter=2055.5, WindowWidth=4081)
    )
    Image.fromarray(GREY).save(paths["a.png"])
    paths["bad.png"].write_bytes(b"no image at all" * 20)
    return paths


def test_json_lists_facts_notes_picture_and_error(audit: Audit, images: dict[str, Path], tmp_path: Path) -> None:
    code, out, err = audit("look", *images.values(), "--json", "--out", tmp_path / "seen")
    assert (code, err) == (4, "")
    found = json.loads(out)
    assert [set(f) for f in found] == [{"path", "height", "width", "facts", "notes", "png", "error"}] * 3
    dicom, png, bad = found
    assert [f["path"] for f in found] == [str(p) for p in images.values()]
    assert (dicom["height"], dicom["width"]) == GREY.shape
    assert dicom["facts"]["depth"] == 12
    assert dicom["facts"]["photometric_interpretation"] == "MONOCHROME2"
    assert dicom["facts"]["window"] == "centre 2055.5, width 4081, LINEAR"
    assert dicom["facts"]["decoder"] == "pydicom"
    assert {"padding", "orientation", "transfer_syntax"} <= set(dicom["facts"])
    assert (bad["height"], bad["width"], bad["facts"], bad["notes"], bad["png"]) == (None, None, {}, [], None)
    assert "is not an image" in bad["error"]
    assert dicom["png"] != png["png"]
    with Image.open(png["png"]) as picture:
        assert np.array_equal(np.asarray(picture), GREY)
    with Image.open(dicom["png"]) as picture:
        assert np.array_equal(np.asarray(picture), read_gray(images["a.dcm"]))
    code, out, _ = audit("look", images["a.png"], "--json")
    assert code == 0
    assert json.loads(out)[0]["png"] is None


def test_terminal_shows_facts_and_refusals(audit: Audit, images: dict[str, Path], tmp_path: Path) -> None:
    code, out, err = audit("look", *images.values(), "--out", tmp_path / "seen")
    assert code == 4
    assert "centre 2055.5, width 4081, LINEAR" in out
    assert f"{GREY.shape[1]} x {GREY.shape[0]} pixels" in out
    assert out.count("picture: ") == 2
    assert "bad.png is not an image" in one_paragraph(err)


def test_names_of_images_neither_collide_nor_command_the_terminal(audit: Audit, tmp_path: Path) -> None:
    names = ["x\x1b[31m\u202ey.png", "x--31m-y.png", "X\x1b[31m y.png"]
    (tmp_path / "in").mkdir()
    for name in names:
        Image.fromarray(GREY).save(tmp_path / "in" / name)
    paths = [tmp_path / "in" / name for name in names]
    code, out, _ = audit("look", *paths, "--json", "--out", tmp_path / "in")
    assert (code, out.isascii()) == (0, True)
    assert len({f["png"].casefold() for f in json.loads(out)}) == 3
    assert all(np.array_equal(read_gray(path), GREY) for path in paths), "no image was overwritten"
    _, out, _ = audit("look", *paths)
    assert not {"\x1b", "\u202e"} & set(out)
    code, _, err = audit("look", tmp_path / ("a" * 5000))
    assert code == 4
    assert len(one_paragraph(err)) < 500
    with pytest.raises(ImageError, match="cannot be opened: its name is not valid"):
        read_gray(Path("nul\0byte.png"))


def test_looking_never_loads_torch(images: dict[str, Path]) -> None:
    program = (
        "import sys\nfrom audit.cli.main import app\n"
        f"try:\n    app(['look', {str(images['a.dcm'])!r}, '--json'])\nexcept SystemExit:\n    pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    refused = []

    def read() -> None:
        for path in (tmp_path / "pipe.png", Path("/dev/zero")):
            with pytest.raises(ImageError, match="a pipe or a device"):
                read_gray(path)
            with pytest.raises(ImageError, match="a pipe or a device"):
                overlay_regions(path, (9, 9))
            refused.append(path)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(20)
    assert len(refused) == 2, "a reader that waits for a writer waits for ever"


def test_files_over_the_limit_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate(600_000_000)
    with pytest.raises(ImageError, match="600,000,000 bytes; at most 500,000,000"):
        read_gray(tmp_path / "x.png")


_PEAK = """
import sys
from pathlib import Path
from audit.errors import ImageError
from audit.data.images import read_gray
import pydicom.pixels
def peak():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM")) // 1024
before = peak()
try:
    read_gray(Path(sys.argv[1]))
    said = "read"
except ImageError as error:
    said = str(error)
print(peak() - before, said)
"""


def _codestream_of(width: int) -> bytes:
    stream = bytearray(made.pillow(Image.fromarray(GREY), "JPEG2000", no_jp2=True))
    stream[8:16] = width.to_bytes(4, "big") * 2
    return bytes(stream)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("run length", "at most 70,000,000 are allowed"),
        ("png", "at most 70,000,000 are allowed"),
        ("png of half a gigapixel", "at most 70,000,000 are allowed"),
        ("rows without end", "PNG data are incomplete|truncated"),
        ("codestream", "compressed pixels are 60000 x 60000"),
        ("deflate", "unpacks to more than"),
        ("overlay", "read"),
    ],
)
def test_claims_are_refused_before_anything_of_their_size_is_allocated(name: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(_bomb(name))
    done = subprocess.run([sys.executable, "-c", _PEAK, path], capture_output=True, text=True, check=True)
    megabytes, said = done.stdout.split(" ", 1)
    assert any(part in said for part in says.split("|")), said
    assert int(megabytes) < 150, said


def _bomb(name: str) -> bytes:
    if name == "run length":
        dataset = made.dicom_dataset(GREY)
        dataset.compress(RLELossless)
        dataset.Rows = dataset.Columns = 20_000
        return made.write_dataset(dataset)
    if name == "png":
        return made.png_file((9_500, 9_500, 8, 0, 0), bytes(1000))
    if name == "png of half a gigapixel":
        return made.png_file((60_000, 60_000, 8, 0, 0), bytes(1000))
    if name == "rows without end":
        return made.png_file((8_000, 8_000, 8, 0, 0), bytes(1000))
    if name == "codestream":
        return made.packed(GREY, JPEG2000Lossless, _codestream_of(60_000))
    if name == "deflate":
        import zlib

        small = made.dicom_file(GREY, syntax=DeflatedExplicitVRLittleEndian)
        start = 144 + int.from_bytes(small[140:144], "little")
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return small[:start] + b"".join(packer.compress(bytes(1 << 20)) for _ in range(600)) + packer.flush()
    dataset = made.dicom_dataset(GREY)
    for element, vr, value in (
        (0x10, "US", 65535),
        (0x11, "US", 65535),
        (0x50, "SS", [1, 1]),
        (0x3000, "OW", bytes(99)),
    ):
        dataset.add_new(0x60000000 + element, vr, value)
    return made.write_dataset(dataset)
