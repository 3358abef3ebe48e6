"""The nouns that come in: records, cohorts and text regions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from audit.data.pixels.facts import shows_colour

LUNG_MARGIN_SHARE = 0.2
"""Without a mask, what lies further than this share of the side from every border is taken for lungs."""
KINDS = ("text", "overlay", "lead_marker")
"""What finders say of a region; a file of hand-made boxes may use words of its own."""
_WITHIN = Meta(ge=-1_000_000, le=1_000_000)
Coordinate = Annotated[int, _WITHIN]
"""Pixels from an image's left or upper edge; no image is larger."""
Point = tuple[Annotated[float, _WITHIN], Annotated[float, _WITHIN]]
Polygon = tuple[Point, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One image and what the manifest says of it."""

    id: str
    """Unique within the cohort; the manifest's `id`, else its relative path."""
    path: Path
    """Absolute path of the image file."""
    label: str | None
    """Class of the image; None where the manifest says nothing or the label is ignored."""
    patient: str
    """Who was imaged; intervals resample patients. The record id where the manifest has no patients."""
    findings: tuple[str, ...] = ()
    """Multi-label findings in the source's own words (the chain's 15-label step reads them)."""
    truth: tuple[int, ...] = ()
    """Of a multi-label task, for each output of the network: 1 present, 0 absent, -1 unknown; `label` then names those present."""
    source: str = "unknown"
    """Dataset, hospital or scanner; domain shift is a change of source."""
    site: str = ""
    """Finer than source: the publication or hospital."""
    view: str = ""
    """Projection: PA, AP, AP Supine, ..."""
    sex: str = ""
    """F, M or empty."""
    age: float | None = None
    """Years; None if unknown."""
    split: str | None = None
    """train, validation or test; None if the manifest has no such column."""
    lung_mask: Path | None = None
    """Absolute path of an image of the same size that is bright inside the lungs; None if there is none."""
    colour: bool = False
    """Whether its image is read in colour, (h, w, 3); decided once for all records of a run."""
    patient_known: bool = True
    """Whether the manifest says who was imaged; if not, `patient` is the record id."""
    name: str = ""
    """What files of a run call it (`audit.data.pseudonyms`); empty until it was named."""
    patient_name: str = ""
    """What they call the patient."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cohort:
    """A manifest, loaded and checked."""

    name: str
    """Name of the manifest's folder, or of the file where that says nothing."""
    manifest: Path
    """The table that was read."""
    classes: tuple[str, ...]
    """Labels in the order of the model's outputs, or sorted where no model is known."""
    records: tuple[Record, ...]
    """Every record, labelled or not, in the manifest's order."""
    content_hash: str
    """SHA-256 over ids, labels, patients, sources, splits and the bytes of every image."""
    masks_hash: str
    """SHA-256 over the bytes of every lung mask; it stands apart, for training does not look at them."""
    pixels: Mapping[str, str] = field(default_factory=dict)
    """Record id -> the first 32 digits of the SHA-256 of its pixels and their shape: the same for re-encoded copies."""
    coloured: Mapping[str, float] = field(default_factory=dict)
    """Record id -> share of its pixels that show colour (`audit.data.pixels.colour`), of images that are not grey."""
    notes: tuple[str, ...] = ()
    """What the checks found and let pass, in words."""
    n_seen: int = 0
    """Records to audit whose images trained the network."""
    multi_label: bool = False
    """Whether the classes are findings of which any number applies to an image."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Why records are not used, with counts (unlabelled, ignored label, unreadable)."""
    sampled_from: int = 0
    """Images that a sample was drawn from; 0 without one."""

    @property
    def colour(self) -> bool:
        """Whether its images are read in colour."""
        return any(r.colour for r in self.records)

    @property
    def n_greyed(self) -> int:
        """Images that show colours and are read as grey."""
        return sum(shows_colour(self.coloured.get(r.id)) for r in self.records if not r.colour)

    def labelled(self) -> tuple[Record, ...]:
        """Return the records that carry a class."""
        return tuple(r for r in self.records if r.label is not None)

    def of_split(self, split: str) -> Cohort:
        """Return the cohort reduced to one split (the hash still names the whole)."""
        return replace(self, records=tuple(r for r in self.records if r.split == split))

    def class_counts(self) -> dict[str, int]:
        """Return the number of labelled records for each class, or with each finding, zero included."""
        if self.multi_label:
            return {name: sum(r.truth[i] == 1 for r in self.labelled()) for i, name in enumerate(self.classes)}
        found = Counter(r.label for r in self.records)
        return {name: found.get(name, 0) for name in self.classes}

    def unknown_counts(self) -> dict[str, int]:
        """Return the number of labelled records for which it is unknown whether they have each finding, where there are any."""
        if not self.multi_label:
            return {}
        counts = {name: sum(r.truth[i] == -1 for r in self.labelled()) for i, name in enumerate(self.classes)}
        return {name: n for name, n in counts.items() if n}


@dataclass(frozen=True, kw_only=True, slots=True)
class TextRegion:
    """A polygon of burned-in text or marker, in pixels of the stored image."""

    x0: Coordinate
    """Left edge, inclusive."""
    y0: Coordinate
    """Top edge, inclusive."""
    x1: Coordinate
    """Right edge, exclusive."""
    y1: Coordinate
    """Bottom edge, exclusive."""
    text: str = ""
    """The string that was read; empty where the finder does not read, and where it may not be shown."""
    confidence: float = 1.0
    """The finder's own score in [0, 1]; not comparable across finders."""
    kind: str = "text"
    """overlay, lead_marker, or text if the finder cannot distinguish them."""
    detector: str = "annotated"
    """Name of the finder that found it."""
    polygon: Polygon = ()
    """Corner points (x, y) where the region is tilted; its hull is the box."""

    def padded(self, pad_px: int, shape: tuple[int, int]) -> TextRegion:
        """Return the box grown by `pad_px` on every side, clipped to an image of `shape` (h, w)."""
        h, w = shape
        return replace(
            self,
            x0=max(0, self.x0 - pad_px),
            y0=max(0, self.y0 - pad_px),
            x1=min(w, self.x1 + pad_px),
            y1=min(h, self.y1 + pad_px),
        )


SPLITS = ("train", "validation", "test")
"""Splits of a record."""
SplitTeller = Literal["manifest", "bundle", "pixels", "names", "nobody"]
SPLIT_TOLD_BY: Mapping[SplitTeller, str] = {
    "manifest": "the manifest's split column",
    "bundle": "the split recorded in the bundle",
    "pixels": "the pixels recorded in the bundle",
    "names": "the names recorded in the bundle",
    "nobody": "nobody",
}
"""Who tells the split of a record, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditedSplit:
    """Which records of a cohort are audited, and who says so."""

    name: str
    """test, train or validation; unlearnt for all but those that trained the network; all for every labelled record."""
    told_by: SplitTeller
    """Source of the records' splits."""

    @property
    def words(self) -> str:
        """The choice in words."""
        if self.name == "all":
            return "every labelled record"
        return f"{'not used for training' if self.name == 'unlearnt' else self.name}, by {SPLIT_TOLD_BY[self.told_by]}"
