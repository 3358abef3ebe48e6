"""What a network predicts for one image, in words and as probabilities."""

from __future__ import annotations

from audit.data.findings import joined_outputs
from audit.prediction.experiment import Experiment
from audit.statistics.outputs import probabilities_of
from audit.store.results import PredictionTable


def predicted_words(experiment: Experiment, table: PredictionTable, condition: str, draw: int, image: int) -> str:
    """Return the winning class; of a multi-label network the findings above their operating points."""
    values = probabilities(table, condition, draw, image)
    if experiment.cuts:
        return joined_outputs([v > cut for v, cut in zip(values, experiment.cuts, strict=True)], table.classes)
    return table.classes[values.index(max(values))]


def probabilities(table: PredictionTable, condition: str, draw: int, image: int) -> list[float]:
    """Return an image's probabilities in the order of the classes."""
    found = probabilities_of(table.logits[condition][draw, image], exclusive=table.truth is None)
    return [float(v) for v in found]
