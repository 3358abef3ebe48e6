"""Documents for the pictures of a run: the cases with the largest changes, crops of strings, and groups of similar heatmaps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from audit.store.typed import Document, RunDocument


class Picture(Document, frozen=True, kw_only=True):
    """A picture in the same folder."""

    file: str
    """Its name."""


class ScoredPicture(Picture, frozen=True, kw_only=True):
    """A picture with the network's prediction."""

    predicted: str
    """The winning class."""
    probabilities: Mapping[str, float]
    """Class -> probability."""


class ShownRegion(Document, frozen=True, kw_only=True):
    """A text region, in pixels of the picture."""

    x0: float
    """Left edge."""
    y0: float
    """Upper edge."""
    x1: float
    """Right edge."""
    y1: float
    """Lower edge."""
    text: str
    """What was read; empty where it may not be shown."""


class Example(Document, frozen=True, kw_only=True):
    """One image under one edit."""

    case: int
    """Its number, from 1."""
    record: str
    """Name of the image."""
    label: str | None
    """Its true class."""
    source: str
    """Its source."""
    condition: str
    """The edit."""
    question: str
    """The question that the edit answers, in words."""
    why: str
    """Why this image was chosen, in words."""
    clean: ScoredPicture
    """The unedited image."""
    edit: ScoredPicture
    """The edited image."""
    placebo: ScoredPicture | None
    """The same image under the edit's placebo; null where it has none, or the placebo was not applied to this image."""
    difference: Picture
    """What the edit changed."""
    overlay: Picture | None
    """Relevance of the unedited image; null for a network without relevance."""
    width: int
    """Of the pictures, in pixels."""
    height: int
    """Of the same."""
    regions: tuple[ShownRegion, ...]
    """The text that was found."""
    n_covered: int
    """Regions that the pictures do not show."""
    total_variation: float
    """Total variation of the class probabilities under the edit."""


class Thumbnail(Document, frozen=True, kw_only=True):
    """What a condition does to an image."""

    condition: str
    """The condition."""
    clean: Picture
    """The unedited image."""
    edit: Picture
    """The edited image."""
    width: int
    """Of the pictures, in pixels."""
    height: int
    """Of the same."""


class Movement(Document, frozen=True, kw_only=True):
    """What one edit did to the prediction of one image."""

    condition: str
    """The edit."""
    predicted: str
    """The winning class under the draw that changed the image most."""
    change: float
    """Total variation of the class probabilities under the same draw."""


class MovedImage(Document, frozen=True, kw_only=True):
    """One image, with its prediction under every judged edit; conditions that keep only a part of the image are left out."""

    record: str
    """Name of the image."""
    label: str | None
    """Its true class."""
    source: str
    """Its source."""
    predicted: str
    """The winning class of the unedited image."""
    moves: tuple[Movement, ...]
    """Of the edits that were applied to it, the largest change first."""


class MovedDocument(RunDocument, frozen=True, kw_only=True):
    """The images whose predictions the judged edits changed most."""

    FILE: ClassVar[str] = "examples/moved.json"

    n_images: int
    """Images that any judged edit was applied to, of which `images` may be the first."""
    images: tuple[MovedImage, ...]
    """The largest change under any edit first."""


class ExamplesDocument(RunDocument, frozen=True, kw_only=True):
    """The images whose predictions each edit changed most, and what every condition does to an image."""

    FILE: ClassVar[str] = "examples/examples.json"

    examples: tuple[Example, ...]
    """In turn from each edit."""
    thumbnails: tuple[Thumbnail, ...]
    """Of each condition that was applied to any image."""


class MarkerCrop(Document, frozen=True, kw_only=True):
    """A string as it appears on an image."""

    text: str
    """What was read, normal."""
    label: str
    """Class of the image."""
    record: str
    """Name of the image."""
    file: str
    """Name of the picture, in the same folder."""
    width: int
    """Of the picture, in pixels."""
    height: int
    """Of the same."""


class MarkersDocument(RunDocument, frozen=True, kw_only=True):
    """Crops of the commonest strings, at most two of each class."""

    FILE: ClassVar[str] = "examples/markers.json"

    markers: tuple[MarkerCrop, ...]
    """By string, the commonest first."""


class Spot(Document, frozen=True, kw_only=True):
    """A rectangle, in shares of the image's width and height."""

    x0: float
    """Left edge."""
    y0: float
    """Upper edge."""
    x1: float
    """Right edge."""
    y1: float
    """Lower edge."""


class Exemplar(Document, frozen=True, kw_only=True):
    """A typical image of a group."""

    record: str
    """Name of the image."""
    label: str | None
    """Its true class."""
    source: str
    """Its source."""
    n_covered: int
    """Regions that the pictures do not show."""
    image: Picture
    """The image."""
    overlay: Picture
    """Its heatmap."""
    width: int
    """Of the pictures, in pixels."""
    height: int
    """Of the same."""


class HeatmapGroup(Document, frozen=True, kw_only=True):
    """Images with similar heatmaps of one output."""

    output: str
    """The output that the heatmaps explain."""
    n_images: int
    """Images in the group."""
    n_of_output: int
    """Images whose heatmaps explain the same output."""
    spot: Spot
    """Where the group's relevance differs most from that of all other images."""
    spot_mass: float
    """Mean share of its relevance in the spot."""
    spot_mass_elsewhere: float | None
    """The same for all other images; null where there are none."""
    spot_text: float | None
    """Share of the spot's relevance that lies in text."""
    text_mass: float | None
    """Mean share of its relevance that lies in text, anywhere."""
    labels: Mapping[str, int]
    """True class -> images, the commonest first."""
    sources: Mapping[str, int]
    """Source -> images, the commonest first."""
    mean: Picture
    """The mean heatmap."""
    exemplars: tuple[Exemplar, ...]
    """Its most typical images."""


class ClustersDocument(RunDocument, frozen=True, kw_only=True):
    """The groups that the heatmaps form."""

    FILE: ClassVar[str] = "clusters/clusters.json"

    clusters: tuple[HeatmapGroup, ...]
    """By output."""
