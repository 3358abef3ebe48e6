"""Locating suspects: where a recurring object lies on an image, and whose images may test it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from audit.data.pixels.facts import GreyImage, StoredImage
from audit.data.records import Record, TextRegion
from audit.perturbations.fills import without_text
from audit.perturbations.places import Box, text_boxes
from audit.randomness import generator_for
from audit.store.serialise import plain, to_json
from audit.store.suspects import FoundSuspect, Sighting, SuspectTemplate

SEARCH_PX = 256
"""Long side of images in which objects are searched for."""
_FLAT_LEVELS = 2.5
"""Standard deviation below which a place is flat: there the correlation is only noise."""


def half_of(record: Record, seed: int) -> int:
    """Return the half of the patients, 0 or 1, that a record's patient belongs to: what one half proposes the other tests."""
    return int(generator_for(seed, "objects", "half", record.patient).random() < 0.5)


def at_search_scale(image: StoredImage, regions: Sequence[TextRegion]) -> GreyImage:
    """Return an image at the scale of the search, its darkest channel (h, w), its text inpainted: text is another suspect."""
    height, width = image.shape[:2]
    boxes = text_boxes(regions, (height, width))
    clean = without_text(image, boxes)
    if clean.ndim == 3:  # what is painted in any colour is dark in at least one channel, however bright it is as grey
        clean = clean.min(axis=-1)
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
    height, width = image.shape[:2]
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


def decode_template(template: SuspectTemplate) -> GreyImage:
    """Return the grey levels of a template, (height, width); too few or too many are repeated or cut."""
    levels = np.frombuffer(base64.b64decode(template.template), dtype=np.uint8)
    return np.resize(levels, (template.height, template.width)) if levels.size else np.zeros((2, 2), dtype=np.uint8)


def suspect_digest(suspect: FoundSuspect) -> str:
    """Return what names a suspect in a plan: it changes with everything that decides the pixels of its edits."""
    parts = (suspect.templates, suspect.home, suspect.sightings, suspect.without)
    return hashlib.sha256(to_json(plain(parts)).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """What was found on one image."""

    image: GreyImage
    """As it is stored."""
    regions: tuple[TextRegion, ...]
    """Its text."""
    small: GreyImage
    """The same at the scale of the search."""
    boxes: dict[tuple[int, int], tuple[Box, ...]] = field(default_factory=dict)
    """(number of the suspect, half that tests it) -> where it lies."""


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """The suspects of a run, for edits."""

    found: tuple[FoundSuspect, ...] = ()
    """By number, from 1; their sightings name images by the digest of their pixels."""
    donors: Mapping[str, Record] = field(default_factory=dict)
    """Digest of pixels -> the record of a sighting."""
    seed: int = 0
    """Run seed, which splits the patients into halves."""

    _last: dict[str, _Seen] = field(default_factory=dict, repr=False, compare=False)
    """The image that was looked at last."""

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """Return what names each suspect in a plan."""
        return tuple(map(suspect_digest, self.found))

    @cached_property
    def levels(self) -> Mapping[tuple[int, int], tuple[SuspectTemplate, GreyImage]]:
        """Return (number of the suspect, half that tests it) -> the template for that half, and its grey levels."""
        return {
            (number, 1 - template.half): (template, decode_template(template))
            for number, suspect in enumerate(self.found, start=1)
            for template in suspect.templates
        }

    def tests(self, number: int, record: Record) -> bool:
        """Say whether a record's patient may test a suspect: the other half of the patients proposed it."""
        return (number, half_of(record, self.seed)) in self.levels

    def sightings_for(self, number: int, record: Record) -> tuple[Sighting, ...]:
        """Return a suspect's sightings on images of the half that the record's patient does not belong to."""
        return tuple(s for s in self.found[number - 1].sightings if self._of_other_half(s.image, record))

    def without_for(self, number: int, record: Record) -> tuple[str, ...]:
        """Return the images of the half that the record's patient does not belong to which do not show a suspect."""
        return tuple(name for name in self.found[number - 1].without if self._of_other_half(name, record))

    def _of_other_half(self, image: str, record: Record) -> bool:
        return image in self.donors and half_of(self.donors[image], self.seed) != half_of(record, self.seed)

    def locate(self, number: int, record: Record, image: StoredImage, regions: Sequence[TextRegion]) -> tuple[Box, ...]:
        """Find a suspect on an image, by the template that the other half proposed: its boxes; none where no place is like it enough."""
        # Every draw of every condition asks for the same image: shrinking it and correlating it cost more than its edits.
        seen = self._last.get("image")
        if seen is None or seen.image is not image or seen.regions != tuple(regions):
            seen = _Seen(image=image, regions=tuple(regions), small=at_search_scale(image, regions))
            self._last["image"] = seen
        key = (number, half_of(record, self.seed))
        if key not in seen.boxes:
            seen.boxes[key] = self._find(key, seen.small, image.shape)
        return seen.boxes[key]

    def _find(self, key: tuple[int, int], small: GreyImage, shape: tuple[int, ...]) -> tuple[Box, ...]:
        template, levels = self.levels[key]
        score, left, top = best_place(small, levels)
        if score < template.threshold:
            return ()
        return tuple(
            to_pixels((left + x0, top + y0, left + x1, top + y1), small.shape, shape)
            for x0, y0, x1, y1 in template.reach
        )


def to_pixels(box: Box, shape: tuple[int, ...], target: tuple[int, ...]) -> Box:
    """Return a box of an image of `shape` (h, w) in pixels of the same image at another size, never empty."""
    across, down = target[1] / shape[1], target[0] / shape[0]
    left, top = int(np.floor(box[0] * across)), int(np.floor(box[1] * down))
    right, bottom = int(np.ceil(box[2] * across)), int(np.ceil(box[3] * down))
    left, top = min(max(left, 0), target[1] - 1), min(max(top, 0), target[0] - 1)
    return left, top, min(max(right, left + 1), target[1]), min(max(bottom, top + 1), target[0])
