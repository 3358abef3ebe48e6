"""The images that the judged edits moved most, with their predictions under every one of them: the table of images in the report.

Conditions that keep only a part of the image are not among them: that a prediction changes where the lungs are gone is no finding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from audit.data.records import Record
from audit.prediction.experiment import Experiment
from audit.run.case_choice import movement
from audit.run.predicted import predicted_words
from audit.store.pictures import MovedDocument, MovedImage, Movement
from audit.store.results import PredictionTable

N_MOVED = 100
"""Images in the table: a page with all of thousands would not open."""


def moved_images(experiment: Experiment, table: PredictionTable) -> MovedDocument:
    """Return the images of largest movement under any judged edit, the largest first.

    Parameters
    ----------
    experiment : Experiment
        The conditions, the images, and the operating points of a multi-label network.
    table : PredictionTable
        Their predictions.
    """
    names = [c.name for c in experiment.suite.conditions if c.judged and c.role == "edit"]
    records: Sequence[Record] = experiment.records
    if not names:
        return MovedDocument(n_images=0, images=())
    by_draw = {name: movement(table, name) for name in names}
    largest = np.stack([values.max(axis=0) for values in by_draw.values()])
    most = largest.max(axis=0)
    order = sorted(np.flatnonzero(most >= 0).tolist(), key=lambda i: (-most[i], records[i].name))

    def image(i: int) -> MovedImage:
        moves = [
            Movement(
                condition=name,
                predicted=predicted_words(experiment, table, name, int(by_draw[name][:, i].argmax()), i),
                change=round(float(largest[row, i]), 4),
            )
            for row, name in enumerate(names)
            if largest[row, i] >= 0
        ]
        return MovedImage(
            record=records[i].name,
            label=records[i].label,
            source=records[i].source,
            predicted=predicted_words(experiment, table, "clean", 0, i),
            moves=tuple(sorted(moves, key=lambda m: -m.change)),
        )

    return MovedDocument(n_images=len(order), images=tuple(map(image, order[:N_MOVED])))
