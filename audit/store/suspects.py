"""Objects that recur across images, as a search proposed them: `objects/suspects.json` of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from audit.store.pictures import Picture, Spot
from audit.store.typed import Document, RunDocument

MOST_SUSPECTS = 12
"""Suspects of one run, at most."""
MOST_SIGHTINGS = 24
"""Sightings kept of one suspect, at most."""
LONGEST_TEMPLATE_PX = 64
"""Long side of a template, at most."""
_Offset = Annotated[int, Meta(ge=-LONGEST_TEMPLATE_PX, le=2 * LONGEST_TEMPLATE_PX)]
_Side = Annotated[int, Meta(ge=2, le=LONGEST_TEMPLATE_PX)]


class Sighting(Document, frozen=True, kw_only=True):
    """The object on one of the images that proposed it."""

    image: str
    """Name of the image; in the cache of searches the digest of its pixels."""
    label: str
    """Its class."""
    likeness: float
    """Normalised cross-correlation with the template."""
    box: Spot
    """Where the object lies."""
    picture: Picture | None = None
    """The object with its surroundings; null where none was drawn."""
    width: int = 0
    """Of the picture, in pixels."""
    height: int = 0
    """Of the same."""
    spot: Spot | None = None
    """Where the object lies in the picture."""


class FoundSuspect(Document, frozen=True, kw_only=True):
    """One object that may be a shortcut."""

    height: _Side
    """Of the template, in pixels at the scale of the search."""
    width: _Side
    """Of the same."""
    reach: tuple[_Offset, _Offset, _Offset, _Offset]
    """Box that an edit changes: left, upper, right and lower edge from the template's upper left corner, in the same
    pixels."""
    template: Annotated[str, Meta(max_length=20_000)]
    """Grey levels of the template, the mean over its sightings, base64, row by row."""
    threshold: Annotated[float, Meta(ge=-1, le=1)]
    """Smallest correlation at which an image counts as showing the object."""
    separation: float
    """Gap in correlation between images with and without it, in standard deviations."""
    prevalence: Mapping[str, tuple[int, int]]
    """Class -> images that show it and all images, among those that were searched."""
    n_patients: int
    """Patients who show it, among the same."""
    home: tuple[str, ...]
    """Classes that show it most: it is added to images of the others."""
    sightings: Annotated[tuple[Sighting, ...], Meta(max_length=MOST_SIGHTINGS)]
    """The clearest."""


class SuspectsDocument(RunDocument, frozen=True, kw_only=True):
    """What the search for recurring objects proposed."""

    FILE: ClassVar[str] = "objects/suspects.json"

    n_images: int
    """Images that were searched, one per patient; other images test the suspects."""
    why_none: str
    """Why the search was not done; empty if it was."""
    suspects: Annotated[tuple[FoundSuspect, ...], Meta(max_length=MOST_SUSPECTS)]
    """By their number in the names of conditions, from 1."""
