"""EasyOCR as text finder: CRAFT finds (Baek et al. 2019), a CRNN reads."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import warnings
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from audit.data.records import TextRegion
from audit.errors import TextError

# The thresholds as shipped (0.7, 0.4) miss about half of the markers on radiographs; these find more at equal precision.
TEXT_THRESHOLD = 0.4
LOW_TEXT = 0.3
LINK_THRESHOLD = 0.4
LONG_SIDE_PX = 768
# Beyond twice its size an image gains no information, only cost.
MAX_UPSCALE = 2.0
PAD_SHARE = 0.15
MIN_SIDE_PX = 6
# A quarter of the image is no marker; a title on a small image may well be a tenth.
MAX_AREA_SHARE = 0.25
_WEIGHTS = ("craft_mlt_25k.pth", "english_g2.pth")
_WEIGHTS_PACKAGE = "easyocr_en_models"


class EasyOcrFinder:
    """The reference engine, at a fixed working size and with thresholds tuned for radiographs.

    Raises
    ------
    TextError
        If EasyOCR's weights are neither in a package, nor on disk, nor can be downloaded.
    """

    name = "easyocr"
    looks_up = False
    about = "EasyOCR"

    def __init__(self) -> None:
        self._folder = weights_folder()
        self._reader: Any = None
        self.parts = _parts(self._folder)
        self.version = ", ".join(" ".join(part) for part in self.parts)

    def config(self) -> Mapping[str, Any]:
        """Return the settings that change what is found."""
        return {
            "text_threshold": TEXT_THRESHOLD,
            "low_text": LOW_TEXT,
            "link_threshold": LINK_THRESHOLD,
            "long_side_px": LONG_SIDE_PX,
            "max_upscale": MAX_UPSCALE,
            "pad_share": PAD_SHARE,
            "min_side_px": MIN_SIDE_PX,
            "max_area_share": MAX_AREA_SHARE,
        }

    def find(self, image: NDArray[np.uint8]) -> Sequence[TextRegion]:
        """Return the regions of one grey image (h, w), each with the string that was read."""
        if self._reader is None:
            self._reader = _open_reader(self._folder)
        scale = min(LONG_SIDE_PX / max(image.shape), MAX_UPSCALE)
        height, width = (max(32, round(side * scale)) for side in image.shape)
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        working = np.asarray(cv2.resize(image, (width, height), interpolation=how), dtype=np.uint8)
        horizontal, free = self._reader.detect(
            np.repeat(working[:, :, None], 3, axis=2),
            min_size=MIN_SIDE_PX,
            text_threshold=TEXT_THRESHOLD,
            low_text=LOW_TEXT,
            link_threshold=LINK_THRESHOLD,
            canvas_size=max(height, width),
            mag_ratio=1.0,
            add_margin=0.0,
        )
        regions = []
        for polygon in [*map(_corners, horizontal[0]), *(np.asarray(f, dtype=np.float64) for f in free[0])]:
            text, confidence = self._read(working, polygon)
            region = _region(polygon / (width / image.shape[1], height / image.shape[0]), image.shape, text, confidence)
            if region is not None:
                regions.append(region)
        return sorted(regions, key=lambda r: (r.y0, r.x0, r.y1, r.x1))

    def _read(self, working: NDArray[np.uint8], polygon: NDArray[np.float64]) -> tuple[str, float]:
        """Read one polygon (4, 2) of the working image; a little margin helps the reader."""
        margin = 0.2 * min(np.ptp(polygon[:, 0]), np.ptp(polygon[:, 1])) + 1
        x0, y0 = np.maximum(0, np.floor(polygon.min(axis=0) - margin)).astype(int)
        x1, y1 = np.minimum(working.shape[::-1], np.ceil(polygon.max(axis=0) + margin)).astype(int)
        if x1 - x0 < 3 or y1 - y0 < 3:
            return "", 0.0
        with warnings.catch_warnings():
            # EasyOCR's own data loader asks for pinned memory, which torch reports where there is no accelerator.
            warnings.filterwarnings("ignore", message=".*pin_memory.*", category=UserWarning)
            read = self._reader.recognize(np.ascontiguousarray(working[y0:y1, x0:x1]))
        return (str(read[0][1]), float(read[0][2])) if read else ("", 0.0)


def weights_folder() -> Path | None:
    """Find EasyOCR's English weights without the network; None means that a download is needed."""
    found = importlib.util.find_spec(_WEIGHTS_PACKAGE)
    candidates = [Path(p) for p in (found.submodule_search_locations or ())] if found is not None else []
    candidates += [folder / "models" for folder in candidates]
    module_path = os.environ.get("EASYOCR_MODULE_PATH") or os.environ.get("MODULE_PATH")
    candidates.append((Path(module_path) if module_path else Path.home() / ".EasyOCR") / "model")
    for folder in candidates:
        if all((folder / name).is_file() for name in _WEIGHTS):
            return folder
    return None


def _parts(folder: Path | None) -> tuple[tuple[str, str], ...]:
    digest = hashlib.sha256()
    if folder is not None:
        # Size and name stand for the content here: EasyOCR itself checks the MD5 of both files when it opens them.
        digest.update(repr([(name, (folder / name).stat().st_size) for name in _WEIGHTS]).encode())
    return ("easyocr", metadata.version("easyocr")), ("weights", digest.hexdigest()[:12])


def _open_reader(folder: Path | None) -> Any:
    import easyocr

    storage = {} if folder is None else {"model_storage_directory": str(folder), "user_network_directory": str(folder)}
    try:
        with warnings.catch_warnings():
            # torch's dynamic quantisation, which EasyOCR applies, is deprecated; nothing here can change its call.
            warnings.simplefilter("ignore")
            reader = easyocr.Reader(["en"], gpu=False, verbose=False, download_enabled=folder is None, **storage)
    except Exception as error:  # URLError, FileNotFoundError, a damaged file: each means that there are no weights
        raise TextError(
            f"EasyOCR's weights are missing: {error}. Install them with `pip install 'imageaudit[weights]'`, or let EasyOCR download "
            "them once with network access, or use hand-drawn boxes with --detector annotated --boxes FILE."
        ) from error
    # The same function in another order of the weights in memory: a fifth less time on a CPU.
    reader.detector.to(memory_format=torch.channels_last)
    return reader


def _corners(box: Sequence[float]) -> NDArray[np.float64]:
    """Turn EasyOCR's horizontal box [x0, x1, y0, y1] into corner points (4, 2)."""
    x0, x1, y0, y1 = (float(v) for v in box)
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def _region(polygon: NDArray[np.float64], shape: tuple[int, ...], text: str, confidence: float) -> TextRegion | None:
    """Pad the hull of a polygon by a share of its short side and clip it; None if it cannot be text."""
    height, width = shape[:2]
    pad = PAD_SHARE * min(np.ptp(polygon[:, 0]), np.ptp(polygon[:, 1]))
    x0, y0 = np.clip(np.floor(polygon.min(axis=0) - pad), 0, (width, height)).astype(int)
    x1, y1 = np.clip(np.ceil(polygon.max(axis=0) + pad), 0, (width, height)).astype(int)
    area_share = (x1 - x0) * (y1 - y0) / (height * width)
    if x1 - x0 < 2 or y1 - y0 < 2 or area_share > MAX_AREA_SHARE:
        return None
    return TextRegion(
        x0=int(x0),
        y0=int(y0),
        x1=int(x1),
        y1=int(y1),
        text=text,
        confidence=confidence,
        detector=EasyOcrFinder.name,
        polygon=tuple((float(x), float(y)) for x, y in polygon),
    )
