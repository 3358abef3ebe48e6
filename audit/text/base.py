"""What a text finder is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audit.data.records import TextRegion


class TextFinder(Protocol):
    """Finds burned-in text in one image; equal pixels give equal regions."""

    @property
    def name(self) -> str:
        """Name that every result carries."""
        ...

    @property
    def version(self) -> str:
        """Library and weights: whatever changes the output without changing the configuration."""
        ...

    @property
    def looks_up(self) -> bool:
        """Whether it knows images by their pixels instead of looking at them, so that it is asked once for each."""
        ...

    @property
    def about(self) -> str:
        """What it is, for the report's methods: "EasyOCR"."""
        ...

    @property
    def parts(self) -> Sequence[tuple[str, str]]:
        """(name, version) of what it is made of, itself first; `version` holds all of them."""
        ...

    def config(self) -> Mapping[str, Any]:
        """Return everything that changes the output, in JSON's types."""
        ...

    def find(self, image: NDArray[np.uint8]) -> Sequence[TextRegion]:
        """Return the regions of one grey image (h, w), in its own pixels."""
        ...
