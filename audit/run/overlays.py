"""The relevance of clean images as transparent maps: warm is evidence for the prediction, cold against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from audit.data.plan import PlannedRelevance
from audit.data.records import Record, TextRegion
from audit.errors import RelevanceError
from audit.models.bundle import Bundle
from audit.models.devices import USUAL_BATCH
from audit.prediction.covering import flatten_relevance
from audit.relevance.images import ImageAttributor
from audit.relevance.pictures import relevance_png
from audit.relevance.regions import map_boxes
from audit.relevance.start import start_relevance

NOT_ASKED = "This run was made without heatmaps."
NOT_KEPT = "This run made heatmaps of other images only, because each takes hundreds of predictions."


class Overlays:
    """Heatmaps of a network, made as the run makes them.

    Parameters
    ----------
    bundle : Bundle
        The network. One whose heatmaps would be wrong has none.
    relevance : PlannedRelevance
        Preset and start.
    kept : mapping, optional
        Name of an image -> its map (h, w), of those that the run has kept: these are drawn, not made again.
    makes_others : bool
        Whether maps of other images are made.
    batch : int
        Inputs that are predicted together by occlusion.
    """

    def __init__(
        self,
        bundle: Bundle,
        relevance: PlannedRelevance,
        *,
        kept: Mapping[str, NDArray[np.float32]] = MappingProxyType({}),
        makes_others: bool = True,
        batch: int = USUAL_BATCH,
    ) -> None:
        self._bundle, self._kept = bundle, kept
        self._start = relevance.start
        self._drawn: dict[str, bytes] = {}
        self._attributor: ImageAttributor | None = None
        self.why_none = NOT_ASKED
        """Why there is no heatmap, in a sentence; that of the last image for which there was none."""
        if relevance.max_images == 0:  # by occlusion a map costs hundreds of predictions
            return
        if not makes_others:
            self.why_none = NOT_KEPT
            return
        try:
            self._attributor = ImageAttributor(bundle, relevance.preset, batch)
        except RelevanceError as error:
            self.why_none = str(error)

    def of(self, record: Record, image: NDArray[np.uint8], covered: Sequence[TextRegion]) -> bytes | None:
        """Return the overlay of one image, as it is, as PNG; None where there is no relevance."""
        if record.id not in self._drawn and record.name in self._kept:
            self._drawn[record.id] = relevance_png(self._kept[record.name])
        if record.id not in self._drawn:
            if self._attributor is None:
                return None
            try:
                found = self._attributor.attribute(
                    [image], lambda logits: start_relevance(logits, self._bundle.classes, self._start)
                )
            except RelevanceError as error:
                self.why_none = str(error)
                return None
            relevance = found.maps[0, 0]
            boxes = map_boxes(covered, image.shape[:2], relevance.shape)
            self._drawn[record.id] = relevance_png(flatten_relevance(relevance, boxes))
        return self._drawn[record.id]
