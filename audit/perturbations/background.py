"""The mean image of a cohort: the background that remains without an image's own content."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import cv2
import numpy as np

from audit.data.images import read_record
from audit.data.pixels.facts import StoredImage
from audit.data.records import Record, TextRegion
from audit.perturbations.fills import without_text
from audit.perturbations.places import text_boxes
from audit.randomness import generator_for

# Images behind a class's mean, and the side at which it is computed: a mean has no fine detail.
IMAGES_PER_CLASS = 32
SIDE_PX = 256


class MeanImage:
    """The mean of the classes' mean images, text inpainted; computed on first use.

    Every class has the same weight, so that the background does not reveal the class whose text is laid on it.

    Parameters
    ----------
    records : sequence of Record
        The audited records; at most `IMAGES_PER_CLASS` of each class are drawn from the run's seed.
    regions : mapping
        Record id -> its text.
    seed : int
        Run seed.
    parts : mapping, optional
        Record id -> what `mean_part` returns of it; of those that are not there the image is read.
    """

    def __init__(
        self,
        records: Sequence[Record],
        regions: Mapping[str, tuple[TextRegion, ...]],
        seed: int,
        parts: Mapping[str, StoredImage] = MappingProxyType({}),
    ) -> None:
        self._records = records
        self._regions = regions
        self._seed = seed
        self._parts = parts
        self._mean: StoredImage | None = None

    def __call__(self, shape: tuple[int, int]) -> StoredImage:
        """Return the mean image, scaled to a shape (h, w)."""
        if self._mean is None:
            self._mean = self._make()
        return np.asarray(cv2.resize(self._mean, shape[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.uint8)

    def sample(self) -> list[Record]:
        """Return the records whose images are averaged."""
        return [record for found in self._chosen().values() for record in found]

    def _chosen(self) -> dict[str, list[Record]]:
        classes: defaultdict[str, list[Record]] = defaultdict(list)
        for record in self._records:
            classes[record.label or ""].append(record)
        chosen = {}
        for label, members in sorted(classes.items()):
            drawn = generator_for(self._seed, "mean film", label).permutation(len(members))[:IMAGES_PER_CLASS]
            chosen[label] = [members[index] for index in sorted(drawn.tolist())]
        return chosen

    def _make(self) -> StoredImage:
        means = []
        for found in self._chosen().values():
            total = np.zeros(())
            for record in found:
                known = self._parts.get(record.id)
                total = total + (mean_part(read_record(record), self._regions[record.id]) if known is None else known)
            means.append(total / len(found))
        return np.asarray(np.rint(np.mean(means, axis=0)), dtype=np.uint8)


def mean_part(image: StoredImage, regions: Sequence[TextRegion]) -> StoredImage:
    """Return an image as it goes into the mean: its text inpainted, scaled to `SIDE_PX`."""
    height, width = image.shape[:2]
    clean = without_text(image, text_boxes(regions, (height, width)))
    return np.asarray(cv2.resize(clean, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), dtype=np.uint8)
