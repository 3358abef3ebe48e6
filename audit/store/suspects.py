"""Objects that recur across images, as a search proposed them: `objects/suspects.json` of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from audit.store.pictures import Picture, Spot
from audit.store.typed import Document, RunDocument

MOST_SUSPECTS = 12
"""Suspects of one run, at most."""
LEAST_PATIENTS = 6
"""Patients of one half who must show an object for it to be proposed: a template is the mean of so many, at least."""
MOST_SIGHTINGS = 24
"""Sightings kept of one suspect, at most, and images that do not show it."""
LONGEST_TEMPLATE_PX = 64
"""Long side of a template, at most; the outline of its object may reach further."""
MOST_PARTS = 48
"""Boxes that write the outline of one object, at most."""
_Offset = Annotated[int, Meta(ge=-4 * LONGEST_TEMPLATE_PX, le=4 * LONGEST_TEMPLATE_PX)]
_Side = Annotated[int, Meta(ge=2, le=LONGEST_TEMPLATE_PX)]


class Sighting(Document, frozen=True, kw_only=True):
    """The object on one of the images that proposed it."""

    image: str
    """Name of the image; in the cache of searches the digest of its pixels."""
    label: str
    """Its class."""
    likeness: float
    """Normalised cross-correlation with the template."""
    boxes: Annotated[tuple[Spot, ...], Meta(min_length=1, max_length=MOST_PARTS)]
    """Where the object lies."""
    picture: Picture | None = None
    """The object with its surroundings; null where none was drawn."""
    width: int = 0
    """Of the picture, in pixels."""
    height: int = 0
    """Of the same."""
    spot: Spot | None = None
    """Where the object lies in the picture."""


class SuspectTemplate(Document, frozen=True, kw_only=True):
    """How one half of the patients shows an object; it is looked for on the images of the other half."""

    half: Annotated[int, Meta(ge=0, le=1)]
    """The half that proposed it."""
    height: _Side
    """Of the template, in pixels at the scale of the search."""
    width: _Side
    """Of the same."""
    reach: Annotated[tuple[tuple[_Offset, _Offset, _Offset, _Offset], ...], Meta(min_length=1, max_length=MOST_PARTS)]
    """Boxes that an edit takes: left, upper, right and lower edge from the template's upper left corner, in the same pixels."""
    template: Annotated[str, Meta(max_length=20_000)]
    """Grey levels of the template, the mean over its sightings, base64, row by row."""
    threshold: Annotated[float, Meta(ge=-1, le=1)]
    """Least likeness at which an image shows the object."""
    p: Annotated[float, Meta(ge=0, le=1)]
    """On the other half: how probable it is by chance that its class shows it so much more often than the other classes."""


class FoundSuspect(Document, frozen=True, kw_only=True):
    """One object that may be a shortcut."""

    templates: Annotated[tuple[SuspectTemplate, ...], Meta(min_length=1, max_length=2)]
    """By the halves that proposed it: one, or both."""
    prevalence: Mapping[str, tuple[int, int]]
    """Class -> images that show it and all images, among those that were searched."""
    n_patients: int
    """Patients who show it, among the same."""
    home: tuple[str, ...]
    """Classes that show it most: it is added to images of the others."""
    sightings: Annotated[tuple[Sighting, ...], Meta(max_length=MOST_SIGHTINGS)]
    """The clearest of each half that proposed it."""
    without: Annotated[tuple[str, ...], Meta(max_length=MOST_SIGHTINGS)] = ()
    """Images of each half that proposed it which do not show it, of its class where there are enough; named as sightings are."""


class SuspectsDocument(RunDocument, frozen=True, kw_only=True):
    """What the search for recurring objects proposed."""

    FILE: ClassVar[str] = "objects/suspects.json"

    n_images: int
    """Images that were searched, one a patient."""
    n_candidates: int
    """Places that were counted on patients who did not propose them."""
    why_none: str
    """Why the search was not done; empty if it was."""
    suspects: Annotated[tuple[FoundSuspect, ...], Meta(max_length=MOST_SUSPECTS)]
    """By their number in the names of conditions, from 1."""
