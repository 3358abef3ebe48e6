"""What edits use of the whole cohort, measured before: each image of a sample is read once, for all that is measured on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from audit.data.images import read_mask, read_record
from audit.data.pixels.facts import StoredImage
from audit.data.records import Record, TextRegion
from audit.perturbations.background import mean_part
from audit.perturbations.plausible import lung_levels
from audit.perturbations.properties import Properties, measure_properties


@dataclass(frozen=True, kw_only=True)
class CohortMeasures:
    """What was measured on images of a cohort, by record id."""

    properties: Mapping[str, Properties] = field(default_factory=dict)
    """Grey curve, texture and frame."""
    parts: Mapping[str, StoredImage] = field(default_factory=dict)
    """What goes into the mean image."""
    levels: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Brightness and contrast of the lungs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is measured on one image."""

    record: Record
    """The image."""
    regions: tuple[TextRegion, ...]
    """Its text."""
    properties: bool
    """Whether its properties are measured."""
    part: bool
    """Whether it goes into the mean image."""
    levels: bool
    """Whether its lungs are measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageMeasures:
    """What was measured on one image; None for what was not."""

    properties: Properties | None
    """Grey curve, texture and frame."""
    part: StoredImage | None
    """What goes into the mean image."""
    levels: tuple[float, float] | None
    """Brightness and contrast of the lungs."""


def measure_wanted(wanted: Sequence[Wanted], number: int) -> ImageMeasures:
    """Measure what is wanted of one image.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    one = wanted[number]
    image = read_record(one.record)
    mask = one.record.lung_mask if one.properties or one.levels else None
    lungs = None if mask is None else read_mask(mask, image.shape[:2])
    return ImageMeasures(
        properties=measure_properties(image, one.regions, lungs) if one.properties else None,
        part=mean_part(image, one.regions) if one.part else None,
        levels=lung_levels(image, lungs) if one.levels else None,
    )
