"""Global properties of images, measured outside the disease, and samples of them by class.

A network may distinguish classes by how their images were exposed, processed or framed, without any text or source. Grey curve, sharpness
and noise are measured outside the lungs, with the text inpainted, because inside them the disease itself changes grey levels and texture.
If the manifest names no lung mask, the outer fifth of the image is used instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.data.images import read_mask
from audit.data.pixels.colour import channels_of, luminance
from audit.data.pixels.facts import GreyImage, StoredImage
from audit.data.records import Record, TextRegion
from audit.perturbations.compression import jpeg_quality
from audit.perturbations.frames import Frame, frame_of, frame_px, image_without_text
from audit.perturbations.framing import FRAMINGS, Framing, dealt_frames, likest_framing, thumbnail
from audit.perturbations.groups import Group, Groups, known_mean
from audit.perturbations.places import inner_part
from audit.perturbations.sharpness import Texture, measure_texture
from audit.randomness import generator_for

Field = NDArray[np.float64]

PATIENTS_PER_GROUP = 100
"""Largest number of patients per group on whom properties are measured."""
IMAGES_PER_PATIENT = 2
"""Images of each that are measured, at most: what differs between images of a patient is chance that a mean of two has less of."""
MIN_PATIENTS = 5
"""Groups with fewer patients are not compared."""
N_QUANTILES = 65
_COMPARED = 50
"""Patients of a group whose images show how frames are taken on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Properties:
    """What was measured on one image."""

    curve: Field
    """(c, q) levels at even shares of the pixels outside the lungs, of each channel."""
    texture: Texture
    """Sharpness and noise of the brightness outside the lungs."""
    frame: Frame
    """The uniform frame, and the aspect ratio."""
    thumbnail: GreyImage
    """The image as a small square."""
    quality: float
    """Of its JPEG compression (`audit.perturbations.compression`)."""


def measure_properties(
    image: StoredImage, regions: Sequence[TextRegion], lungs: NDArray[np.bool_] | None
) -> Properties:
    """Measure an image's grey curve, sharpness and noise outside the lungs and the text, and its frame.

    Parameters
    ----------
    image : ndarray of uint8, (h, w) or (h, w, 3)
    regions : sequence of TextRegion
        Text, continued from its surroundings before anything is measured.
    lungs : ndarray of bool, (h, w), or None
        Where the lungs are; None for the inner part of the image.
    """
    height, width = image.shape[:2]
    clean = image_without_text(image, regions)
    frame = frame_of(image, clean)
    top, bottom, left, right = frame_px(frame.shares, clean.shape)
    inner = (slice(top, height - bottom), slice(left, width - right))
    outside = ~inner_part((height, width)) if lungs is None else ~lungs
    seen, weight = clean[inner], outside[inner]
    if not weight.any():
        weight = np.ones_like(weight)
    curve = [np.quantile(channel[weight], np.linspace(0, 1, N_QUANTILES)) for channel in channels_of(seen)]
    return Properties(
        curve=np.asarray(curve, dtype=np.float64),
        texture=measure_texture(luminance(seen), weight),
        frame=frame,
        thumbnail=thumbnail(clean),
        quality=jpeg_quality(image),
    )


Key = tuple[str, ...]
"""What names a group of images: its class, or its class and source."""


def by_class(record: Record) -> Key | None:
    """Return the group of a record's class; None of a record without a label."""
    return None if record.label is None else (record.label,)


def by_source(record: Record) -> Key | None:
    """Return the group of a record's class and source; None of a record without a label."""
    return None if record.label is None else (record.label, record.source)


class GroupProperties:
    """Properties of a bounded sample of each group of images; measured on first use.

    Parameters
    ----------
    records : sequence of Record
        The audited records.
    regions : mapping
        Record id -> its text.
    seed : int
        Run seed, for the sample.
    read : callable
        Reads a record's image.
    key : callable
        Returns the group of a record: `by_class` or `by_source`.
    measured : dict, optional
        Record id -> what was measured on it; shared by groupings of the same records, so that no image is measured twice.
    """

    def __init__(
        self,
        records: Sequence[Record],
        regions: Mapping[str, tuple[TextRegion, ...]],
        seed: int,
        read: Callable[[Record], StoredImage],
        key: Callable[[Record], Key | None] = by_class,
        measured: dict[str, Properties] | None = None,
    ) -> None:
        self._records, self._regions, self._seed, self._read = records, regions, seed, read
        self._of_record = {} if measured is None else measured
        self.key = key
        self._measured: dict[Key, list[list[Properties]]] | None = None
        self._groups: dict[Key, Group] = {}
        self._framings: dict[tuple[Key, ...], Framing] = {}

    def sample(self) -> list[Record]:
        """Return the records on which properties are measured, of every group."""
        return [record for found in self._chosen().values() for images in found for record in images]

    def of(self, record: Record) -> Properties | None:
        """Return what was measured on a record; None where it is not in a sample that was measured so far."""
        return self._of_record.get(record.id)

    def known(self) -> tuple[Key, ...]:
        """Return the groups with enough patients, sorted."""
        return tuple(key for key, found in sorted(self._sample().items()) if len(found) >= MIN_PATIENTS)

    def groups(self, own: Key, other: Key) -> Groups:
        """Return a group and another one, both of `known()`."""
        return Groups(own=self._group(own), other=self._group(other))

    def half(self, own: Key, other: Key, part: int, split: int) -> Groups:
        """Return one half, part 0 or 1, of the patients of a group and another one.

        Which patients belong to which half depends on the split alone: images that share one learn the same.
        """
        here, there = (
            self._group(key).half(part, generator_for(self._seed, "halves", *key, split)) for key in (own, other)
        )
        return Groups(own=here, other=there)

    def framing(self, own: Key, other: Key) -> Framing:
        """Return the way of taking on frames that makes the images of two groups most alike, in both directions together."""
        pair = tuple(sorted((own, other)))
        if pair not in self._framings:
            one, two = ([images[0] for images in self._sample()[key][:_COMPARED]] for key in pair)
            alike = _alike_framed(one, two) + _alike_framed(two, one)
            self._framings[pair] = FRAMINGS[int(np.argmax(alike))]
        return self._framings[pair]

    def by_chance(self, own: Key, other: Key, rng: np.random.Generator) -> Groups:
        """Return two groups that differ by chance alone, of the sizes of a group and another one (`Groups.by_chance`)."""
        return self.groups(own, other).by_chance(rng)

    def _sample(self) -> dict[Key, list[list[Properties]]]:
        """Return group -> what was measured on the images of each patient of its sample."""
        if self._measured is None:
            self._measured = {
                key: [[self._measure(record) for record in images] for images in found]
                for key, found in self._chosen().items()
            }
        return self._measured

    def _group(self, key: Key) -> Group:
        if key not in self._groups:
            members = self._sample()[key]
            self._groups[key] = Group(
                curves=np.array([np.mean([p.curve for p in images], axis=0) for images in members]),
                textures=np.array([known_mean(np.array([p.texture.as_row() for p in images])) for images in members]),
                frames=tuple(images[0].frame for images in members),
                qualities=np.array([images[0].quality for images in members]),
            )
        return self._groups[key]

    def _chosen(self) -> dict[Key, list[list[Record]]]:
        """Draw images of each of at most `PATIENTS_PER_GROUP` patients of every group."""
        patients: defaultdict[Key, dict[str, list[Record]]] = defaultdict(dict)
        order = generator_for(self._seed, "class properties").permutation(len(self._records))
        for index in order.tolist():
            record = self._records[index]
            key = self.key(record)
            if key is None or (record.patient not in patients[key] and len(patients[key]) >= PATIENTS_PER_GROUP):
                continue
            images = patients[key].setdefault(record.patient, [])
            if len(images) < IMAGES_PER_PATIENT:
                images.append(record)
        return {key: list(found.values()) for key, found in sorted(patients.items())}

    def _measure(self, record: Record) -> Properties:
        if record.id not in self._of_record:
            image = self._read(record)
            lungs = None if record.lung_mask is None else read_mask(record.lung_mask, image.shape[:2])
            self._of_record[record.id] = measure_properties(image, self._regions[record.id], lungs)
        return self._of_record[record.id]


def _alike_framed(own: Sequence[Properties], other: Sequence[Properties]) -> Field:
    """Return how alike the means of two groups are after the first has taken on the frames of the second in each way."""
    frames, there = [p.frame for p in own], [p.frame for p in other]
    dealt = [there[column] for column in dealt_frames(frames, there, np.random.default_rng(0)).tolist()]
    return likest_framing([p.thumbnail for p in own], frames, dealt, [p.thumbnail for p in other])
