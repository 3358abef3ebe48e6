"""What was computed again of a finished run, and whether it was the same: `recomputed.json`, written by `audit verify --recompute`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import ClassVar, Literal

from audit.store.typed import Document, RunDocument

Part = Literal["text regions", "edits", "predictions", "relevance maps"]
MOST_DIFFERENCES = 200
"""Differences that are kept, at most; all are counted."""


class Difference(Document, frozen=True, kw_only=True):
    """One value that is not what the run stored."""

    part: Part
    """What it belongs to."""
    image: str
    """Pseudonym of the image."""
    condition: str
    """Condition; `clean` for text regions and relevance maps, which are of the unedited image."""
    draw: int
    """Number of the draw."""
    field: str
    """Which value: a column of the run's table, or a map."""
    stored: str
    """What the run holds."""
    found: str
    """What was computed now."""


class RecomputedPart(Document, frozen=True, kw_only=True):
    """One kind of results."""

    part: Part
    """What was computed again."""
    n_compared: int
    """How many were compared."""
    n_stored: int
    """How many the run holds."""
    n_different: int
    """How many of the compared differ."""
    why_not: str = ""
    """Why none was compared; empty where some were, or the run holds none."""


class Recomputation(RunDocument, frozen=True, kw_only=True):
    """The last time that a share of a run was computed again from manifest and model."""

    FILE: ClassVar[str] = "recomputed.json"

    finished: str
    """Time of the end, in UTC."""
    evidence: str
    """SHA-256 over the hashes of the run's files, its judgement left out: the result holds for these files only."""
    share: float
    """Share of the images that was asked for."""
    seed: int
    """Seed that the images were drawn with."""
    images: tuple[str, ...]
    """Pseudonyms of the images that were computed again."""
    n_images: int
    """Images of the run."""
    exact: bool
    """Whether every bit had to be the same: device, back end and packages are those of the run."""
    why_not_exact: tuple[str, ...]
    """What differs from the run, in words; empty where every bit had to be the same."""
    tolerance: float
    """Largest difference that was let pass where not every bit had to be the same."""
    parts: tuple[RecomputedPart, ...]
    """Result for each kind of results."""
    n_differences: int
    """Values that differ."""
    differences: tuple[Difference, ...]
    """The first of them."""


def evidence_of(files: Mapping[str, str]) -> str:
    """Return one SHA-256 over the hashes of a run's files without its judgement, which may be made again at any time."""
    measured = {name: digest for name, digest in files.items() if name != "verdict.json"}
    return hashlib.sha256(json.dumps(measured, sort_keys=True).encode()).hexdigest()
