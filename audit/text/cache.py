"""Regions already found, keyed by the pixels and by everything that changes what is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.files import write_atomically
from audit.images import pixel_hash
from audit.records import TextRegion
from audit.results import to_json
from audit.text.detectors import TextDetector

# Raised whenever what an entry means changes; older entries are then never read.
CACHE_VERSION = 1


class RegionCache:
    """A folder with one small JSON file an image; several processes may share it.

    Parameters
    ----------
    folder : Path
        Where entries live; made when the first one is written.
    detector : TextDetector
        Asked only for images that are not in the folder yet.
    """

    def __init__(self, folder: Path, detector: TextDetector) -> None:
        self._detector = detector
        settings = to_json([CACHE_VERSION, detector.name, detector.version, detector.config()])
        self._folder = folder / f"{detector.name}-{hashlib.sha256(settings.encode()).hexdigest()[:16]}"
        self.hits = 0
        self.misses = 0

    def knows(self, image: NDArray[np.uint8]) -> bool:
        """Say whether the regions of one grey image (h, w) are in the folder."""
        return _read(self._path(pixel_hash(image))) is not None

    def find(self, image: NDArray[np.uint8]) -> Sequence[TextRegion]:
        """Return the regions of one grey image (h, w), from the folder or from the detector."""
        path = self._path(pixel_hash(image))
        known = _read(path)
        if known is not None:
            self.hits += 1
            return known
        self.misses += 1
        regions = tuple(self._detector.detect(image))
        write_atomically(path, to_json(regions).encode())
        return regions

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"


def _read(path: Path) -> tuple[TextRegion, ...] | None:
    """Return an entry, or None if there is none or it cannot be read (it is then found again)."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return tuple(TextRegion(**{**row, "polygon": tuple((x, y) for x, y in row["polygon"])}) for row in rows)
    except (OSError, ValueError, TypeError, KeyError):
        return None
