"""How well the unedited images are classified: which measures are estimated, over which images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from audit.statistics.alignment import AlignedImages
from audit.statistics.catalogue import ACCURACY_OVER_SOURCE, MEASURES
from audit.statistics.estimand import Estimand
from audit.statistics.measure import Measure
from audit.statistics.output_estimands import clean_outputs
from audit.statistics.populations import Population, applies, missing_classes
from audit.statistics.source_guess import guess_from_source
from audit.statistics.whole_sample import clean_curves
from audit.store.group import ALL, Group


def performance_estimands(images: AlignedImages) -> Iterator[Estimand]:
    """Yield how well the clean images are classified: accuracy and recalls, AUCs, likelihood, calibration; then subgroups."""
    everyone = np.ones(len(images.labels), dtype=np.bool_)
    reported = [m for m in MEASURES.values() if m.on_clean and applies(m, images)]
    shares = [m for m in reported if m.scale == "proportion"]
    for measure in shares:
        groups = images.class_members() if measure.over == "each class" else {ALL: everyone}
        yield from _clean(measure, groups, images)
    for measure in shares:
        if measure.by_group and measure.over == "images":
            yield from _clean(measure, images.subgroups, images)
    if images.findings is None:
        yield _over_source(images, everyone)
    for measure in reported:
        if measure not in shares:
            yield from _clean(measure, {ALL: everyone}, images)
    if images.findings is not None:
        yield from clean_outputs(images)
        return
    for name, group, influence in clean_curves(images):
        yield Estimand(condition="clean", placebo=None, measure=name, group=group, data=influence)


def _clean(measure: Measure, groups: Mapping[Group, NDArray[np.bool_]], images: AlignedImages) -> Iterator[Estimand]:
    """Yield a measure's value on the unedited images of each group."""
    read = MEASURES[measure.made_of or measure.name].clean
    assert read is not None
    values = read(images.clean)
    for group, members in groups.items():
        sums = Population(images=images, chosen=members & ~np.isnan(values)).sums(measure, values, measure.scale)
        note = missing_classes(measure, sums, images)
        yield Estimand(condition="clean", placebo=None, measure=measure.name, group=group, data=sums, note=note)


def _over_source(images: AlignedImages, everyone: NDArray[np.bool_]) -> Estimand:
    """Return how much more accurate the network is than a guess from the source alone, image by image."""
    measure = MEASURES[ACCURACY_OVER_SOURCE]
    correct = images.clean.correct.astype(np.float64)
    guess = guess_from_source(images.labels, images.sources, images.patients) == images.labels
    sums = Population(images=images, chosen=everyone).sums(measure, correct - guess.astype(np.float64), measure.scale)
    note = f"; always predicting each source's most frequent class has accuracy {guess.mean():.3f}"
    return Estimand(condition="clean", placebo=None, measure=measure.name, group=ALL, data=sums, note=note)
