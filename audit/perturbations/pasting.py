"""Letters of other images (Bassi & Attux 2021, section 8), in place of the image's own text or in addition to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audit.data.pixels.colour import like
from audit.data.pixels.facts import StoredImage
from audit.data.records import Record
from audit.errors import UnknownNameError, UsageError
from audit.perturbations.base import PERTURBATIONS, NotApplicable, Scene
from audit.perturbations.donors import Donor
from audit.perturbations.letters import Letters, Patch, box_of, cut_letters, erasure, instead_of, lay, scaled
from audit.perturbations.places import Box, cover, free_corner, in_lungs, overlap, text_boxes
from audit.perturbations.plausible import covers_too_much

_SOURCES = ("other-class", "same-class", "own")
_OWN_TEXT = ("replaced", "kept")
_DONORS_PER_LETTER = 4
# Donors tried for one draw: if the letters of one do not fit, those of another may.
_DONORS_PER_DRAW = 4
TAKEN = NotApplicable("the image's own text occupies the place of the added letters")
IN_LUNGS = NotApplicable("foreign letters would lie in the lungs")
NO_PLACE = NotApplicable("no free place for letters")


@dataclass(frozen=True, kw_only=True)
class PasteDraw:
    """What to paste."""

    patches: tuple[Patch, ...]
    """In the order in which they are laid."""
    opacity: float
    """Opacity of all letters, 0 to 1."""
    donor: Record
    """Image that the first of them comes from."""


@PERTURBATIONS.register("paste-letters")
class PasteLetters:
    """Give the image the text of another one, without its background: in place of its own text, or in addition to it.

    Letters keep their contrast with their surroundings and are laid on the target's own image, so that the edit shows no
    rectangle. They are never moved: if they would lie in the lungs (by the mask) or on each other, the letters of another
    donor are tried; if those of four donors do not fit, the edit does not apply. A `count` tests the number of letters, not
    their place: only then, letters whose place is not free go to a free corner, or along the border.

    Parameters
    ----------
    source : {"other-class", "same-class", "own"}
        Whose text: of another class (the edit), of another image of the same class (its placebo: the same kind of
        edit, without the foreign class), or the image's own letters put back (the control: it must change nothing).
    own_text : {"replaced", "kept"}
        replaced (swapping: does the prediction follow the text?): the image's own text is inpainted, and each of the donor's
        texts takes the place and the height of the nearest own text; any others keep their relative place, as all do on an
        image without text. kept (adding: what does further text do?): the donor's text keeps its relative place, size and
        contrast, except for text that would cover the image's own.
    count : int
        How many regions to paste, from as many donors of one class as needed; 0 for all the text of one donor. Own text is then kept.
    size : float
        Factor on the size that the letters would have.
    opacity : float
        1 is opaque, 0 invisible.
    """

    name = "paste-letters"
    version = 3
    needs: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()  # where text is replaced, there is text afterwards
    seamless = True  # letters are laid on the target's own image
    suspect = "the text"

    def __init__(
        self,
        *,
        source: str = "other-class",
        own_text: str = "replaced",
        count: int = 0,
        size: float = 1.0,
        opacity: float = 1.0,
    ) -> None:
        for kind, value, allowed in (("source of letters", source, _SOURCES), ("own_text", own_text, _OWN_TEXT)):
            if value not in allowed:
                raise UnknownNameError(kind, value, allowed)
        if count < 0 or not 0 < size <= 8 or not 0 <= opacity <= 1:
            raise UsageError(
                f"Pasted letters need count from 0, size in 0..8 and opacity in 0..1, found {count}, {size} and {opacity}."
            )
        if count and own_text == "replaced":
            raise UsageError(
                f'A count of letters needs own_text = "kept", found count = {count} with own_text = "replaced".'
            )
        self._source = source
        self.adds: tuple[str, ...] = () if source == "own" else ("text",)
        whose = {"other-class": "another class", "same-class": "the same class"}.get(source, "")
        how = "added" if own_text == "kept" else "swapped in"
        self.title = f"Text of {whose} {how}" if whose else "Own text pasted back"
        self._replaces = own_text == "replaced"
        self._count = count
        self._size = size
        self._opacity = opacity

    def draw(self, scene: Scene, rng: np.random.Generator) -> PasteDraw | NotApplicable:
        """Choose donors, separate their letters from the background, and find a place for each."""
        if self._source == "own":
            if not scene.regions:
                return NotApplicable("no text")
            return self._put_back(scene)
        own = text_boxes(scene.regions, _shape(scene))
        too_much = covers_too_much(own, scene) if self._replaces else None
        if too_much is not None:
            return too_much
        found: PasteDraw | NotApplicable = NotApplicable("no donor of that class")
        for _ in range(_DONORS_PER_DRAW):
            donor = scene.donors.choose(scene.record, same_class=self._source == "same-class", rng=rng)
            if donor is None:
                break
            found = self._placed(scene, donor, own, rng)
            if isinstance(found, PasteDraw):
                break
        return found

    def apply(self, image: StoredImage, drawn: PasteDraw) -> StoredImage:
        """Return a copy of the image with the letters laid over it."""
        edited = image.copy()
        for patch in drawn.patches:
            h, w = patch.opacity.shape
            under = edited[patch.y0 : patch.y0 + h, patch.x0 : patch.x0 + w]
            beneath = under.astype(np.float32)
            under[...] = np.clip(
                np.rint(beneath + like(beneath, patch.opacity) * (patch.level - beneath)), 0, 255
            ).astype(np.uint8)
        if drawn.opacity < 1:
            mixed = image + np.float32(drawn.opacity) * (edited.astype(np.float32) - image)
            edited = np.rint(mixed).astype(np.uint8)
        return edited

    def _put_back(self, scene: Scene) -> PasteDraw:
        """Pass the image's own letters through the same steps."""
        shape = _shape(scene)
        covered = cover(text_boxes(scene.regions, shape), shape)
        cut = cut_letters(Donor(record=scene.record, regions=scene.regions), scene.image)
        letters = [scaled(one, self._size, shape) for one in cut]
        patches = tuple(lay(one, box_of(one, shape), scene.image, covered) for one in letters)
        return PasteDraw(patches=patches, opacity=self._opacity, donor=scene.record)

    def _placed(
        self, scene: Scene, donor: Donor, own: Sequence[Box], rng: np.random.Generator
    ) -> PasteDraw | NotApplicable:
        shape = _shape(scene)
        pixels = scene.donors.pixels(donor)
        factor = self._size * max(shape) / max(pixels.shape[:2])
        letters = [scaled(one, factor, shape) for one in scene.donors.once(cut_letters, donor)]
        if self._count:
            letters, boxes = self._counted(letters, scene, donor, own, rng)
            if len(boxes) < self._count:
                return NO_PLACE
        else:
            if self._replaces:
                letters = instead_of(letters, own, shape, self._size)
            else:
                letters = [one for one in letters if not any(overlap(box_of(one, shape), text) for text in own)]
            boxes = [box_of(one, shape) for one in letters]
            if not boxes:
                return TAKEN
            if scene.lungs is not None and any(in_lungs(box, scene.lungs, shape) for box in boxes):
                return IN_LUNGS
            if any(overlap(box, other) for k, box in enumerate(boxes) for other in boxes[:k]):
                return NO_PLACE
        covered = cover(own, shape)
        erased = [erasure(text, scene.image, covered) for text in own] if self._replaces else []
        laid = [lay(one, box, scene.image, covered) for one, box in zip(letters, boxes, strict=True)]
        return PasteDraw(patches=(*erased, *laid), opacity=self._opacity, donor=donor.record)

    def _counted(
        self, letters: list[Letters], scene: Scene, donor: Donor, own: Sequence[Box], rng: np.random.Generator
    ) -> tuple[list[Letters], list[Box]]:
        """Return as many letters as requested, or all that fit, from as many donors as needed."""
        shape = _shape(scene)
        found: list[Letters] = []
        boxes: list[Box] = []
        for _ in range(_DONORS_PER_LETTER * self._count):
            for one in letters:
                box = _settled(box_of(one, shape), boxes, own, scene, rng)
                if box is not None and len(boxes) < self._count:
                    found.append(one)
                    boxes.append(box)
            further = scene.donors.another(donor, scene.record, rng) if len(boxes) < self._count else None
            if further is None:
                break
            pixels = scene.donors.pixels(further)
            factor = self._size * max(shape) / max(pixels.shape[:2])
            letters = [scaled(one, factor, shape) for one in scene.donors.once(cut_letters, further)]
        return found, boxes


def _shape(scene: Scene) -> tuple[int, int]:
    height, width = scene.image.shape[:2]
    return height, width


def _settled(box: Box, taken: Sequence[Box], own: Sequence[Box], scene: Scene, rng: np.random.Generator) -> Box | None:
    """Return the box, or a free corner if it lies on other text or in the lungs."""
    shape = _shape(scene)
    if not in_lungs(box, scene.lungs, shape) and not any(overlap(box, other) for other in (*taken, *own)):
        return box
    return free_corner((box[3] - box[1], box[2] - box[0]), [*taken, *own], scene.lungs, shape, rng)
