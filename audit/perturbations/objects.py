"""Objects that a search proposed: removed where they are, and added to images of classes that seldom show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.colour import like, luminance
from audit.data.pixels.facts import StoredImage
from audit.data.records import Record
from audit.errors import AuditError, UnknownNameError, UsageError, shown_value
from audit.perturbations.base import PERTURBATIONS, NotApplicable, Scene
from audit.perturbations.donors import Donor
from audit.perturbations.fills import inpaint_all
from audit.perturbations.places import Box, around, cover, text_boxes
from audit.perturbations.plausible import MOST_OBJECT_LUNG_SHARE, covers_too_much
from audit.perturbations.suspects import Suspects
from audit.store.pictures import Spot
from audit.store.suspects import MOST_SUSPECTS, FoundSuspect

Field = NDArray[np.float32]
ACTIONS = ("remove", "remove-elsewhere", "add", "add-patch")
_TITLES = {
    "remove": "Object {} inpainted",
    "remove-elsewhere": "Shape of object {} inpainted elsewhere",
    "add": "Object {} added",
    "add-patch": "Patch without object {} added",
}
# Free places for a placebo, of which the most similar is taken, and places that are tried for them.
_PLACES, _TRIES = 8, 200
# What counts as one unit of difference between places: of distance to the border (share of the long side), brightness and texture (levels).
_UNITS = (0.1, 20.0, 5.0)
# How far around boxes their texture is looked at, and how far it is told from shading, in shares of the image's long side.
_RING_SHARE, _FINE_SHARE = 0.03, 0.01


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What is laid on an image."""

    frame: Box
    """Where."""
    added: Field
    """(h, w) or (h, w, 3) levels above the inpainted image; next to nothing at the edges, which lie beside the object."""
    opacity: Field
    """(h, w) how far the image gives way, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class ObjectDraw:
    """What is done to an image."""

    boxes: tuple[Box, ...]
    """What is inpainted."""
    layer: Layer | None = None
    """What is laid there, after it gave way; None where the places are inpainted only."""
    donor: Record | None = None
    """Image that the layer comes from."""


@PERTURBATIONS.register("object")
class ObjectEdit:
    """Remove or add one of the objects that the search of this run proposed.

    Only images of patients who did not propose it are edited: each half of the patients tests what the other half proposes. An object is
    located by normalised cross-correlation with its template. An edit that would cover the patient, or leave lungs unlike any of the
    cohort, is not made (`audit.perturbations.plausible`).

    Parameters
    ----------
    suspect : int
        Number of the suspect, from 1.
    action : {"remove", "remove-elsewhere", "add", "add-patch"}
        Inpaint its outline; inpaint the same shape, moved or mirrored, at a matched place without it (its placebo); lay it, from an
        image that shows it, on an image of a class that seldom does; lay what another image has at the same place, without the
        object, there in the same way (its placebo: what a random place has is a foreign object itself).
    digest : str
        Identifies the suspect; written by the run, so that the plan contains it.
    """

    name = "object"
    version = 5
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
        self.compares: tuple[str, ...] = ("leaves_range",)
        self.removes: tuple[str, ...] = ("object",) if action == "remove" else ()
        self.adds: tuple[str, ...] = ("object",) if action == "add" else ()
        self.suspect = f"the object seen in suspect-{suspect} (see its picture)"
        self.title = _TITLES[action].format(suspect)

    def draw(self, scene: Scene, rng: np.random.Generator) -> ObjectDraw | NotApplicable:
        """Locate the object, and choose its replacement or its donor."""
        suspects = scene.suspects
        if suspects is None or len(suspects.found) < self._number:
            return NotApplicable("no such object was proposed")
        suspect = suspects.found[self._number - 1]
        if self._digest and suspects.digests[self._number - 1] != self._digest:
            raise AuditError(
                f"Suspect {self._number} is not the object in the plan of this run. Remove the run's folder and start again."
            )
        if not suspects.tests(self._number, scene.record):
            return NotApplicable("its patient's half proposed the object")
        here = suspects.locate(self._number, scene.record, scene.image, scene.regions)
        if self._action.startswith("remove"):
            return self._removed(scene, here, rng)
        return self._added(scene, suspects, suspect, here, rng)

    def apply(self, image: StoredImage, drawn: ObjectDraw) -> StoredImage:
        """Return a copy of the image with the places inpainted, or the object laid on them."""
        bare = inpaint_all(image, drawn.boxes)
        if drawn.layer is None:
            return bare
        x0, y0, x1, y1 = drawn.layer.frame
        under = image[y0:y1, x0:x1].astype(np.float32)
        laid = under + like(image, drawn.layer.opacity) * (bare[y0:y1, x0:x1] - under) + drawn.layer.added
        edited = image.copy()
        edited[y0:y1, x0:x1] = np.clip(np.rint(laid), 0, 255).astype(np.uint8)
        return edited

    def check(self, scene: Scene, edited: StoredImage) -> NotApplicable | None:
        """Return how the lungs left the range of the cohort's grey levels: what was laid there whitened them, or hid them."""
        return None if scene.leaves_range is None else scene.leaves_range(edited, scene.lungs)

    def _removed(self, scene: Scene, here: tuple[Box, ...], rng: np.random.Generator) -> ObjectDraw | NotApplicable:
        if not here:
            return NotApplicable("object not found")
        height, width = scene.image.shape[:2]
        boxes = here
        too_much = _too_much(boxes, scene)
        if too_much is not None:
            return too_much
        if self._action == "remove":
            return ObjectDraw(boxes=boxes)
        moved = elsewhere(
            scene.image,
            boxes,
            text_boxes(scene.regions, (height, width)),
            rng,
            allowed=lambda found: _too_much(found, scene) is None,
        )
        return NotApplicable("no free place for the placebo") if moved is None else ObjectDraw(boxes=moved)

    def _added(
        self,
        scene: Scene,
        suspects: Suspects,
        suspect: FoundSuspect,
        here: tuple[Box, ...],
        rng: np.random.Generator,
    ) -> ObjectDraw | NotApplicable:
        if here:
            return NotApplicable("it shows the object already")
        if scene.record.label in suspect.home:
            return NotApplicable("its class often shows the object")
        known = suspects.sightings_for(self._number, scene.record)
        if not known:
            return NotApplicable("no image that shows the object")
        sighting = known[int(rng.integers(len(known)))]
        donor = suspects.donors[sighting.image]
        if self._action == "add-patch":
            without = suspects.without_for(self._number, scene.record)
            if not without:
                return NotApplicable("no image without the object")
            donor = suspects.donors[without[int(rng.integers(len(without)))]]
        pixels = scene.donors.pixels(Donor(record=donor, regions=()))
        height, width = pixels.shape[:2]
        source = tuple(_in_pixels(spot, (height, width)) for spot in sighting.boxes)
        boxes, layer = _laid(pixels, source, scene.image.shape)
        return _too_much(boxes, scene) or ObjectDraw(boxes=boxes, layer=layer, donor=donor)


def _in_pixels(spot: Spot, shape: tuple[int, int]) -> Box:
    height, width = shape
    left, top = min(round(spot.x0 * width), width - 1), min(round(spot.y0 * height), height - 1)
    return left, top, max(left + 1, round(spot.x1 * width)), max(top + 1, round(spot.y1 * height))


def _too_much(boxes: Sequence[Box], scene: Scene) -> NotApplicable | None:
    return covers_too_much(boxes, scene, of="the object", most_of_lungs=MOST_OBJECT_LUNG_SHARE)


def _laid(pixels: StoredImage, source: Sequence[Box], shape: tuple[int, ...]) -> tuple[tuple[Box, ...], Layer]:
    """Lay what stands out in boxes of a donor where they would lie on an image of another shape.

    Sizes and distances go by the long side, as in the search: an object keeps its size relative to the image.
    """
    scale = max(shape[:2]) / max(pixels.shape[:2])
    frame = around(source)
    middle = [(frame[k] + frame[k + 2]) / 2 / pixels.shape[1 - k] * shape[1 - k] for k in (0, 1)]
    size = [max(1, min(shape[1 - k], round((frame[k + 2] - frame[k]) * scale))) for k in (0, 1)]
    left, top = (min(max(round(middle[k] - size[k] / 2), 0), shape[1 - k] - size[k]) for k in (0, 1))
    x0, y0, x1, y1 = frame
    contrast = (pixels.astype(np.float32) - inpaint_all(pixels, source))[y0:y1, x0:x1]
    inside = cover(source, pixels.shape[:2])[y0:y1, x0:x1].astype(np.float32)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    added, opacity = (np.asarray(cv2.resize(v, tuple(size), interpolation=how), np.float32) for v in (contrast, inside))
    added *= like(pixels, opacity)
    boxes = []
    for a, b, c, d in source:
        x, y = (min(int((edge - frame[k]) * scale), size[k] - 1) for k, edge in enumerate((a, b)))
        w, h = (max(1, min(int(np.ceil(n * scale)), size[k] - (x, y)[k])) for k, n in enumerate((c - a, d - b)))
        boxes.append((left + x, top + y, left + x + w, top + y + h))
    return tuple(boxes), Layer(frame=(left, top, left + size[0], top + size[1]), added=added, opacity=opacity)


def elsewhere(
    image: StoredImage,
    boxes: Sequence[Box],
    text: Sequence[Box],
    rng: np.random.Generator,
    allowed: Callable[[Sequence[Box]], bool] = lambda _: True,
) -> tuple[Box, ...] | None:
    """Move a shape, as it is or mirrored, to an allowed place that it does not cover and that bears no text; None without such.

    Of the places that were drawn the one nearest in distance to the border, in brightness and in texture is taken. A chest is nearly
    symmetrical, so the mirrored place is among them.
    """
    height, width = image.shape[:2]
    grey = luminance(image)
    fine = grey - cv2.GaussianBlur(grey.astype(np.float32), (0, 0), max(1.0, _FINE_SHARE * max(grey.shape)))
    reach = max(2, round(_RING_SHARE * max(image.shape[:2])))
    ring, own = _ring(boxes, reach, (height, width)), cover([*boxes, *text], (height, width))
    x0, y0, x1, y1 = around(boxes)
    mirrored = tuple((width - c, b, width - a, d) for a, b, c, d in boxes)
    wanted = (_from_border((x0, y0, x1, y1), (height, width)), _mean(grey, ring), _spread(fine, ring))
    found: list[tuple[float, tuple[Box, ...]]] = []
    for attempt in range(_TRIES):
        shape, left = (boxes, x0) if attempt % 2 else (mirrored, width - x1)
        # The mirrored place itself first.
        dx = 0 if not attempt else int(rng.integers(-left, width - (x1 - x0) - left + 1))
        dy = 0 if not attempt else int(rng.integers(-y0, height - y1 + 1))
        moved = tuple((a + dx, b + dy, c + dx, d + dy) for a, b, c, d in shape)
        if any(own[b:d, a:c].any() for a, b, c, d in moved) or not allowed(moved):
            continue
        inside = cover(moved, (height, width))
        have = (_from_border(around(moved), (height, width)), _mean(grey, inside), _spread(fine, inside))
        off = sum(abs(a - b) / unit for a, b, unit in zip(have, wanted, _UNITS, strict=True))
        found.append((off, moved))
        if len(found) == _PLACES:
            break
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _ring(boxes: Sequence[Box], reach: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return what lies around boxes: what an object hides is like what is beside it."""
    inside = cover(boxes, shape).astype(np.uint8)
    return np.asarray(cv2.dilate(inside, np.ones((2 * reach + 1,) * 2, np.uint8)) > inside)


def _from_border(box: Box, shape: tuple[int, int]) -> float:
    """Return the distance of a box from the nearest border, as a share of the image's long side."""
    height, width = shape
    return min(box[0], box[1], width - box[2], height - box[3]) / max(shape)


def _mean(levels: NDArray[Any], where: NDArray[np.bool_]) -> float:
    return float(levels[where].mean()) if where.any() else 0.0


def _spread(levels: NDArray[Any], where: NDArray[np.bool_]) -> float:
    return float(levels[where].std()) if where.any() else 0.0
