"""Four levels of every suspect, as `levels.json` holds them: available, encoded, used, harmful."""

from __future__ import annotations

from typing import ClassVar

from audit.store.typed import Document, RunDocument


class Level(Document, frozen=True, kw_only=True):
    """One figure of one suspect."""

    value: float | None
    """The figure; null where nothing can be said."""
    low: float | None
    """Lower end of its interval."""
    high: float | None
    """Upper end."""
    null: float | None
    """What it is where the suspect plays no part: the mean over permutations, or 0."""
    p: float | None
    """p-value: share of permutations, including the real one, that reach this figure; of the audit's effect its own."""
    n_images: int
    """Images behind it."""
    n_patients: int
    """Patients among them."""
    about: str
    """How it was made, or why it could not be."""


_UNMEASURED = Level(
    value=None, low=None, high=None, null=None, p=None, n_images=0, n_patients=0, about="the run does not hold it"
)


class SuspectLevels(Document, frozen=True, kw_only=True):
    """The four levels of one suspect."""

    suspect: str
    """In words, as the suite names it."""
    available: Level
    """AUC with which a small model tells the class from the suspect alone, across patients; 0.5 is chance."""
    encoded: Level
    """AUC with which the network's features tell, within a class, whether an image's suspect points to that class; 0.5 is chance."""
    used: Level
    """The largest judged effect of the audit, placebo subtracted."""
    harmful: Level
    """Error rate on images whose suspect points to another class, minus that on images of the same class whose suspect points to it."""
    erased: Level = _UNMEASURED
    """Change of the class probabilities once the suspect's directions are erased from the features (LEACE), minus that of random ones."""


class LevelsDocument(RunDocument, frozen=True, kw_only=True):
    """The levels of a run."""

    FILE: ClassVar[str] = "levels.json"

    n_images: int
    """Images that were looked at."""
    why_none: str
    """Why no levels were measured; empty otherwise."""
    suspects: tuple[SuspectLevels, ...]
    """By suspect, in the order of the suite."""
