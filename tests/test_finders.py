"""The finders without EasyOCR: shapes, PP-OCR, their cascade; how regions merge, and how a finder is scored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from audit.data.records import TextRegion
from audit.errors import TextError
from audit.text.boxes import BoxedImage, read_boxes
from audit.text.cells import marked_in_cells
from audit.text.finders import make_finder
from audit.text.marks import find_marks
from audit.text.merging import covered_share, merge_regions
from audit.text.ppocr import PpOcr
from audit.text.scoring import score_finder
from audit.training.phantom.cohort import make_phantoms

from .conftest import Audit, one_paragraph

FINDERS = ("cascade", "rapidocr", "markers")
finder = cache(make_finder)  # loading the networks takes longer than the images here


def scan(side_px: int = 512) -> NDArray[np.uint8]:
    """Return a grey image: a soft gradient with noise, as between lung and mediastinum."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(40, 120, side_px)[None, :] + np.linspace(0, 30, side_px)[:, None]
    return np.clip(ramp + rng.normal(0, 3, (side_px, side_px)), 0, 255).astype(np.uint8)


@pytest.fixture
def shared_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the finders that ask one network about the same pixels share its answer; another test asks it twice."""
    monkeypatch.setattr(PpOcr, "probabilities", lambda _, working: _probabilities(working.shape, working.tobytes()))


_text_probable = PpOcr.probabilities


@lru_cache(maxsize=64)
def _probabilities(shape: tuple[int, int], pixels: bytes) -> NDArray[np.float32]:
    return _text_probable(_networks(), np.frombuffer(pixels, np.uint8).reshape(shape))


_networks = cache(PpOcr)


def stamp(image: NDArray[np.uint8], text: str, x: int, y: int, *, turns: int = 0, mirrored: bool = False) -> TextRegion:
    """Write a word on the image, turned and mirrored as lead markers lie; return its true box."""
    tile = np.zeros((60, 40 * len(text) + 20), np.uint8)
    cv2.putText(tile, text, (10, 46), cv2.FONT_HERSHEY_SIMPLEX, 1.4, 255, 5, cv2.LINE_AA)
    tile = np.rot90(tile[:, ::-1] if mirrored else tile, turns)
    h, w = tile.shape
    window = image[y : y + h, x : x + w].astype(np.float64)
    image[y : y + h, x : x + w] = np.maximum(window, tile / 255 * 235).astype(np.uint8)
    rows, columns = np.nonzero(tile > 128)
    return TextRegion(
        x0=x + int(columns.min()),
        y0=y + int(rows.min()),
        x1=x + int(columns.max()) + 1,
        y1=y + int(rows.max()) + 1,
        text=text,
    )


@pytest.mark.usefixtures("shared_network")
@pytest.mark.parametrize("name", FINDERS)
@pytest.mark.parametrize(
    ("text", "turns", "mirrored"),
    [("L", 0, False), ("R", 0, True), ("R", 1, False), ("L", 2, True), ("PORTABLE", 0, False), ("SEDUTO", 3, False)],
)
def test_markers_as_they_lie(name: str, text: str, turns: int, mirrored: bool) -> None:
    image = scan()
    box = stamp(image, text, 60, 40, turns=turns, mirrored=mirrored)
    drawn = image.copy()
    regions = finder(name).find(image)
    assert np.array_equal(image, drawn), "the image is not written to"
    assert covered_share_of_union(box, regions) >= 0.7
    outside = [r for r in regions if covered_share(r, [box.padded(25, (512, 512))]) < 0.5]
    assert outside == []
    assert found_on_an_empty_image(name) == [], "nothing is found where nothing is"


@cache
def found_on_an_empty_image(name: str) -> Sequence[TextRegion]:
    return finder(name).find(scan())


def covered_share_of_union(box: TextRegion, regions: Sequence[TextRegion]) -> float:
    inside = np.zeros((2000, 2000), bool)
    for r in regions:
        inside[r.y0 : r.y1, r.x0 : r.x1] = True
    return float(inside[box.y0 : box.y1, box.x0 : box.x1].mean())


@pytest.mark.usefixtures("shared_network")
@pytest.mark.parametrize("name", ["cascade", "rapidocr"])
@pytest.mark.parametrize("scale", [2.6, 3.4])
def test_words_larger_than_any_marker(name: str, scale: float) -> None:
    """A tenth of the image high, and more than a twentieth of it large: what covers so much is text if it can be read."""
    image = scan()
    cv2.putText(image, "SITIO", (20, 120), cv2.FONT_HERSHEY_SIMPLEX, scale, 245, 8, cv2.LINE_AA)
    rows, columns = np.nonzero(image > 200)
    box = TextRegion(x0=int(columns.min()), y0=int(rows.min()), x1=int(columns.max()) + 1, y1=int(rows.max()) + 1)
    regions = finder(name).find(image)
    assert covered_share_of_union(box, regions) >= 0.9
    assert [r.text for r in regions] == ["SITIO"]


@pytest.mark.parametrize("letter", ["L", "R", "A"])
@pytest.mark.parametrize(("share", "turns"), [(0.16, 0), (0.25, 1), (0.33, 0), (0.33, 2)])
def test_single_letters_up_to_a_third_of_the_image(letter: str, share: float, turns: int) -> None:
    image = scan()
    thick = round(share * 60)
    (_, unit), _ = cv2.getTextSize(letter, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)
    tile = np.zeros((240, 240), np.uint8)
    cv2.putText(tile, letter, (30, 210), cv2.FONT_HERSHEY_SIMPLEX, share * 512 / unit, 245, thick, cv2.LINE_AA)
    window = image[20:260, 20:260]
    window[:] = np.maximum(window, np.rot90(tile, turns))
    rows, columns = np.nonzero(image > 200)
    box = TextRegion(x0=int(columns.min()), y0=int(rows.min()), x1=int(columns.max()) + 1, y1=int(rows.max()) + 1)
    assert covered_share_of_union(box, finder("cascade").find(image)) >= 0.9


@pytest.mark.parametrize("thick", [3, -1])
def test_rings_and_discs_inside_the_lungs_are_no_text(thick: int) -> None:
    image = scan()
    cv2.circle(image, (250, 230), 12, 235, thick, cv2.LINE_AA)
    assert finder("cascade").find(image) == []


def test_what_is_read_does_not_depend_on_what_is_read_along_with_it() -> None:
    image = scan()
    boxes = [stamp(image, "R", 60, 40), stamp(image, "PORTABLE", 60, 140), stamp(image, "L", 400, 40)]
    crops = [image[b.y0 - 6 : b.y1 + 6, b.x0 - 6 : b.x1 + 6] for b in boxes]
    networks = PpOcr()
    together = networks.read(crops)
    assert [text for text, _ in together] == ["R", "PORTABLE", "L"]
    for crop, (text, sure) in zip(crops, together, strict=True):
        ((alone, also_sure),) = networks.read([crop])
        assert (alone, also_sure) == (text, pytest.approx(sure, abs=1e-4))


def test_letters_are_marked_in_cells_and_blots_are_not() -> None:
    image = scan()
    letter = stamp(image, "R", 60, 40)
    turned = stamp(image, "R", 200, 40, turns=1)
    cv2.circle(image, (400, 70), 16, 200, -1, cv2.LINE_AA)
    blot = TextRegion(x0=384, y0=54, x1=417, y1=87)
    empty = TextRegion(x0=200, y0=300, x1=230, y1=330)
    marked = marked_in_cells([letter, turned, blot, empty], image, PpOcr())
    assert min(marked[:2]) > 0.7 > 0.2 > max(marked[2:])
    assert marked_in_cells([], image, PpOcr()) == []
    edge = TextRegion(x0=0, y0=0, x1=3, y1=3)
    assert len(marked_in_cells([edge] * 11, image, PpOcr())) == 11, "a cell beyond the edge, and a second row of them"


@pytest.mark.usefixtures("shared_network")
@pytest.mark.parametrize("name", ["cascade", "rapidocr"])
def test_large_shapes_that_say_nothing_are_no_text(name: str) -> None:
    image = scan()
    for x in (150, 350):
        cv2.ellipse(image, (x, 256), (70, 160), 0, 0, 360, 15, -1, cv2.LINE_AA)
    cv2.rectangle(image, (30, 30), (250, 160), 245, 12)
    large = [r for r in finder(name).find(image) if (r.x1 - r.x0) * (r.y1 - r.y0) > 0.05 * image.size]
    assert large == []


def test_strings_are_read_upright_or_as_they_lie() -> None:
    image = scan()
    stamp(image, "PORTABLE", 60, 40)
    stamp(image, "R", 400, 400, mirrored=True)
    read = {r.text: r.kind for r in finder("cascade").find(image)}
    assert read["PORTABLE"] == "overlay"
    assert read["R"] == "lead_marker"


@pytest.mark.parametrize("name", FINDERS)
@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (60, 60), (33, 31)])
def test_images_of_any_size(name: str, shape: tuple[int, int]) -> None:
    for image in (np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)):
        assert finder(name).find(image) == []


@pytest.mark.parametrize("name", FINDERS)
def test_regions_lie_inside_and_are_the_same_again(name: str, tmp_path: Path) -> None:
    manifest = make_phantoms(tmp_path, task="classes", n_images=3, size_px=256, seed=3)
    fresh = make_finder(name)
    for path in sorted((manifest.parent / "images").iterdir()):
        image = np.asarray(Image.open(path))
        regions = finder(name).find(image)
        assert regions == fresh.find(image)
        for r in regions:
            assert 0 <= r.x0 < r.x1 <= image.shape[1]
            assert 0 <= r.y0 < r.y1 <= image.shape[0]
            assert r.detector in FINDERS


def test_marks_measure_what_they_say() -> None:
    image = np.full((1024, 1024), 50, np.uint8)
    image[100:130, 200:206] = 150
    image[124:130, 200:216] = 150
    (mark,) = find_marks(image)
    assert (mark.x0, mark.y0, mark.x1, mark.y1) == pytest.approx((200, 100, 216, 130), abs=1.01)
    assert mark.contrast == pytest.approx(100, abs=3)
    assert mark.sharpness > 0.9
    assert mark.stroke_share == pytest.approx(7 / 1024, rel=0.3)
    blurred = cv2.GaussianBlur(image, (0, 0), 6)
    assert all(m.sharpness < 0.3 for m in find_marks(blurred)), "an anatomical blob has no sharp edge"
    cv2.circle(image, (600, 600), 100, 255, -1)
    assert len(find_marks(image)) == 1, "what is larger than the disc is no mark"


boxes = st.builds(
    lambda x, y, w, h, c: TextRegion(x0=x, y0=y, x1=x + w, y1=y + h, confidence=c),
    st.integers(0, 50), st.integers(0, 50), st.integers(1, 30), st.integers(1, 30), st.floats(0, 1),
)  # fmt: skip


@given(st.lists(boxes, max_size=8))
def test_merging_covers_the_same_and_leaves_nothing_to_merge(regions: list[TextRegion]) -> None:
    merged = merge_regions(regions)
    assert merge_regions(merged) == merged
    assert merge_regions(regions[::-1]) == merged
    union, now = np.zeros((90, 90), bool), np.zeros((90, 90), bool)
    for r in regions:
        union[r.y0 : r.y1, r.x0 : r.x1] = True
    for r in merged:
        now[r.y0 : r.y1, r.x0 : r.x1] = True
    assert (now | ~union).all(), "nothing that was found is lost"
    assert len(merged) <= len(regions)


class Known:
    """Finds what it is told."""

    name, version = "known", "1"

    def __init__(self, found: Sequence[TextRegion]) -> None:
        self._found = found

    def config(self) -> Mapping[str, Any]:
        return {}

    looks_up = False

    def find(self, image: NDArray[np.uint8]) -> Sequence[TextRegion]:
        return self._found


def test_score_by_hand(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((100, 200), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.ones((100, 200), np.uint8)).save(tmp_path / "b.png")
    gold = [
        {"box": [0, 0, 20, 10], "kind": "overlay"},
        {"box": [100, 50, 110, 60], "kind": "lead_marker"},
        {"box": [150, 80, 160, 90], "kind": "ambiguous", "ignore": True},
    ]
    rows = [
        {"path": "a.png", "boxes": gold, "label": "covid", "source": "s"},
        {"path": "b.png", "boxes": [], "label": "normal", "source": "s"},
    ]
    (tmp_path / "boxes.json").write_text(json.dumps({"images": rows}))
    found = [
        TextRegion(x0=0, y0=0, x1=14, y1=10),  # 70 % of the first box
        TextRegion(x0=100, y0=50, x1=106, y1=60),  # 60 % of the second: not found, yet no false alarm
        TextRegion(x0=148, y0=78, x1=162, y1=92),  # the ambiguous one: neither
        TextRegion(x0=60, y0=60, x1=80, y1=80),  # nothing there
    ]
    score = score_finder(read_boxes(tmp_path / "boxes.json"), Known(found))
    by = {str(r.group): (r.n_found, r.n_boxes, r.recall) for r in score.recalls}
    assert by == {
        "all": (1, 2, 0.5),
        "kind=lead_marker": (0, 1, 0.0),
        "kind=overlay": (1, 1, 1.0),
        "label=covid": (1, 2, 0.5),
        "source=s": (1, 2, 0.5),
    }
    assert (score.fully_covered_share, score.clean_share) == (0.0, 0.0)
    # The second image has four regions too, and no text: five false ones in two images.
    assert score.false_regions_per_image == 2.5
    assert score.precision == 1 - 5 / 8
    nothing = score_finder((BoxedImage(path=tmp_path / "b.png", regions=()),), Known([]))
    assert (nothing.recalls[0].recall, nothing.clean_share, nothing.precision) == (None, 1.0, None)


def test_text_commands(audit: Audit, tmp_path: Path) -> None:
    image = scan()
    box = stamp(image, "PORTABLE", 60, 40)
    Image.fromarray(image).save(tmp_path / "a film.png")
    code, out, err = audit("text", "find", "a film.png", "--json")
    (document,) = json.loads(out)
    assert (code, err, document["path"]) == (0, "", "a film.png")
    (region,) = document["regions"]
    assert {"x0", "y0", "x1", "y1", "text", "confidence", "kind", "detector"} <= set(region)
    assert region["text"] == "PORTABLE"
    code, out, _ = audit("text", "find", "a film.png", "--detector", "markers")
    assert code == 0
    assert out.startswith("a film.png: ")
    gold = {"images": {"a film.png": [{"x0": box.x0, "y0": box.y0, "x1": box.x1, "y1": box.y1}]}}
    (tmp_path / "boxes.json").write_text(json.dumps(gold))
    code, out, _ = audit("text", "score", "--boxes", "boxes.json", "--json", "--out", "score.json")
    assert code == 0
    assert json.loads(out)["recalls"][0]["recall"] == 1.0
    assert json.loads(Path("score.json").read_text()) == json.loads(out)
    code, out, _ = audit("text", "score", "--boxes", "boxes.json", "--detector", "annotated")
    assert "1.000" in out
    for arguments, wanted, says in (
        (["find", "none.png"], 4, "none.png"),
        (["find", "boxes.json"], 4, "boxes.json"),
        (["find", "a film.png", "--detector", "markes"], 2, "Did you mean 'markers'"),
        (["score", "--boxes", "none.json"], 2, "none.json"),
        (["score", "--boxes", "a film.png"], 4, "expected form"),
    ):
        code, _, err = audit("text", *arguments)
        assert (code, says in one_paragraph(err)) == (wanted, True), err


def test_networks_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.text.ppocr.importlib.util.find_spec", lambda name: None)
    with pytest.raises(TextError, match=r"pip install 'rapidocr.*--detector easyocr"):
        PpOcr()
