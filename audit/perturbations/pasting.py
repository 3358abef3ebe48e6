"""Letter pasting (Bassi & Attux 2021, section 8): the markers of another image, put where they were on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.facts import GreyImage
from audit.data.records import Record
from audit.errors import UnknownNameError, UsageError
from audit.perturbations.base import PERTURBATIONS, NotApplicable, Scene
from audit.perturbations.donors import Donor
from audit.perturbations.fills import inpaint
from audit.perturbations.places import Box, cover, free_corner, in_lungs, overlap, text_boxes

Field = NDArray[np.float32]
_SOURCES = ("other-class", "same-class", "own")
# Contrast with the image behind it from which on a pixel begins to belong to a letter, and does wholly: in grey levels at
# least, and as shares of the letter's own, for a bone's edge beside it is fainter than it.
_FAINT_LEVELS, _FIRM_LEVELS = 5.0, 15.0
_FAINT_SHARE, _FIRM_SHARE = 0.25, 0.5
_DONORS_PER_LETTER = 4


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Letters to lay over an image."""

    x0: int
    """Left edge in the target."""
    y0: int
    """Top edge in the target."""
    level: Field
    """Grey levels of the letters (h, w) as they will stand there."""
    opacity: Field
    """(h, w) from 0, where the image shows, to 1, where the letter does."""


@dataclass(frozen=True, kw_only=True)
class PasteDraw:
    """What to paste."""

    patches: tuple[Patch, ...]
    """In the order in which they are laid."""
    opacity: float
    """How far all of it shows, 0 to 1."""
    donor: Record
    """Image that the first of them comes from."""


@dataclass(frozen=True, kw_only=True)
class _Letters:
    """What one region holds, freed from the image behind it."""

    contrast: Field
    """Levels above (below) the donor's image, (h, w)."""
    opacity: Field
    """(h, w), 0 to 1."""
    centre: tuple[float, float]
    """Relative place (y, x) on the donor, 0 to 1."""


@PERTURBATIONS.register("paste-letters")
class PasteLetters:
    """Paste the text of other images at its own relative place, size and contrast, without its background.

    Letters keep their contrast with their surroundings and are laid on the target's own image, so that the edit shows no
    rectangle. The target's own text at that place is removed. If the place lies inside the lungs, a free corner is used
    instead.

    Parameters
    ----------
    source : {"other-class", "same-class", "own"}
        Whose text: of another class (the edit), of another image of the same class (its placebo: the same kind of
        edit, without the foreign class), or the image's own letters put back (the control: it must change nothing).
    count : int
        How many regions to paste, from as many donors of one class as needed; 0 for all the text of one donor.
    size : float
        Factor on the letters' own size, relative to the image.
    opacity : float
        1 is opaque, 0 invisible.
    """

    name = "paste-letters"
    version = 2
    needs: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    seamless = True  # letters are laid on the target's own image
    suspect = "the text"

    def __init__(self, *, source: str = "other-class", count: int = 0, size: float = 1.0, opacity: float = 1.0) -> None:
        if source not in _SOURCES:
            raise UnknownNameError("source of letters", source, _SOURCES)
        if count < 0 or not 0 < size <= 8 or not 0 <= opacity <= 1:
            raise UsageError(
                f"Pasted letters need count from 0, size in 0..8 and opacity in 0..1, found {count}, {size} and {opacity}."
            )
        self._source = source
        self.adds: tuple[str, ...] = () if source == "own" else ("text",)
        self._count = count
        self._size = size
        self._opacity = opacity

    def draw(self, scene: Scene, rng: np.random.Generator) -> PasteDraw | NotApplicable:
        """Choose donors, free their letters from the image, and find a place for each."""
        if self._source == "own":
            if not scene.regions:
                return NotApplicable("no text")
            return self._placed(scene, Donor(record=scene.record, regions=scene.regions), rng)
        donor = scene.donors.choose(scene.record, same_class=self._source == "same-class", rng=rng)
        return NotApplicable("no donor of that class") if donor is None else self._placed(scene, donor, rng)

    def apply(self, image: GreyImage, drawn: PasteDraw) -> GreyImage:
        """Return a copy of grey (h, w) with the letters laid over it."""
        edited = image.copy()
        for patch in drawn.patches:
            h, w = patch.level.shape
            under = edited[patch.y0 : patch.y0 + h, patch.x0 : patch.x0 + w]
            film = under.astype(np.float32)
            under[...] = np.clip(np.rint(film + patch.opacity * (patch.level - film)), 0, 255).astype(np.uint8)
        if drawn.opacity < 1:
            mixed = image + np.float32(drawn.opacity) * (edited.astype(np.float32) - image)
            edited = np.rint(mixed).astype(np.uint8)
        return edited

    def _placed(self, scene: Scene, donor: Donor, rng: np.random.Generator) -> PasteDraw | NotApplicable:
        height, width = scene.image.shape
        own = text_boxes(scene.regions, (height, width))
        covered = cover(own, (height, width))
        taken: list[Box] = []
        patches: list[Patch] = []
        for letters in self._letters(scene, donor, rng):
            box = _box(letters, (height, width))
            if self._source != "own":
                moved = _settled(box, taken, own, scene, rng)
                if moved is None:
                    continue
                box = moved
            taken.append(box)
            patches.append(_laid(letters, box, scene.image, covered))
        if not patches:
            return NotApplicable("no free place for letters")
        if self._source != "own":
            replaced = [text for text in own if any(overlap(text, box) for box in taken)]
            patches = [_erasure(text, scene.image, covered) for text in replaced] + patches
        return PasteDraw(
            patches=tuple(patches),
            opacity=self._opacity,
            donor=donor.record,
        )

    def _letters(self, scene: Scene, donor: Donor, rng: np.random.Generator) -> list[_Letters]:
        """Cut letters out of one donor, or of as many as the count takes, scaled to the target."""
        pixels = scene.image if self._source == "own" else scene.donors.pixels(donor)
        cut = _cut(donor, pixels, scene.image.shape, self._size)
        if not self._count:
            return cut
        for _ in range(_DONORS_PER_LETTER * self._count):
            further = scene.donors.another(donor, scene.record, rng) if len(cut) < self._count else None
            if further is None:
                break
            cut += _cut(further, scene.donors.pixels(further), scene.image.shape, self._size)
        return cut[: self._count]


def _cut(donor: Donor, pixels: GreyImage, shape: tuple[int, ...], size: float) -> list[_Letters]:
    """Free the donor's letters from its image, and scale them to a target of `shape` (h, w)."""
    height, width = pixels.shape
    boxes = text_boxes(donor.regions, (height, width))
    covered = cover(boxes, (height, width))
    scale = size * max(shape) / max(pixels.shape)
    cut = []
    for box in boxes:
        x0, y0, x1, y1 = box
        contrast: Field = pixels[y0:y1, x0:x1].astype(np.float32) - inpaint(pixels, box, covered)
        strength = np.abs(contrast)
        peak = float(np.quantile(strength, 0.98))
        faint, firm = max(_FAINT_LEVELS, _FAINT_SHARE * peak), max(_FIRM_LEVELS, _FIRM_SHARE * peak)
        opacity: Field = np.clip((strength - faint) / (firm - faint), 0, 1)
        h, w = (max(1, min(limit, round(side * scale))) for side, limit in zip(contrast.shape, shape, strict=True))
        if (h, w) != contrast.shape:
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            contrast = np.asarray(cv2.resize(contrast, (w, h), interpolation=how), dtype=np.float32)
            opacity = np.asarray(cv2.resize(opacity, (w, h), interpolation=how), dtype=np.float32)
        cut.append(
            _Letters(
                contrast=contrast,
                opacity=opacity.astype(np.float32),
                centre=((y0 + y1) / 2 / height, (x0 + x1) / 2 / width),
            )
        )
    return cut


def _box(letters: _Letters, shape: tuple[int, int]) -> Box:
    """Return the letters' own relative place; where the two images have equal shapes, exactly its place."""
    h, w = letters.contrast.shape
    left = min(max(round(letters.centre[1] * shape[1] - w / 2), 0), shape[1] - w)
    top = min(max(round(letters.centre[0] * shape[0] - h / 2), 0), shape[0] - h)
    return left, top, left + w, top + h


def _settled(box: Box, taken: Sequence[Box], own: Sequence[Box], scene: Scene, rng: np.random.Generator) -> Box | None:
    """Return the box, or a free corner if it lies on letters pasted before or in the lungs."""
    height, width = scene.image.shape
    shape = (height, width)
    if not in_lungs(box, scene.lungs, shape) and not any(overlap(box, other) for other in taken):
        return box
    return free_corner((box[3] - box[1], box[2] - box[0]), [*taken, *own], scene.lungs, shape, rng)


def _erasure(text: Box, image: GreyImage, covered: NDArray[np.bool_]) -> Patch:
    """Take the image's own text away where other letters take its place."""
    film = inpaint(image, text, covered).astype(np.float32)
    return Patch(x0=text[0], y0=text[1], level=film, opacity=np.ones_like(film))


def _laid(letters: _Letters, box: Box, image: GreyImage, covered: NDArray[np.bool_]) -> Patch:
    """Give the letters the target's image as their background."""
    x0, y0, x1, y1 = box
    hidden = covered.copy()
    hidden[y0:y1, x0:x1] = True
    film = inpaint(image, box, hidden).astype(np.float32)
    return Patch(x0=x0, y0=y0, level=film + letters.contrast, opacity=letters.opacity)
