"""Pictures for reports: text that may not be shown is covered before anything else is done to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audit.data.pixels.colour import like
from audit.data.pixels.facts import StoredImage
from audit.data.records import Record, TextRegion
from audit.perturbations.donors import Donor, DonorPool
from audit.perturbations.places import Box, text_boxes
from audit.prediction.variants import CohortContext

Covered = Mapping[str, tuple[TextRegion, ...]]
"""Record id -> the regions that its pictures cover (`audit.data.strings.StringPolicy.covered`); empty where they are shown."""


@dataclass(frozen=True, kw_only=True)
class Disclosure:
    """What the files of a run may show of the text on its images."""

    text: Mapping[str, tuple[TextRegion, ...]]
    """Record id -> its regions, with the strings that may be shown."""
    covered: Covered
    """Record id -> the regions that pictures and maps do not show."""


# Stripes, as no edit makes them: a covered region must not be taken for a masked one.
_STRIPES_PER_HEIGHT, _MIN_STRIPE_PX = 4, 2
_DARK, _LIGHT = 90, 150


def cover_text(image: StoredImage, regions: Sequence[TextRegion]) -> StoredImage:
    """Return a copy of an image with stripes in place of regions: nothing of their content remains."""
    covered = image.copy()
    height, width = image.shape[:2]
    for x0, y0, x1, y1 in text_boxes(regions, (height, width)):
        yy, xx = np.mgrid[y0:y1, x0:x1]
        stripe = max(_MIN_STRIPE_PX, (y1 - y0) // _STRIPES_PER_HEIGHT)
        covered[y0:y1, x0:x1] = like(image, np.where((xx + yy) // stripe % 2, _LIGHT, _DARK))
    return covered


def flatten_relevance(relevance: NDArray[np.float32], boxes: Iterable[Box]) -> NDArray[np.float32]:
    """Return a copy of maps (..., h, w) with its mean inside each box: how much lies there, not in the shape of letters."""
    flat = relevance.copy()
    for x0, y0, x1, y1 in boxes:
        part = flat[..., y0:y1, x0:x1]
        if part.size:
            part[...] = part.mean(axis=(-2, -1), keepdims=True)
    return flat


def covered_context(context: CohortContext, records: Sequence[Record], covered: Covered) -> CohortContext:
    """Return the context that pictures are drawn with.

    Edits are drawn and applied with it from the same seeds as when they were predicted. But images are covered before, donors'
    too, so that no edit can carry text along: not by pasting, not by moving, not by blurring.

    Parameters
    ----------
    context : CohortContext
        The run's own.
    records : sequence of Record
        Its records.
    covered : mapping
        What to cover.
    """

    def read(record: Record) -> StoredImage:
        return cover_text(context.read(record), covered[record.id])

    donors = DonorPool((Donor(record=r, regions=context.regions[r.id]) for r in records), read=read)
    return replace(context, donors=donors, read=read)
