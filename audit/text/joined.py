"""A finder joined by hand-made boxes: what it misses, a person may add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.data.records import TextRegion
from audit.text.annotated import AnnotatedFinder
from audit.text.base import TextFinder
from audit.text.merging import merge_regions


class JoinedFinder:
    """What a finder finds, and the boxes of a file for the images that it lists.

    Parameters
    ----------
    finder : TextFinder
        Looks at every image.
    boxes : AnnotatedFinder
        Hand-made boxes; an image that the file does not list has none.
    """

    def __init__(self, finder: TextFinder, boxes: AnnotatedFinder) -> None:
        self._finder = finder
        self._boxes = boxes
        self.name = finder.name
        self.looks_up = finder.looks_up
        self.about = f"{finder.about}, and hand-drawn boxes"
        self.parts = (*finder.parts, *boxes.parts)
        self.version = f"{finder.version}, joined by boxes {boxes.version}"

    def config(self) -> Mapping[str, Any]:
        """Return the finder's settings."""
        return self._finder.config()

    def find(self, image: NDArray[np.uint8]) -> Sequence[TextRegion]:
        """Return the regions of one grey image (h, w)."""
        return merge_regions([*self._boxes.listed(image), *self._finder.find(image)])
