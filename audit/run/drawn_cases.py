"""One case of a run in pictures: clean, under the edit, under its placebo, what changed, and where the network looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from audit.data.plan import PlannedRelevance
from audit.prediction.covering import Covered, covered_context
from audit.prediction.experiment import Experiment
from audit.prediction.variants import make_perturbations, read_scene
from audit.relevance.pictures import LONG_SIDE_PX, image_jpeg, shown_size
from audit.run.overlays import Overlays
from audit.run.thumbnails import Studio, difference_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What is drawn."""

    record: int
    """Number of the image."""
    condition: str
    """The edit."""
    draw: int
    """Its draw."""
    placebo: str | None
    """The edit's placebo; None where it has none, or that was not applied."""
    placebo_draw: int
    """The placebo's draw."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What all cases of a run share."""

    relevance: PlannedRelevance
    """Preset and start of the overlays."""
    covered: Covered
    """Text that pictures do not show."""
    kept: Mapping[str, NDArray[np.float32]]
    """Name of an image -> its map, of those that the run has kept."""
    _made: dict[str, Studio] = field(default_factory=dict, repr=False, compare=False)
    """The studio of this process."""
    _overlays: dict[str, Overlays] = field(default_factory=dict, repr=False, compare=False)
    """Its overlays."""

    def studio(self, experiment: Experiment) -> Studio:
        """Return what edits are drawn again with, made once: images whose text is covered where it may not be shown."""
        if "studio" not in self._made:
            self._made["studio"] = Studio(
                experiment=experiment,
                perturbations=make_perturbations(experiment.suite),
                pictures=covered_context(experiment.context, experiment.records, self.covered),
            )
        return self._made["studio"]

    def overlays(self, experiment: Experiment) -> Overlays:
        """Return what heatmaps are drawn with, made once."""
        if "overlays" not in self._overlays:
            # Where a map takes hundreds of predictions, those that were asked for, or that the run can afford, are all there are.
            self._overlays["overlays"] = Overlays(
                experiment.bundle,
                self.relevance,
                kept=self.kept,
                makes_others=not self.relevance.cost,
                batch=experiment.batch,
            )
        return self._overlays["overlays"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnCase:
    """The pictures of a case."""

    case: Case
    """What was drawn."""
    files: Mapping[str, bytes]
    """Ending of a file's name -> its content; without a placebo or an overlay where there is none."""
    width: int
    """Of the pictures, in pixels."""
    height: int
    """The same."""
    scale: float
    """Pixels of a picture for one of the image."""


def draw_case(experiment: Experiment, drawing: Drawing, case: Case) -> DrawnCase:
    """Draw the pictures of a case: the edits are drawn again from their seeds, on images whose text is covered.

    Raises
    ------
    AuditError
        If an image cannot be read.
    """
    record = experiment.records[case.record]
    studio, overlays = drawing.studio(experiment), drawing.overlays(experiment)
    overlay = overlays.of(record, experiment.context.read(record), drawing.covered[record.id])
    scene = read_scene(record, studio.pictures)
    edit = studio.edited(scene, case.condition, case.draw)
    edit = scene.image if edit is None else edit
    placebo = None if case.placebo is None else studio.edited(scene, case.placebo, case.placebo_draw)
    shown = {"clean": scene.image, "edit": edit, "difference": difference_of(edit, scene.image)}
    if placebo is not None:
        shown["placebo"] = placebo
    size = shown_size(scene.image.shape, LONG_SIDE_PX)
    files = {f"{name}.jpg": image_jpeg(image, size) for name, image in shown.items()}
    if overlay is not None:
        files["relevance.png"] = overlay
    return DrawnCase(case=case, files=files, width=size[0], height=size[1], scale=size[0] / scene.image.shape[1])
