"""Letter pasting (Bassi & Attux 2021, section 8): the markers of another film, put where they were on it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.errors import UnknownNameError
from audit.perturbations.base import PERTURBATIONS, Scene
from audit.perturbations.donors import Donor
from audit.records import TextRegion

GreyImage = NDArray[np.uint8]
_SOURCES = ("other-class", "same-class", "own")


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Pixels to lay over an image."""

    x0: int
    """Left edge in the target."""
    y0: int
    """Top edge in the target."""
    pixels: GreyImage
    """Grey (h, w), as it will stand there."""


@dataclass(frozen=True, kw_only=True)
class PasteDraw:
    """What to paste."""

    patches: tuple[Patch, ...]
    """In the order in which they are laid."""
    donor_id: str
    """Record that they come from."""
    donor_label: str | None
    """Its class."""


@PERTURBATIONS.register("paste-letters")
class PasteLetters:
    """Paste all the text of one other image, each crop at its own relative place, size and grey level.

    Parameters
    ----------
    source : {"other-class", "same-class", "own"}
        Whose text: of another class (the edit), of another image of the same class (its placebo: the same
        rectangles and seams, without the foreign class), or the image's own crops put back (the control:
        it must change nothing at all).
    """

    name = "paste-letters"
    version = 1

    def __init__(self, *, source: str = "other-class") -> None:
        if source not in _SOURCES:
            raise UnknownNameError("source of letters", source, _SOURCES)
        self._source = source

    def draw(self, scene: Scene, rng: np.random.Generator) -> PasteDraw | None:
        """Choose a donor and cut its text out; None if there is no donor (or, for `own`, no text)."""
        if self._source == "own":
            own = Donor(record=scene.record, regions=scene.regions)
            return _cut(own, scene.image, scene.image.shape) if scene.regions else None
        donor = scene.donors.choose(scene.record, same_class=self._source == "same-class", rng=rng)
        if donor is None:
            return None
        return _cut(donor, scene.donors.pixels(donor), scene.image.shape)

    def apply(self, image: GreyImage, drawn: PasteDraw) -> GreyImage:
        """Return a copy of grey (h, w) with the patches laid over it."""
        edited = image.copy()
        for patch in drawn.patches:
            h, w = patch.pixels.shape
            edited[patch.y0 : patch.y0 + h, patch.x0 : patch.x0 + w] = patch.pixels
        return edited


def _cut(donor: Donor, pixels: GreyImage, shape: tuple[int, ...]) -> PasteDraw | None:
    """Cut the donor's regions out and scale them to a target of `shape` (h, w)."""
    scale = max(shape) / max(pixels.shape)
    patches = [p for region in donor.regions if (p := _patch(region, pixels, shape, scale)) is not None]
    if not patches:
        return None
    return PasteDraw(patches=tuple(patches), donor_id=donor.record.id, donor_label=donor.record.label)


def _patch(region: TextRegion, pixels: GreyImage, shape: tuple[int, ...], scale: float) -> Patch | None:
    crop = pixels[region.y0 : region.y1, region.x0 : region.x1]
    if crop.size == 0:
        return None
    height, width = shape[:2]
    h = min(height, max(1, round(crop.shape[0] * scale)))
    w = min(width, max(1, round(crop.shape[1] * scale)))
    if (h, w) != crop.shape:
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        crop = np.asarray(cv2.resize(np.ascontiguousarray(crop), (w, h), interpolation=how), dtype=np.uint8)
    # The crop keeps its relative place; where the two images have equal shapes, exactly its place.
    x0 = round((region.x0 + region.x1) / 2 / pixels.shape[1] * width - w / 2)
    y0 = round((region.y0 + region.y1) / 2 / pixels.shape[0] * height - h / 2)
    return Patch(x0=min(max(x0, 0), width - w), y0=min(max(y0, 0), height - h), pixels=np.array(crop, dtype=np.uint8))
