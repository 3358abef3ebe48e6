from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from audit.data.images import read_gray
from audit.data.manifests import load_cohort
from audit.data.records import TextRegion
from audit.errors import TextError, UnknownNameError
from audit.text.annotated import load_annotated
from audit.text.cache import RegionCache
from audit.text.find import find_regions
from audit.text.finders import DEFAULT_FINDER, FINDERS, make_finder


class Counting:
    name = "counting"
    version = "1"

    def __init__(self) -> None:
        self.asked = 0
        self.setting = 1

    def config(self) -> Mapping[str, Any]:
        return {"setting": self.setting}

    looks_up = False

    def find(self, image: np.ndarray) -> Sequence[TextRegion]:
        self.asked += 1
        return [TextRegion(x0=1, y0=2, x1=9, y1=8, text="\u2028</script>", confidence=0.5, polygon=((1, 2), (9, 8)))]


def test_cache_asks_once_for_equal_pixels_and_settings(tmp_path: Path) -> None:
    finder = Counting()
    image = np.zeros((20, 20), np.uint8)
    first = RegionCache(tmp_path, finder).find(image)
    again = RegionCache(tmp_path, finder)
    assert again.find(image.copy()) == first
    assert (again.hits, again.misses, finder.asked) == (1, 0, 1)
    RegionCache(tmp_path, finder).find(np.ones((20, 20), np.uint8))
    assert finder.asked == 2
    finder.setting = 2
    RegionCache(tmp_path, finder).find(image)
    assert finder.asked == 3


def test_damaged_entry_is_found_again(tmp_path: Path) -> None:
    finder = Counting()
    image = np.zeros((20, 20), np.uint8)
    first = RegionCache(tmp_path, finder).find(image)
    entry = next(tmp_path.rglob("*.json"))
    entry.write_text(entry.read_text()[:20])
    assert RegionCache(tmp_path, finder).find(image) == first
    assert finder.asked == 2


def test_errors_are_not_cached(tmp_path: Path) -> None:
    class Failing(Counting):
        looks_up = False

        def find(self, image: np.ndarray) -> Sequence[TextRegion]:
            raise TextError("no")

    with pytest.raises(TextError):
        RegionCache(tmp_path, Failing()).find(np.zeros((4, 4), np.uint8))
    assert not list(tmp_path.rglob("*.json"))


def test_annotated_boxes(write_cohort: Callable[..., Path]) -> None:
    manifest = write_cohort(2)
    finder = load_annotated(manifest.parent / "boxes.json")
    regions = finder.find(read_gray(manifest.parent / "images/covid-0.png"))
    assert [(r.text, r.x0, r.y1) for r in regions] == [("COVID", 4, 90)]
    with pytest.raises(TextError, match="no entry"):
        finder.find(np.zeros((5, 5), np.uint8))


def test_boxes_outside_the_image_are_cut(write_cohort: Callable[..., Path], tmp_path: Path) -> None:
    manifest = write_cohort(1)
    boxes = manifest.parent / "boxes.json"
    document = json.loads(boxes.read_text())
    document["images"]["images/normal-0.png"] = [
        {"x0": -5, "y0": -5, "x1": 500, "y1": 9},
        {"x0": 200, "y0": 3, "x1": 300, "y1": 9},
    ]
    boxes.write_text(json.dumps(document))
    cohort = load_cohort(manifest)
    found = find_regions(cohort.records, RegionCache(tmp_path / "c", load_annotated(boxes)), lambda: None).regions
    assert [(r.x0, r.y0, r.x1, r.y1) for r in found["images/normal-0.png"]] == [(0, 0, 96, 9)]


@pytest.mark.parametrize("content", ["[", "{}", '{"images": []}', '{"images": {"x.png": [{"x0": 1}]}}'])
def test_bad_box_files(tmp_path: Path, content: str) -> None:
    (tmp_path / "boxes.json").write_text(content)
    with pytest.raises(Exception, match=r"boxes|does not exist"):
        load_annotated(tmp_path / "boxes.json")


def test_finder_names() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'easyocr'"):
        make_finder("easyocrr")
    with pytest.raises(TextError, match="--boxes"):
        make_finder("annotated")
    assert set(FINDERS) == {"cascade", "rapidocr", "markers", "easyocr", "annotated"}
    assert DEFAULT_FINDER in FINDERS


def test_easyocr_finds_and_reads_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("easyocr_en_models", reason="EasyOCR's weights are the extra `weights`")
    image = np.full((160, 240), 60, np.uint8)
    cv2.putText(image, "SEDUTO", (20, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 235, 2, cv2.LINE_AA)
    regions = make_finder("easyocr").find(image)
    assert [r.text.upper() for r in regions] == ["SEDUTO"]
    rows, columns = np.nonzero(image > 100)
    found = regions[0]
    assert found.x0 <= columns.min() + 1
    assert found.x1 >= columns.max() - 1
    assert found.y0 <= rows.min() + 1
    assert found.y1 >= rows.max() - 1
    assert found.detector == "easyocr"


def test_missing_weights_are_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from audit.text import easyocr_finder

    monkeypatch.setattr(easyocr_finder, "_WEIGHTS_PACKAGE", "no_such_package")
    monkeypatch.setenv("EASYOCR_MODULE_PATH", str(tmp_path / "empty"))
    monkeypatch.setattr("easyocr.Reader", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    finder = make_finder("easyocr")
    with pytest.raises(TextError, match=r"weights are missing: no network.*imageaudit\[weights\].*annotated"):
        finder.find(np.zeros((40, 40), np.uint8))
