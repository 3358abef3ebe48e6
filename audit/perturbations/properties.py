"""Global properties of images by class: grey curve and sharpness, measured outside the disease.

A network may distinguish classes by how their images were exposed or processed, without any text or source. Differences
between classes are measured outside the lungs, with the text inpainted, because inside them the disease itself changes grey
levels and texture. If the manifest names no lung mask, the outer fifth of the image is used instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.data.images import read_mask
from audit.data.pixels.colour import channels_of, luminance
from audit.data.pixels.facts import StoredImage
from audit.data.records import Record, TextRegion
from audit.perturbations.fills import without_text
from audit.perturbations.looks import find_frame, frame_px
from audit.perturbations.places import inner_part, text_boxes
from audit.perturbations.sharpness import Texture, measure_texture
from audit.randomness import generator_for

Field = NDArray[np.float64]

PATIENTS_PER_CLASS = 100
"""Largest number of patients per class on whom properties are measured, one image each."""
MIN_PATIENTS = 5
"""Properties of classes with fewer patients are not measured."""
N_QUANTILES = 65


@dataclass(frozen=True, kw_only=True, slots=True)
class Properties:
    """What was measured on one image outside the lungs."""

    curve: Field
    """(c, q) levels at even shares of the pixels, of each channel."""
    texture: Texture
    """Sharpness and noise of the brightness."""


def measure_properties(
    image: StoredImage, regions: Sequence[TextRegion], lungs: NDArray[np.bool_] | None
) -> Properties:
    """Measure grey curve and sharpness outside the lungs and the text.

    Parameters
    ----------
    image : ndarray of uint8, (h, w) or (h, w, 3)
    regions : sequence of TextRegion
        Text, continued from its surroundings before anything is measured.
    lungs : ndarray of bool, (h, w), or None
        Where the lungs are; None for the inner part of the image.
    """
    height, width = image.shape[:2]
    clean = without_text(image, text_boxes(regions, (height, width)))
    frame, _ = find_frame(clean)
    top, bottom, left, right = frame_px(frame, clean.shape)
    inner = (slice(top, height - bottom), slice(left, width - right))
    outside = ~inner_part((height, width)) if lungs is None else ~lungs
    seen, weight = clean[inner], outside[inner]
    if not weight.any():
        weight = np.ones_like(weight)
    curve = [np.quantile(channel[weight], np.linspace(0, 1, N_QUANTILES)) for channel in channels_of(seen)]
    return Properties(curve=np.asarray(curve, dtype=np.float64), texture=measure_texture(luminance(seen), weight))


class ClassProperties:
    """The classes' mean properties, on a bounded sample; measured on first use.

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
    """

    def __init__(
        self,
        records: Sequence[Record],
        regions: Mapping[str, tuple[TextRegion, ...]],
        seed: int,
        read: Callable[[Record], StoredImage],
    ) -> None:
        self._records, self._regions, self._seed, self._read = records, regions, seed, read
        self._measured: tuple[NDArray[np.str_], Field, Field] | None = None

    def classes(self) -> tuple[str, ...]:
        """Return the classes with enough patients, sorted."""
        labels, counts = np.unique(self._sample()[0], return_counts=True)
        return tuple(label for label, n in zip(labels.tolist(), counts.tolist(), strict=True) if n >= MIN_PATIENTS)

    def means(self, labels: Sequence[str], rng: np.random.Generator | None = None) -> list[Properties]:
        """Return the mean properties of some classes.

        Parameters
        ----------
        labels : sequence of str
            Of `classes()`.
        rng : numpy Generator, optional
            Deals the patients to classes of the same sizes at random, each as far from the mean of the first of `labels` as it is from
            that of its own class: the resulting classes differ by chance alone, as much as classes of these sizes do. Were the values
            themselves dealt, classes that differ would make chance look larger than it is.
        """
        told, *found = self._sample()
        dealt = told if rng is None else rng.permutation(told)
        if rng is not None:
            found = [_about(values, told, labels[0]) for values in found]
        curves, textures = found
        return [
            Properties(
                curve=np.maximum.accumulate(curves[dealt == label].mean(axis=0), axis=-1),
                texture=Texture.from_row(_known_mean(textures[dealt == label])),
            )
            for label in labels
        ]

    def _sample(self) -> tuple[NDArray[np.str_], Field, Field]:
        if self._measured is None:
            found = [(record.label or "", self._measure(record)) for record in self._chosen()]
            self._measured = (
                np.array([label for label, _ in found]),
                np.array([p.curve for _, p in found]).reshape(len(found), -1, N_QUANTILES),
                np.array([p.texture.as_row() for _, p in found]),
            )
        return self._measured

    def _chosen(self) -> list[Record]:
        """Draw an image of each of at most `PATIENTS_PER_CLASS` patients of every class."""
        patients: defaultdict[str, dict[str, Record]] = defaultdict(dict)
        order = generator_for(self._seed, "class properties").permutation(len(self._records))
        for index in order.tolist():
            record = self._records[index]
            if record.label is not None and len(patients[record.label]) < PATIENTS_PER_CLASS:
                patients[record.label].setdefault(record.patient, record)
        return [record for label in sorted(patients) for record in patients[label].values()]

    def _measure(self, record: Record) -> Properties:
        image = self._read(record)
        height, width = image.shape[:2]
        lungs = None if record.lung_mask is None else read_mask(record.lung_mask, (height, width))
        return measure_properties(image, self._regions[record.id], lungs)


def _about(values: Field, told: NDArray[np.str_], label: str) -> Field:
    """Return values (n, ...) moved from the means of their classes to that of one class, their spread corrected for the fitted means."""
    middle = _known_mean(values[told == label])
    moved = np.empty_like(values)
    for other in np.unique(told):
        here = told == other
        n = int(here.sum())
        moved[here] = middle + (values[here] - _known_mean(values[here])) * np.sqrt(n / max(1, n - 1))
    return moved


def _known_mean(rows: Field) -> Field:
    """Average each column over the rows that know it; nan where none does."""
    known = np.isfinite(rows)
    n = known.sum(axis=0)
    return np.asarray(np.where(n > 0, np.where(known, rows, 0.0).sum(axis=0) / np.maximum(n, 1), np.nan))
