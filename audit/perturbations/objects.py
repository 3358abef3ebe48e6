"""Objects that a search proposed: removed where they are, and added to images of classes that seldom show them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.facts import GreyImage
from audit.data.records import Record
from audit.errors import AuditError, UnknownNameError, UsageError, shown_value
from audit.perturbations.base import PERTURBATIONS, NotApplicable, Scene
from audit.perturbations.donors import Donor
from audit.perturbations.fills import inpaint
from audit.perturbations.places import Box, cover, overlap, relocate_all, text_boxes
from audit.perturbations.suspects import Suspects, proposes, suspect_digest
from audit.store.suspects import MOST_SUSPECTS, FoundSuspect

Field = NDArray[np.float32]
ACTIONS = ("remove", "remove-elsewhere", "add", "add-patch")
# How far a box grows before it is inpainted, as a share of its short side: the soft edge of an object belongs to it.
_PAD_SHARE = 0.12
# Places that are tried for one without text.
_PLACES = 8
# Width of the soft edge of what is added, as a share of the short side.
_FEATHER_SHARE = 0.15


@dataclass(frozen=True, kw_only=True)
class ObjectDraw:
    """What is done to an image."""

    box: Box
    """Where."""
    added: Field | None
    """Grey levels above the inpainted image there, (h, w), with soft edges; None where the place is inpainted only."""
    opacity: Field | None
    """(h, w) opacity of the added levels, 0 to 1; None in the same case."""
    donor: Record | None = None
    """Image that the levels come from."""


@PERTURBATIONS.register("object")
class ObjectEdit:
    """Remove or add one of the objects that the search of this run proposed.

    Only images of patients who did not propose it are edited. An object is located by normalised cross-correlation with its template.

    Parameters
    ----------
    suspect : int
        Number of the suspect, from 1.
    action : {"remove", "remove-elsewhere", "add", "add-patch"}
        Inpaint it; inpaint the same shape at a matched place without it (its placebo); lay it, from an image that shows it, on an image
        of a class that seldom does; lay a random patch of the same image there in the same way (its placebo).
    digest : str
        Identifies the suspect; written by the run, so that the plan contains it.
    """

    name = "object"
    version = 1
    needs: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    seamless = True

    def __init__(self, *, suspect: int = 1, action: str = "remove", digest: str = "") -> None:
        if action not in ACTIONS:
            raise UnknownNameError("action on an object", str(action), ACTIONS)
        if type(suspect) is not int or not 1 <= suspect <= MOST_SUSPECTS:
            raise UsageError(
                f"The number of a suspect must be an integer from 1 to {MOST_SUSPECTS}, found {shown_value(suspect)}."
            )
        self._number, self._action, self._digest = suspect, action, digest
        self.removes: tuple[str, ...] = ("object",) if action == "remove" else ()
        self.adds: tuple[str, ...] = ("object",) if action == "add" else ()
        self.suspect = f"the object seen in suspect-{suspect} (see its picture)"

    def draw(self, scene: Scene, rng: np.random.Generator) -> ObjectDraw | NotApplicable:
        """Locate the object, and choose its replacement or its donor."""
        suspects = scene.suspects
        if suspects is None or len(suspects.found) < self._number:
            return NotApplicable("no such object was proposed")
        suspect = suspects.found[self._number - 1]
        if self._digest and suspect_digest(suspect) != self._digest:
            raise AuditError(
                f"Suspect {self._number} is not the object in the plan of this run. Remove the run's folder and start again."
            )
        if proposes(scene.record, suspects.seed):
            return NotApplicable("its patient proposed the object")
        here = suspects.locate(self._number, scene.image, scene.regions)
        if self._action.startswith("remove"):
            return self._removed(scene, here, rng)
        return self._added(scene, suspects, suspect, here, rng)

    def apply(self, image: GreyImage, drawn: ObjectDraw) -> GreyImage:
        """Return a copy of grey (h, w) with the place inpainted, or the object laid on it."""
        x0, y0, x1, y1 = drawn.box
        height, width = image.shape
        edited = image.copy()
        film = inpaint(image, drawn.box, cover([drawn.box], (height, width)))
        if drawn.added is None or drawn.opacity is None:
            edited[y0:y1, x0:x1] = film
            return edited
        under = image[y0:y1, x0:x1].astype(np.float32)
        laid = under + drawn.opacity * (film - under) + drawn.added
        edited[y0:y1, x0:x1] = np.clip(np.rint(laid), 0, 255).astype(np.uint8)
        return edited

    def _removed(self, scene: Scene, here: Box | None, rng: np.random.Generator) -> ObjectDraw | NotApplicable:
        if here is None:
            return NotApplicable("object not found")
        height, width = scene.image.shape
        box = _grown(here, (height, width))
        if self._action == "remove":
            return ObjectDraw(box=box, added=None, opacity=None)
        text = text_boxes(scene.regions, (height, width))
        for _ in range(_PLACES):
            moved = relocate_all(scene.image, (box,), rng)
            if moved is not None and not any(overlap(moved[0], other) for other in text):
                return ObjectDraw(box=moved[0], added=None, opacity=None)
        return NotApplicable("no free place for the placebo")

    def _added(
        self, scene: Scene, suspects: Suspects, suspect: FoundSuspect, here: Box | None, rng: np.random.Generator
    ) -> ObjectDraw | NotApplicable:
        if here is not None:
            return NotApplicable("it shows the object already")
        if scene.record.label in suspect.home:
            return NotApplicable("its class often shows the object")
        known = [s for s in suspect.sightings if s.image in suspects.donors]
        if not known:
            return NotApplicable("no image that shows the object")
        sighting = known[int(rng.integers(len(known)))]
        donor = suspects.donors[sighting.image]
        pixels = scene.donors.pixels(Donor(record=donor, regions=()))
        height, width = pixels.shape
        place = sighting.box
        source = _grown(
            (round(place.x0 * width), round(place.y0 * height), round(place.x1 * width), round(place.y1 * height)),
            (height, width),
        )
        if self._action == "add-patch":
            moved = relocate_all(pixels, (source,), rng)
            if moved is None:
                return NotApplicable("no free place for the placebo")
            patch = moved[0]
        else:
            patch = source
        x0, y0, x1, y1 = patch
        film = inpaint(pixels, patch, cover([patch], (height, width)))
        contrast = pixels[y0:y1, x0:x1].astype(np.float32) - film
        # By the long side, as the search does: an object keeps its size relative to the image.
        scale = max(scene.image.shape) / max(pixels.shape)
        h, w = (
            max(1, min(limit, round(side * scale)))
            for side, limit in zip(contrast.shape, scene.image.shape, strict=True)
        )
        if (h, w) != contrast.shape:
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            contrast = np.asarray(cv2.resize(contrast, (w, h), interpolation=how), dtype=np.float32)
        centre = (place.y0 + place.y1) / 2 * scene.image.shape[0], (place.x0 + place.x1) / 2 * scene.image.shape[1]
        top = min(max(round(centre[0] - h / 2), 0), scene.image.shape[0] - h)
        left = min(max(round(centre[1] - w / 2), 0), scene.image.shape[1] - w)
        soft = _feather((h, w))
        return ObjectDraw(box=(left, top, left + w, top + h), added=soft * contrast, opacity=soft, donor=donor)


def _grown(box: Box, shape: tuple[int, int]) -> Box:
    x0, y0, x1, y1 = box
    pad = max(1, round(_PAD_SHARE * min(x1 - x0, y1 - y0)))
    height, width = shape
    left, top = min(max(0, x0 - pad), width - 1), min(max(0, y0 - pad), height - 1)
    return left, top, max(left + 1, min(width, x1 + pad)), max(top + 1, min(height, y1 + pad))


def _feather(shape: tuple[int, int]) -> Field:
    """Return weights (h, w) that are 1 inside and fall to 0 at the edges."""
    reach = max(1.0, _FEATHER_SHARE * min(shape))
    ramps = [np.minimum(1.0, (np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5) / reach) for n in shape]
    return np.asarray(np.outer(*ramps), dtype=np.float32)
