"""What every condition does to an image, in small pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.files import write_atomically
from audit.perturbations import Perturbation, Scene
from audit.prediction.experiment import Experiment
from audit.prediction.variants import CohortContext, make_variant, read_scene
from audit.relevance.pictures import image_jpeg, shown_size
from audit.store.folder import RunFolder
from audit.store.pictures import Picture, Thumbnail
from audit.store.results import PredictionTable

THUMBNAIL_PX = 112


@dataclass(frozen=True, kw_only=True)
class Studio:
    """What edits are drawn again with."""

    experiment: Experiment
    """The run's."""
    perturbations: Mapping[str, Perturbation]
    """By condition."""
    pictures: CohortContext
    """In which text that may not be shown is covered."""

    def edited(self, scene: Scene, name: str, draw: int) -> NDArray[np.uint8] | None:
        """Return an image under a condition; None where it cannot be edited so once its text is covered."""
        condition = self.experiment.suite[name]
        made = make_variant(scene, condition, self.perturbations[name], draw, self.experiment.seed)
        return None if made.why_not else made.image


def thumbnails_of(studio: Studio, table: PredictionTable, on_thumbnail: Callable[[], None]) -> Iterator[Thumbnail]:
    """Draw every condition on one image: on the one to which most conditions were applied, else on the first to which it was."""
    experiment = studio.experiment
    first = {c.name: table.applied[c.name][0] for c in experiment.suite.conditions if c.role != "clean"}
    if not first:
        return
    common = int(np.sum(list(first.values()), axis=0).argmax())
    clean: dict[int, tuple[Scene, str]] = {}
    for number, (name, applied) in enumerate(first.items(), start=1):
        on_thumbnail()
        if not applied.any():
            continue
        i = common if applied[common] else int(applied.argmax())
        if i not in clean:
            scene = read_scene(experiment.records[i], studio.pictures)
            clean[i] = scene, f"small-clean-{len(clean):03d}.jpg"
            draw_picture(experiment.run, clean[i][1], scene.image, THUMBNAIL_PX)
        scene, before = clean[i]
        edit = studio.edited(scene, name, 0)
        if edit is None:
            continue
        after = f"small-{number:03d}.jpg"
        width, height = draw_picture(experiment.run, after, edit, THUMBNAIL_PX)
        yield Thumbnail(
            condition=name, clean=Picture(file=before), edit=Picture(file=after), width=width, height=height
        )


def difference_of(edit: NDArray[np.uint8], clean: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what an edit changed, level by level."""
    return np.abs(edit.astype(np.int16) - clean.astype(np.int16)).astype(np.uint8)


def draw_picture(run: RunFolder, name: str, image: NDArray[np.uint8], long_side_px: int) -> tuple[int, int]:
    """Write a picture to `examples/`; return its width and height."""
    size = shown_size(image.shape, long_side_px)
    write_atomically(run.path / "examples" / name, image_jpeg(image, size))
    return size
