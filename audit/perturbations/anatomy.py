"""Parts of the image kept or removed: lungs, their surroundings, centre and border (Maguolo & Nanni 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.facts import StoredImage
from audit.errors import UnknownNameError, UsageError, shown_value
from audit.perturbations.base import PERTURBATIONS, NotApplicable, Scene
from audit.perturbations.fills import without_text
from audit.perturbations.places import Box, text_boxes
from audit.perturbations.plausible import covers_too_much

_PARTS = ("lungs", "lungs-dilated", "lungs-box", "centre", "border")
_FILLS = ("mean", "black", "blur")
_PLACES = ("own", "elsewhere")
_SUSPECTS = {
    "lungs": "the lungs",
    "lungs-dilated": "the lungs and adjacent structures",
    "lungs-box": "the bounding box of the lungs",
    "centre": "the centre",
    "border": "the border",
}
_NAMES = {**_SUSPECTS, "lungs-dilated": "the lungs and a margin"}
# Reach of the dilation, and width of the border, as shares of the image's short side.
_DILATION_SHARE = 0.05
_BORDER_SHARE = 0.1
# Blur that leaves no organ's edge, as a share of the long side.
_BLUR_SHARE = 0.06
# Shifts drawn for a placebo, of which the one with the least overlap is taken.
_SHIFTS = 12


@dataclass(frozen=True, kw_only=True)
class AnatomyDraw:
    """What is removed."""

    removed: NDArray[np.bool_]
    """(h, w)."""
    text: tuple[Box, ...] = ()
    """Text that is inpainted first."""


@PERTURBATIONS.register("anatomy")
class Anatomy:
    """Keep one part of the image, or remove it.

    Parameters
    ----------
    part : {"lungs", "lungs-dilated", "lungs-box", "centre", "border"}
        The lungs by the manifest's mask, the mask grown by 5 % of the short side, or its bounding box; the image without
        its outer 10 %; or that outer frame. The first three do not apply to images without a mask.
    keep : bool
        Whether the part is kept or removed.
    fill : {"mean", "black", "blur"}
        What replaces the removed pixels: their mean level, black, or a blur in which nothing is recognisable.
    place : {"own", "elsewhere"}
        The part itself, or (its placebo) the same shape and area elsewhere, shifted around the image's edges to where it
        overlaps the part least.

    Words and markers often lie in the border. So that their effect is not attributed to it, the border (or an equal area from
    elsewhere) is kept with the image's text inpainted; `marker-only` keeps the text alone.
    """

    name = "anatomy"
    version = 2
    adds: tuple[str, ...] = ()
    seamless = False

    def __init__(self, *, part: str = "lungs", keep: bool = True, fill: str = "mean", place: str = "own") -> None:
        for kind, value, allowed in (
            ("part of the image", part, _PARTS),
            ("fill of anatomy", fill, _FILLS),
            ("place of anatomy", place, _PLACES),
        ):
            if value not in allowed:
                raise UnknownNameError(kind, value, allowed)
        if not isinstance(keep, bool):
            raise UsageError(f"keep must be true or false, found {shown_value(keep)}.")
        self._part = part
        self.needs: tuple[str, ...] = ("lung masks",) if part.startswith("lungs") else ()
        # The border is removed by removing the border itself, and by keeping only the centre.
        bordered = (part == "border" and not keep) or (part == "centre" and keep)
        self.removes: tuple[str, ...] = ("border",) if bordered and place == "own" else ()
        self.keeps: tuple[str, ...] = ("border",) if part == "border" and keep and place == "own" else ()
        self.suspect = _SUSPECTS[part]
        what = _NAMES[part] if place == "own" else f"an area elsewhere as large as {_NAMES[part]}"
        self.title = f"Only {what} kept" if keep else f"{what[0].upper()}{what[1:]} removed"
        self._keep = keep
        self._fill = fill
        self._elsewhere = place == "elsewhere"

    def draw(self, scene: Scene, rng: np.random.Generator) -> AnatomyDraw | NotApplicable:
        """Find the part, and for a placebo a place of equal area."""
        part = self._find(scene)
        if isinstance(part, NotApplicable):
            return part
        if self._elsewhere:
            part = _shifted(part, rng)
        removed = ~part if self._keep else part
        if not (self._part == "border" and self._keep):
            return AnatomyDraw(removed=removed)
        height, width = scene.image.shape[:2]
        text = text_boxes(scene.regions, (height, width))
        return covers_too_much(text, scene) or AnatomyDraw(removed=removed, text=text)

    def apply(self, image: StoredImage, drawn: AnatomyDraw) -> StoredImage:
        """Return a copy of the image in which the removed part is filled."""
        edited = without_text(image, drawn.text)
        if not drawn.removed.any():
            return edited
        if self._fill == "black":
            edited[drawn.removed] = 0
        elif self._fill == "mean":
            edited[drawn.removed] = np.rint(edited[drawn.removed].mean(axis=0)).astype(np.uint8)
        else:
            blurred = cv2.GaussianBlur(edited, (0, 0), _BLUR_SHARE * max(image.shape[:2]))
            edited[drawn.removed] = np.asarray(blurred, dtype=np.uint8)[drawn.removed]
        return edited

    def _find(self, scene: Scene) -> NDArray[np.bool_] | NotApplicable:
        height, width = scene.image.shape[:2]
        if self._part in ("centre", "border"):
            frame = max(1, round(_BORDER_SHARE * min(height, width)))
            border = np.ones((height, width), dtype=np.bool_)
            border[frame : height - frame, frame : width - frame] = False
            return border if self._part == "border" else ~border
        if scene.lungs is None:
            return NotApplicable("no lung mask")
        lungs = scene.lungs
        if not lungs.any():
            return NotApplicable("empty lung mask")
        if self._part == "lungs-dilated":
            reach = 2 * round(_DILATION_SHARE * min(height, width)) + 1
            kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
            return np.asarray(cv2.dilate(lungs.astype(np.uint8), kernel), dtype=np.bool_)
        if self._part == "lungs-box":
            box = np.zeros_like(lungs)
            rows, columns = np.flatnonzero(lungs.any(axis=1)), np.flatnonzero(lungs.any(axis=0))
            box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
            return box
        return lungs


def _shifted(part: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Shift a shape around the edges; of a few random shifts, return the one that overlaps it least."""
    height, width = part.shape
    shifts = [(int(rng.integers(height)), int(rng.integers(width))) for _ in range(_SHIFTS)]
    moved = [np.roll(part, shift, axis=(0, 1)) for shift in shifts]
    return min(moved, key=lambda m: int(np.count_nonzero(m & part)))
