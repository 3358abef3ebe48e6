"""Text masking (Bassi & Attux 2021, section 6.2), and the placebo that masks the same shapes without text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audit.data.pixels.colour import like
from audit.data.pixels.facts import StoredImage
from audit.errors import UnknownNameError, UsageError
from audit.perturbations.base import PERTURBATIONS, NotApplicable, Scene
from audit.perturbations.fills import BY_STROKES, FILLED, FILLS, SEAMLESS
from audit.perturbations.places import MIN_PAD_PX, PAD_SHARE, Box, cover, relocate_all, text_boxes
from audit.perturbations.plausible import covers_too_much
from audit.perturbations.strokes import laid_strokes

# Draws of all places of a placebo, of which the first that spares the lungs is taken.
_PLACEBO_TRIES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskDraw:
    """Where to mask."""

    boxes: tuple[Box, ...]
    """(x0, y0, x1, y1) in pixels, half-open."""
    text: tuple[Box, ...]
    """The image's text boxes, whose strokes give some fills their shape: `boxes` themselves for the edit."""


class _Mask:
    """Shared by the edit and its placebo: which boxes a mask covers, and what it is filled with."""

    _titled: str
    """The title, with a place for what is done to the boxes."""

    def __init__(self, *, fill: str = "black", pad_share: float = PAD_SHARE, min_pad_px: int = MIN_PAD_PX) -> None:
        if fill not in FILLS:
            raise UnknownNameError("fill", fill, FILLS)
        if not 0 <= pad_share <= 2 or min_pad_px < 0:
            raise UsageError(
                f"A mask needs pad_share in 0..2 and min_pad_px from 0, found {pad_share} and {min_pad_px}."
            )
        self._fill = FILLS[fill]
        self.title = self._titled.format(FILLED[fill])
        self.seamless = fill in SEAMLESS
        self._by_strokes = fill in BY_STROKES
        self._pad_share = pad_share
        self._min_pad_px = min_pad_px

    def boxes(self, scene: Scene) -> tuple[Box, ...]:
        """Return the boxes that cover the image's text."""
        height, width = scene.image.shape[:2]
        return text_boxes(scene.regions, (height, width), pad_share=self._pad_share, min_pad_px=self._min_pad_px)

    def apply(self, image: StoredImage, drawn: MaskDraw) -> StoredImage:
        """Return a copy of the image in which every box is filled from the unedited surroundings."""
        height, width = image.shape[:2]
        covered = (
            laid_strokes(image, drawn.text, drawn.boxes) if self._by_strokes else cover(drawn.boxes, (height, width))
        )
        edited = image.copy()
        for box in drawn.boxes:
            inside = (slice(box[1], box[3]), slice(box[0], box[2]))
            shape = like(image, covered[inside])
            edited[inside] = np.where(shape, self._fill(image, box, covered), edited[inside])
        return edited


@PERTURBATIONS.register("text-mask")
class TextMask(_Mask):
    """Cover every text region, unless the boxes cover so much that they cannot be text (`audit.perturbations.plausible`).

    Parameters
    ----------
    fill : {"black", "median", "inpaint", "blur"}
        Black as in the paper; the median of a ring around the box; inpainting from the surroundings; or the text
        itself, blurred. Black replaces one artefact by another, so compare it with a fill that leaves none. Median and inpaint
        fill the strokes alone (`audit.perturbations.strokes`), black and blur whole boxes.
    pad_share : float
        How far a box grows, as a share of its short side.
    min_pad_px : int
        How far it grows at least, in pixels of the stored image.
    """

    name = "text-mask"
    version = 4
    needs: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    removes: tuple[str, ...] = ("text",)
    adds: tuple[str, ...] = ()
    suspect = "the text"
    _titled = "Text {}"

    def draw(self, scene: Scene, rng: np.random.Generator) -> MaskDraw | NotApplicable:
        """Return the boxes over the image's text."""
        boxes = self.boxes(scene)
        if not boxes:
            return NotApplicable("no text")
        return covers_too_much(boxes, scene) or MaskDraw(boxes=boxes, text=boxes)


@PERTURBATIONS.register("placebo-mask")
class PlaceboMask(_Mask):
    """Cover the same shapes where there is no text, matched in distance to the border and in local brightness.

    Takes the parameters of `text-mask`.
    """

    name = "placebo-mask"
    version = 4
    needs: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()
    suspect = "the rectangles of a mask"
    _titled = "Same shapes elsewhere {}"

    def draw(self, scene: Scene, rng: np.random.Generator) -> MaskDraw | NotApplicable:
        """Return moved boxes."""
        text = self.boxes(scene)
        if not text:
            return NotApplicable("no text")
        too_much = covers_too_much(text, scene)
        if too_much is not None:
            return too_much
        for _ in range(_PLACEBO_TRIES):
            moved = relocate_all(scene.image, text, rng)
            if moved is None:
                break
            # A placebo must not cover more of the patient than text may.
            if covers_too_much(moved, scene) is None:
                return MaskDraw(boxes=moved, text=text)
        return NotApplicable("no free place for the placebo")
