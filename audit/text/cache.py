"""Regions already found, keyed by the pixels and by everything that changes what is found."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.data.images import StoredImage, pixel_hash
from audit.data.records import TextRegion
from audit.files import write_atomically
from audit.store.documents import read_json
from audit.store.serialise import to_json
from audit.store.typed import typed
from audit.text.base import TextFinder
from audit.text.planes import text_planes

# Raised whenever what an entry means changes; older entries are then never read.
CACHE_VERSION = 1
# A finder's entries take a few hundred bytes an image; beyond this the ones unused longest go.
MAX_BYTES = 256 * 1024 * 1024
_TIDY_EVERY = 2_000


class RegionCache:
    """A folder with one small JSON file an image; several processes may share it.

    Parameters
    ----------
    folder : Path or None
        Where entries live, made when the first one is written; with None nothing is kept.
    finder : TextFinder
        Asked only for images that are not in the folder yet.
    max_bytes : int
        How large the folder may grow, over all finders; checked at the start and every few thousand images.
    keep : callable
        Writes a new entry, (path, content); a process that works for another one sends it there instead.
    """

    def __init__(
        self,
        folder: Path | None,
        finder: TextFinder,
        *,
        max_bytes: int = MAX_BYTES,
        keep: Callable[[Path, bytes], None] = write_atomically,
    ) -> None:
        self._finder = finder
        self._keep = keep
        self._root = folder
        self._max_bytes = max_bytes
        settings = to_json([CACHE_VERSION, finder.name, finder.version, finder.config()])
        key = f"{finder.name}-{hashlib.sha256(settings.encode()).hexdigest()[:16]}"
        self._folder = None if folder is None else folder / key
        self.hits = 0
        self.misses = 0
        self._tidy()

    @property
    def finder_name(self) -> str:
        """Name of the finder behind it."""
        return self._finder.name

    @property
    def looks_up(self) -> bool:
        """Whether the finder knows images by their pixels instead of looking at them."""
        return self._finder.looks_up

    def knows(self, image: StoredImage) -> bool:
        """Say whether the regions of one image, (h, w) or (h, w, 3), are in the folder."""
        paths = [self._path(plane) for plane in (text_planes(image)[:1] if self.looks_up else text_planes(image))]
        return all(path is not None and _read(path) is not None for path in paths)

    def find(self, image: NDArray[np.uint8]) -> Sequence[TextRegion]:
        """Return the regions of one grey image (h, w), from the folder or from the finder."""
        path = self._path(image)
        known = None if path is None else _read(path)
        if path is not None and known is not None:
            self.hits += 1
            with suppress(OSError):  # used just now; another process may have tidied it away meanwhile
                os.utime(path)
            return known
        self.misses += 1
        regions = tuple(self._finder.find(image))
        if path is not None:
            self._keep(path, to_json(regions).encode())
        if self.misses % _TIDY_EVERY == 0:
            self._tidy()
        return regions

    def _tidy(self) -> None:
        """Remove the entries that were unused longest until the folder is a tenth below its size."""
        if self._root is None:
            return
        entries = []
        for path in self._root.glob("*/??/*.json"):
            with suppress(OSError):
                status = path.stat()
                entries.append((status.st_mtime_ns, status.st_size, path))
        size = sum(entry[1] for entry in entries)
        if size <= self._max_bytes:
            return
        for _, bytes_, path in sorted(entries, key=lambda entry: entry[0]):
            path.unlink(missing_ok=True)
            size -= bytes_
            if size <= 0.9 * self._max_bytes:
                return

    def _path(self, image: NDArray[np.uint8]) -> Path | None:
        if self._folder is None:
            return None
        key = pixel_hash(image)
        return self._folder / key[:2] / f"{key}.json"


def _read(path: Path) -> tuple[TextRegion, ...] | None:
    """Return an entry, or None if there is none or it cannot be read (it is then found again)."""
    try:
        return typed(read_json(path), tuple[TextRegion, ...])
    except (OSError, ValueError):
        return None
