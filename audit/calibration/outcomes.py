"""What the audit of one network of a zoo gave, beside the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audit.calibration.truth import Truth
from audit.calibration.zoo import Case


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What an audit said of one condition, over all images or over those with a word."""

    condition: str
    """Its name."""
    suspect: str
    """What the network would be reading."""
    removes: bool
    """Whether the condition takes its content away."""
    adds: bool
    """Whether it brings in that of another image."""
    group: str
    """`all`, or `word=STRING`."""
    estimate: float
    """Shortcut sensitivity."""
    low: float
    """Lower end of its interval."""
    high: float
    """Upper end of its interval."""
    tolerance: float
    """The largest effect that counts as small."""
    verdict: str
    """What the audit made of it."""
    n_images: int
    """Images behind it."""
    on_plant: float | None
    """Of the test of an object that the search proposed: share of its sightings that lie on the plant; None for other conditions."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What an audit made of one network."""

    exit_code: int
    """0 pass, 1 fail, 3 inconclusive, 4 could not be completed."""
    sentence: str
    """The first sentence that the audit prints."""
    sensitive: tuple[str, ...]
    """Suspects of effects called sensitive, of all images or of a group."""
    estimates: tuple[Estimate, ...]
    """Of every judged edit."""
    seconds: float
    """Wall-clock time of the audit."""
    cpu_seconds: float
    """Processor time of the audit, which other programs on the machine do not lengthen."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A case with its truth and what the audit made of it."""

    case: Case
    """What was planted."""
    truth: Truth
    """What it does."""
    finding: Finding
    """What the audit said."""


def first_sentence(text: str) -> str:
    """Return the first sentence; a point inside a number ends none."""
    head, point, _ = text.partition(". ")
    return head + (point.strip() or "")


def finding_from_json(document: Mapping[str, Any]) -> Finding:
    """Read a finding back."""
    return Finding(
        **{
            **document,
            "sensitive": tuple(document["sensitive"]),
            "estimates": tuple(Estimate(**row) for row in document["estimates"]),
        }
    )
