"""Which of the objects that an audit's search proposed is the plant: its sightings lie where the plant was put."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from audit.calibration.corpus import Specimen
from audit.calibration.plants import Picture
from audit.store.pictures import Spot
from audit.store.suspects import SuspectsDocument

_MEETS = 0.5
"""Share of the smaller of two boxes that must lie in the other."""
Spots = Mapping[str, tuple[float, float, float, float]]
"""Id of an image -> left, upper, right and lower edge of its plant, in shares of the sides."""


def plant_spots(specimens: Sequence[Specimen], pictures: Sequence[Picture]) -> Spots:
    """Return where each image with a plant differs from its clean twin; of a plant on the whole image, the whole image."""
    found = {}
    for specimen, picture in zip(specimens, pictures, strict=True):
        before, after = specimen.picture.image, picture.image
        if picture is specimen.picture or before.shape != after.shape:
            continue
        changed = before != after
        rows, columns = np.nonzero(changed if changed.ndim == 2 else changed.any(axis=2))
        if rows.size:
            height, width = before.shape[:2]
            found[specimen.id] = (
                float(columns.min() / width),
                float(rows.min() / height),
                float((columns.max() + 1) / width),
                float((rows.max() + 1) / height),
            )
    return found


def shares_on_plant(document: SuspectsDocument, spots: Spots) -> tuple[float, ...]:
    """Return, for each suspect by its number, the share of its sightings of which a box lies on the plant."""
    return tuple(
        float(
            np.mean(
                [s.image in spots and any(_meet(box, spots[s.image]) for box in s.boxes) for s in suspect.sightings]
            )
        )
        if suspect.sightings
        else 0.0
        for suspect in document.suspects
    )


def _meet(box: Spot, spot: Sequence[float]) -> bool:
    across = min(box.x1, spot[2]) - max(box.x0, spot[0])
    down = min(box.y1, spot[3]) - max(box.y0, spot[1])
    smaller = min((box.x1 - box.x0) * (box.y1 - box.y0), (spot[2] - spot[0]) * (spot[3] - spot[1]))
    return across > 0 and down > 0 and across * down >= _MEETS * smaller
