"""Global properties of images, measured outside the disease, and samples of them by class.

A network may distinguish classes by how their images were exposed, processed or framed, without any text or source. Grey curve, sharpness
and noise are measured outside the lungs, with the text inpainted, because inside them the disease itself changes grey levels and texture.
If the manifest names no lung mask, the outer fifth of the image is used instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audit.data.images import read_mask
from audit.data.pixels.colour import channels_of, luminance
from audit.data.pixels.facts import GreyImage, StoredImage
from audit.data.records import Record, TextRegion
from audit.perturbations.compression import jpeg_quality
from audit.perturbations.frames import Frame, frame_of, frame_px, image_without_text
from audit.perturbations.framing import FRAMINGS, Framing, dealt_frames, likest_framing, thumbnail
from audit.perturbations.places import inner_part
from audit.perturbations.sharpness import Texture, measure_texture
from audit.randomness import generator_for

Field = NDArray[np.float64]

PATIENTS_PER_GROUP = 100
"""Largest number of patients per group on whom properties are measured, one image each."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The images of some patients, one each: a class, or what chance made of one."""

    curves: Field
    """(n, c, q), as in `Properties`."""
    textures: Field
    """(n, r), rows of `Texture`."""
    frames: tuple[Frame, ...]
    """n of them."""
    qualities: Field
    """(n,) of JPEG compression."""

    def half(self, part: int, rng: np.random.Generator) -> Group:
        """Return one half of its patients, part 0 or 1; the same generator gives halves without a common patient."""
        rows, frames, qualities = (
            rng.permutation(len(found))[part::2] for found in (self.curves, self.frames, self.qualities)
        )
        return Group(
            curves=self.curves[rows],
            textures=self.textures[rows],
            frames=tuple(self.frames[row] for row in frames.tolist()),
            qualities=self.qualities[qualities],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Groups:
    """Two groups: images of the first are moved towards the second."""

    own: Group
    """The group of an image."""
    other: Group
    """Where it is moved."""
    framing: Framing = FRAMINGS[0]
    """How frames are taken on."""

    def half(self, part: int, rng: np.random.Generator) -> Groups:
        """Return one half of the patients of both, part 0 or 1."""
        return replace(self, own=self.own.half(part, rng), other=self.other.half(part, rng))

    def turned(self) -> Groups:
        """Return the way back."""
        return replace(self, own=self.other, other=self.own)


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
        self._measured: dict[Key, list[Properties]] | None = None
        self._groups: dict[Key, Group] = {}
        self._framings: dict[tuple[Key, ...], Framing] = {}

    def sample(self) -> list[Record]:
        """Return the records on which properties are measured, of every group."""
        return [record for found in self._chosen().values() for record in found]

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
            one, two = (self._sample()[key][:_COMPARED] for key in pair)
            alike = _alike_framed(one, two) + _alike_framed(two, one)
            self._framings[pair] = FRAMINGS[int(np.argmax(alike))]
        return self._framings[pair]

    def by_chance(self, own: Key, other: Key, rng: np.random.Generator) -> Groups:
        """Return two groups that differ by chance alone, of the sizes of a group and another one.

        The patients of both are dealt anew, each as far from the mean of the first group as it is from that of its own. Were
        the values themselves dealt, groups that differ would make chance look larger than it is. Frames and qualities, which are dealt
        and have no mean, are those of the first group: frames are dealt among its own patients, and qualities between two halves of them.
        """
        found = self.groups(own, other)
        n = len(found.own.curves)
        order = rng.permutation(n + len(found.other.curves))
        curves, textures = (
            np.concatenate([_about(there, there), _about(away, there)])[order]
            for there, away in ((found.own.curves, found.other.curves), (found.own.textures, found.other.textures))
        )
        frames, qualities = found.own.frames, rng.permutation(found.own.qualities)
        return Groups(
            own=Group(curves=curves[:n], textures=textures[:n], frames=frames, qualities=qualities[0::2]),
            other=Group(curves=curves[n:], textures=textures[n:], frames=frames, qualities=qualities[1::2]),
        )

    def _sample(self) -> dict[Key, list[Properties]]:
        """Return group -> what was measured on its sample."""
        if self._measured is None:
            self._measured = {key: [self._measure(record) for record in found] for key, found in self._chosen().items()}
        return self._measured

    def _group(self, key: Key) -> Group:
        if key not in self._groups:
            members = self._sample()[key]
            self._groups[key] = Group(
                curves=np.array([p.curve for p in members]).reshape(len(members), -1, N_QUANTILES),
                textures=np.array([p.texture.as_row() for p in members]),
                frames=tuple(p.frame for p in members),
                qualities=np.array([p.quality for p in members]),
            )
        return self._groups[key]

    def _chosen(self) -> dict[Key, list[Record]]:
        """Draw an image of each of at most `PATIENTS_PER_GROUP` patients of every group."""
        patients: defaultdict[Key, dict[str, Record]] = defaultdict(dict)
        order = generator_for(self._seed, "class properties").permutation(len(self._records))
        for index in order.tolist():
            record = self._records[index]
            key = self.key(record)
            if key is not None and len(patients[key]) < PATIENTS_PER_GROUP:
                patients[key].setdefault(record.patient, record)
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


def mean_curve(group: Group) -> Field:
    """Return the mean grey curve of a group, (c, q), rising."""
    return np.asarray(np.maximum.accumulate(group.curves.mean(axis=0), axis=-1), dtype=np.float64)


def mean_texture(group: Group) -> Texture:
    """Return the mean texture of a group; of each band over the images that know it."""
    return Texture.from_row(known_mean(group.textures))


def known_mean(rows: Field) -> Field:
    """Average each column over the rows that know it; nan where none does."""
    known = np.isfinite(rows)
    n = known.sum(axis=0)
    return np.asarray(np.where(n > 0, np.where(known, rows, 0.0).sum(axis=0) / np.maximum(n, 1), np.nan))


def _about(values: Field, centre: Field) -> Field:
    """Return values (n, ...) of a class moved to the mean of another, their spread corrected for the mean that they are taken from."""
    n = len(values)
    return np.asarray(known_mean(centre) + (values - known_mean(values)) * np.sqrt(n / max(1, n - 1)), dtype=np.float64)
