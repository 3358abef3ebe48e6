"""Locating suspects: where a recurring object lies on an image, and whose images may test it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from audit.data.pixels.facts import GreyImage
from audit.data.records import Record, TextRegion
from audit.perturbations.fills import inpaint
from audit.perturbations.places import Box, cover, text_boxes
from audit.randomness import generator_for
from audit.store.results import plain, to_json
from audit.store.suspects import FoundSuspect

SEARCH_PX = 256
"""Long side of images in which objects are searched for."""
_FLAT_LEVELS = 2.5
"""Standard deviation below which a place is flat: there the correlation is only noise."""


def proposes(record: Record, seed: int) -> bool:
    """Say whether a record's patient belongs to the half that proposes suspects; the other half tests them."""
    return bool(generator_for(seed, "objects", "half", record.patient).random() < 0.5)


def at_search_scale(image: GreyImage, regions: Sequence[TextRegion]) -> GreyImage:
    """Return an image (h, w) at the scale of the search, its text inpainted: text is another suspect."""
    height, width = image.shape
    boxes = text_boxes(regions, (height, width))
    clean = image.copy()
    covered = cover(boxes, (height, width))
    for box in boxes:
        x0, y0, x1, y1 = box
        clean[y0:y1, x0:x1] = inpaint(image, box, covered)
    scale = SEARCH_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(clean, size, interpolation=how), dtype=np.uint8)


def best_place(image: GreyImage, template: GreyImage) -> tuple[float, int, int]:
    """Find where an image (h, w) is most like a template (t, u).

    Returns
    -------
    tuple of (float, int, int)
        Normalised cross-correlation, and the left and top edge of the place; -1 where the template does not fit, or all is flat.
    """
    t, u = template.shape
    height, width = image.shape
    if t > height or u > width:
        return -1.0, 0, 0
    found = np.nan_to_num(cv2.matchTemplate(image, template, cv2.TM_CCOEFF_NORMED), nan=-1.0, posinf=-1.0, neginf=-1.0)
    for _ in range(2):
        top, left = (int(i) for i in np.unravel_index(int(found.argmax()), found.shape))
        if image[top : top + t, left : left + u].std() >= _FLAT_LEVELS:
            return float(min(found[top, left], 1.0)), left, top
        # Rare: only then is it worth finding every flat place.
        values = image.astype(np.float64)
        mean, square = (
            cv2.boxFilter(v, -1, (u, t), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)[
                : found.shape[0], : found.shape[1]
            ]
            for v in (values, values**2)
        )
        found = np.where(square - mean**2 < _FLAT_LEVELS**2, -1.0, found)
    return -1.0, 0, 0


def decode_template(suspect: FoundSuspect) -> GreyImage:
    """Return the template of a suspect, (height, width); one of another length than it states is filled with black or cut."""
    levels = np.frombuffer(base64.b64decode(suspect.template), dtype=np.uint8)
    return np.resize(levels, (suspect.height, suspect.width)) if levels.size else np.zeros((2, 2), dtype=np.uint8)


def suspect_digest(suspect: FoundSuspect) -> str:
    """Return the digest that identifies a suspect in a plan: it changes with everything that affects the pixels of its edits."""
    parts = (
        suspect.height,
        suspect.width,
        suspect.reach,
        suspect.template,
        suspect.threshold,
        suspect.home,
        suspect.sightings,
    )
    return hashlib.sha256(to_json(plain(parts)).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """The suspects of a run, for edits."""

    found: tuple[FoundSuspect, ...] = ()
    """By number, from 1; their sightings name images by the digest of their pixels."""
    donors: Mapping[str, Record] = field(default_factory=dict)
    """Digest of pixels -> the record of a sighting."""
    seed: int = 0
    """Run seed, which splits the patients into halves."""

    @cached_property
    def templates(self) -> tuple[GreyImage, ...]:
        """Return the templates, in the same order."""
        return tuple(decode_template(suspect) for suspect in self.found)

    def locate(self, number: int, image: GreyImage, regions: Sequence[TextRegion]) -> Box | None:
        """Find a suspect on an image (h, w); None if no place reaches its threshold of correlation."""
        template = self.templates[number - 1]
        small = at_search_scale(image, regions)
        score, left, top = best_place(small, template)
        if score < self.found[number - 1].threshold:
            return None
        x0, y0, x1, y1 = self.found[number - 1].reach
        return to_pixels((left + x0, top + y0, left + x1, top + y1), small.shape, image.shape)


def to_pixels(box: Box, shape: tuple[int, ...], target: tuple[int, ...]) -> Box:
    """Return a box of an image of `shape` (h, w) in pixels of the same image at another size, never empty."""
    across, down = target[1] / shape[1], target[0] / shape[0]
    left, top = int(np.floor(box[0] * across)), int(np.floor(box[1] * down))
    right, bottom = int(np.ceil(box[2] * across)), int(np.ceil(box[3] * down))
    left, top = min(max(left, 0), target[1] - 1), min(max(top, 0), target[0] - 1)
    return left, top, min(max(right, left + 1), target[1]), min(max(bottom, top + 1), target[0])
