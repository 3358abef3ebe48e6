"""Is the text alone sufficient? Text on the mean image of the cohort, without the patient (AJR 2021's "labels only")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audit.data.pixels.facts import StoredImage
from audit.errors import UnknownNameError
from audit.perturbations.base import PERTURBATIONS, NotApplicable, Scene
from audit.perturbations.places import Box, relocate_all, text_boxes
from audit.perturbations.plausible import covers_too_much

_CONTENTS = ("text", "elsewhere")


@dataclass(frozen=True, kw_only=True)
class MarkerDraw:
    """What is kept, and the background."""

    boxes: tuple[Box, ...]
    """Boxes of the image that are kept."""
    background: StoredImage
    """The rest, of the image's shape."""


@PERTURBATIONS.register("marker-only")
class MarkerOnly:
    """Keep the text regions only, on the mean of the classes' mean images.

    The background is the same for every class, so that only the kept part can distinguish them.

    Parameters
    ----------
    content : {"text", "elsewhere"}
        The text (the edit), or the same shapes from places without text, matched in distance to the border and in
        brightness (its placebo).
    """

    name = "marker-only"
    version = 2
    needs: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()
    seamless = False
    compares: tuple[str, ...] = ("background",)

    def __init__(self, *, content: str = "text") -> None:
        if content not in _CONTENTS:
            raise UnknownNameError("content of marker-only", content, _CONTENTS)
        self._content = content
        self.keeps: tuple[str, ...] = ("text",) if content == "text" else ()
        self.suspect = "the text" if content == "text" else "patches without text"
        self.title = "Only the text kept" if content == "text" else "Only patches without text kept"

    def draw(self, scene: Scene, rng: np.random.Generator) -> MarkerDraw | NotApplicable:
        """Choose what to keep."""
        height, width = scene.image.shape[:2]
        boxes: tuple[Box, ...] | None = text_boxes(scene.regions, (height, width))
        if not boxes:
            return NotApplicable("no text")
        too_much = covers_too_much(boxes, scene)
        if too_much is not None:
            return too_much
        if scene.background is None:
            return NotApplicable("no mean image of the cohort")
        if self._content == "elsewhere":
            boxes = relocate_all(scene.image, boxes, rng)
        if boxes is None:
            return NotApplicable("no free place for the placebo")
        return MarkerDraw(boxes=boxes, background=scene.background((height, width)))

    def apply(self, image: StoredImage, drawn: MarkerDraw) -> StoredImage:
        """Return the background with the kept boxes of grey (h, w) on it."""
        edited = drawn.background.copy()
        for x0, y0, x1, y1 in drawn.boxes:
            edited[y0:y1, x0:x1] = image[y0:y1, x0:x1]
        return edited
