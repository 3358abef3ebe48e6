"""Checks that an edit makes of its own result: that it did not cover the patient, and that the result is still a plausible radiograph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from audit.data.images import read_mask
from audit.data.pixels.colour import luminance
from audit.data.pixels.facts import StoredImage
from audit.data.records import Record
from audit.perturbations.base import NotApplicable, Scene
from audit.perturbations.places import Box, cover, inner_part
from audit.randomness import generator_for

MOST_TEXT_SHARE = 0.25
"""Share of the image above which boxes are not treated as text, or as an object: the largest words of radiographs cover a tenth."""
MOST_LUNG_SHARE = 0.1
"""Share of the lungs above which covering them may hide findings: a third of an upper field, two thirds of one lobe."""
MOST_OBJECT_LUNG_SHARE = 0.25
"""The same for objects, whose placebo hides as much of the lungs elsewhere: half of one lung."""
SLACK_LEVELS = 10.0
"""Grey levels by which the mean of the lungs may leave the range of the cohort."""
LEAST_CONTRAST = 0.5
"""Share of the cohort's smallest spread of grey levels in the lungs that must remain."""
SAMPLE = 200
"""Largest number of images on which the cohort's range is measured."""
MIN_SAMPLE = 5
"""With fewer images, no range is measured."""


def covers_too_much(
    boxes: Iterable[Box], scene: Scene, *, of: str = "text", most_of_lungs: float = MOST_LUNG_SHARE
) -> NotApplicable | None:
    """Return the reason why boxes cannot be covered without covering the patient; None where they can.

    Parameters
    ----------
    boxes : iterable of Box
        In pixels of the image.
    scene : Scene
        Its image, and its lungs where there is a mask.
    of : str
        What the boxes lie over, in words.
    most_of_lungs : float
        Share of the lungs that may be covered.
    """
    height, width = scene.image.shape[:2]
    covered = cover(boxes, (height, width))
    if covered.mean() > MOST_TEXT_SHARE:
        return NotApplicable(f"boxes over {of} cover more than {100 * MOST_TEXT_SHARE:.0f} % of the image")
    if scene.lungs is not None and scene.lungs.any() and covered[scene.lungs].mean() > most_of_lungs:
        return NotApplicable(f"boxes over {of} cover more than {100 * most_of_lungs:.0f} % of the lungs")
    return None


class GreyRange:
    """Brightness and contrast of the cohort's lungs; measured on first use.

    Parameters
    ----------
    records : sequence of Record
        The audited records; at most `SAMPLE` are drawn from the run's seed.
    seed : int
        Run seed.
    read : callable
        Reads a record's image.
    levels : mapping, optional
        Record id -> what `lung_levels` returns of it; of those that are not there the image is read.
    """

    def __init__(
        self,
        records: Sequence[Record],
        seed: int,
        read: Callable[[Record], StoredImage],
        levels: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    ) -> None:
        self._records, self._seed, self._read, self._known = records, seed, read, levels
        self._limits: tuple[float, float, float] | None = None

    def leaves(self, image: StoredImage, lungs: NDArray[np.bool_] | None) -> NotApplicable | None:
        """Return how an edited image leaves the cohort's range; None where it does not, or where there is no range.

        Parameters
        ----------
        image : ndarray of uint8, (h, w) or (h, w, 3)
            After the edit.
        lungs : ndarray of bool, (h, w), or None
            Where the lungs are; None for the inner part of the image.
        """
        if len(self._records) < MIN_SAMPLE:
            return None
        if self._limits is None:
            means, spreads = np.array([self._measure(record) for record in self.sample()]).T
            self._limits = (float(means.min()), float(means.max()), float(spreads.min()))
        low, high, spread = self._limits
        mean, left = lung_levels(image, lungs)
        what, have = ("the middle of the edited image", "has") if lungs is None else ("the edited lungs", "have")
        is_or_are = "is" if lungs is None else "are"
        if mean > high + SLACK_LEVELS:
            return NotApplicable(f"{what} {is_or_are} brighter than any in the cohort")
        if mean < low - SLACK_LEVELS:
            return NotApplicable(f"{what} {is_or_are} darker than any in the cohort")
        if left < LEAST_CONTRAST * spread:
            return NotApplicable(f"{what} {have} less contrast than any in the cohort")
        return None

    def sample(self) -> list[Record]:
        """Return the records whose lungs are measured; none where there are too few."""
        if len(self._records) < MIN_SAMPLE:
            return []
        order = generator_for(self._seed, "grey range").permutation(len(self._records))
        return [self._records[k] for k in sorted(order[:SAMPLE].tolist())]

    def _measure(self, record: Record) -> tuple[float, float]:
        if record.id in self._known:
            return self._known[record.id]
        image = self._read(record)
        height, width = image.shape[:2]
        return lung_levels(image, None if record.lung_mask is None else read_mask(record.lung_mask, (height, width)))


def lung_levels(image: StoredImage, lungs: NDArray[np.bool_] | None) -> tuple[float, float]:
    """Return mean and standard deviation of the brightness of the lungs."""
    image = luminance(image)
    height, width = image.shape
    inside = inner_part((height, width)) if lungs is None or not lungs.any() else lungs
    seen = image[inside] if inside.any() else image
    return float(seen.mean()), float(seen.std())
