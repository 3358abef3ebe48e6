"""What the audits of a training's earlier networks found: beside the final bundle."""

from __future__ import annotations

from typing import ClassVar

from audit.store.results import Effect
from audit.store.typed import Document, RunDocument


class EpochAudit(Document, frozen=True, kw_only=True):
    """The audit of the network of one epoch."""

    epoch: int
    """Counted from 1 through all phases of the last step."""
    run: str
    """Name of its run folder."""
    accuracy: float
    """Share of the unedited test images that are classified correctly."""
    effects: tuple[Effect, ...]
    """Every judged effect over all images, compared with its placebo."""


class JudgedEdit(Document, frozen=True, kw_only=True):
    """One judged condition, over the whole training."""

    condition: str
    """Its name."""
    title: str
    """Its name for people."""
    suspect: str
    """What a network relies on if it reacts, in words."""
    change: Effect | None
    """The effect of the last audited epoch minus that of the first, image by image; null where that cannot be said."""
    why_not: str
    """Why not; empty where it can."""


class SensitivityDocument(RunDocument, frozen=True, kw_only=True):
    """Sensitivity by epoch."""

    FILE: ClassVar[str] = "sensitivity.json"

    suite: str
    """The suite of the audits."""
    n_images: int
    """Test images of each audit."""
    epochs: tuple[EpochAudit, ...]
    """The audits, earliest first."""
    edits: tuple[JudgedEdit, ...]
    """The judged conditions, in the order of the suite."""
