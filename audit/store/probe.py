"""How well the source of an image can be predicted, as `source_probe.json` holds it."""

from __future__ import annotations

from typing import ClassVar, Literal

from audit.store.typed import Document, RunDocument

ProbedView = Literal["features", "histogram", "border", "thumbnail", "text"]
"""What a probe sees of an image; features are the network's penultimate layer, a thumbnail has a side of 32 px."""


class Probe(Document, frozen=True, kw_only=True):
    """How well one view of the images predicts the source within one class."""

    view: ProbedView
    """features (the network's penultimate layer), histogram, border, thumbnail (32 px) or text."""
    label: str
    """The class."""
    n_images: int
    """Images of the class from the sources that were distinguished."""
    n_patients: int
    """Patients among them."""
    sources: tuple[str, ...]
    """Sources that were distinguished."""
    auc: float
    """Area under the ROC curve, one source against the rest, mean over sources; 0.5 is chance."""
    null_auc: float
    """Mean of the same over permuted sources."""
    p: float
    """p-value: share of permutations, including the real sources, that reach this AUC."""


class SourceProbe(Document, frozen=True, kw_only=True):
    """What predicts the source."""

    n_images: int
    """Images that were probed."""
    majority: float
    """Share of the most frequent class."""
    probes: tuple[Probe, ...]
    """By class and view; empty where no class comes from two sources."""


class ProbeDocument(RunDocument, frozen=True, kw_only=True):
    """The probe of a run."""

    FILE: ClassVar[str] = "source_probe.json"

    probe: SourceProbe
    """What predicts the source."""
