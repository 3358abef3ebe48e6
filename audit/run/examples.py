"""The pictures of a run: for each edit the images whose predictions it changed most, before and after, with the heatmap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import Suite
from audit.data.findings import joined_outputs
from audit.data.plan import PlannedRelevance
from audit.data.records import Record, TextRegion
from audit.data.strings import normal_string
from audit.errors import RelevanceError
from audit.files import write_atomically
from audit.models.bundle import Bundle
from audit.perturbations import Scene
from audit.prediction.covering import Disclosure, covered_context, flatten_relevance
from audit.prediction.experiment import Experiment
from audit.prediction.variants import CohortContext, make_perturbations, make_variant, read_scene
from audit.relevance.images import ImageAttributor
from audit.relevance.pictures import film_jpeg, relevance_png, shown_size
from audit.relevance.regions import map_boxes
from audit.relevance.start import start_relevance
from audit.statistics.outputs import probabilities_of
from audit.store.folder import RunFolder
from audit.store.pictures import (
    Example,
    ExamplesDocument,
    MarkerCrop,
    MarkersDocument,
    Picture,
    ScoredPicture,
    ShownRegion,
)
from audit.store.results import PredictionTable

N_EXAMPLES = 24
N_MARKERS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class _Choice:
    record: int
    condition: str
    draw: int
    total_variation: float


def write_examples(
    experiment: Experiment,
    disclosure: Disclosure,
    table: PredictionTable,
    relevance: PlannedRelevance,
    on_example: Callable[[], None],
) -> None:
    """Write `examples/`: pictures of the images whose predictions each edit changed most, and `examples.json`.

    The edits are drawn again from their seeds, so that nothing has to be kept while predicting; on images whose text is
    covered where it may not be shown.

    Parameters
    ----------
    experiment : Experiment
        The network, the conditions and the images.
    disclosure : Disclosure
        Which strings and text regions may be shown.
    table : PredictionTable
        Provides the changes of the predictions.
    relevance : PlannedRelevance
        The `relevance` part of the plan: preset and start of the overlays.
    on_example : callable
        Called after each of at most `N_EXAMPLES`.
    """
    run, suite, records = experiment.run, experiment.suite, experiment.records
    if run.has(ExamplesDocument.FILE):
        return
    perturbations = make_perturbations(suite)
    pictures = covered_context(experiment.context, records, disclosure.covered)
    entries = []
    overlays = _Overlays(experiment.bundle, relevance)
    for case, choice in enumerate(_choose(suite, table), start=1):
        record = records[choice.record]
        scene = read_scene(record, pictures)
        condition = suite[choice.condition]
        edit = make_variant(scene, condition, perturbations[condition.name], choice.draw, experiment.seed).image
        overlay = overlays.of(record, experiment.context.read(record), disclosure.covered[record.id])
        entries.append(_example(experiment, disclosure, scene, edit, choice, case, table, overlay))
        on_example()
    _write_markers(run, records, pictures, disclosure.text)
    run.write(ExamplesDocument(examples=tuple(entries)))


def _write_markers(
    run: RunFolder, records: Sequence[Record], pictures: CohortContext, shown_text: Mapping[str, tuple[TextRegion, ...]]
) -> None:
    """Write crops of the commonest strings, at most two images of each class, cut from the images at their own size."""
    found: dict[str, dict[int, TextRegion]] = {}
    for i, record in enumerate(records):
        for region in shown_text[record.id]:
            if region.text:
                found.setdefault(normal_string(region.text), {}).setdefault(i, region)
    common = sorted(found, key=lambda t: (-len(found[t]), t))[:N_MARKERS]
    entries: list[MarkerCrop] = []
    for index, text in enumerate(common):
        shown: dict[str, int] = {}
        for i, region in found[text].items():
            record = records[i]
            label = str(record.label)
            if shown.get(label, 0) == 2:
                continue
            shown[label] = shown.get(label, 0) + 1
            image = pictures.read(record)
            margin = max(4, (region.y1 - region.y0) // 3)
            crop = image[
                max(0, region.y0 - margin) : region.y1 + margin, max(0, region.x0 - margin) : region.x1 + margin
            ]
            if crop.size == 0:
                continue
            width, height = shown_size(crop.shape, 96)
            name = f"marker-{index:02d}-{len(entries):03d}.jpg"
            write_atomically(run.path / "examples" / name, film_jpeg(crop, (width, height)))
            entries.append(
                MarkerCrop(text=text, label=label, record=record.name, file=name, width=width, height=height)
            )
    run.write(MarkersDocument(markers=tuple(entries)))


def _choose(suite: Suite, table: PredictionTable) -> list[_Choice]:
    """Take the images of largest total variation, in turn from each edit, a record once an edit."""
    exclusive = table.truth is None
    clean = probabilities_of(table.logits["clean"][0], exclusive=exclusive)
    ranked = []
    for condition in suite.conditions:
        if not condition.judged:
            continue
        changes = np.abs(probabilities_of(table.logits[condition.name], exclusive=exclusive) - clean)
        moved = 0.5 * changes.sum(axis=2) if exclusive else changes.max(axis=2)
        moved = np.where(table.applied[condition.name], moved, -1.0)
        draws = moved.argmax(axis=0)
        most = moved.max(axis=0)
        order = sorted(np.flatnonzero(most >= 0).tolist(), key=lambda i: (-most[i], i))
        ranked.append(
            [
                _Choice(record=i, condition=condition.name, draw=int(draws[i]), total_variation=float(most[i]))
                for i in order
            ]
        )
    turns = [row[turn] for turn in range(N_EXAMPLES) for row in ranked if turn < len(row)]
    return turns[:N_EXAMPLES]


def _example(
    experiment: Experiment,
    disclosure: Disclosure,
    scene: Scene,
    edit: NDArray[np.uint8],
    choice: _Choice,
    case: int,
    table: PredictionTable,
    overlay: bytes | None,
) -> Example:
    folder, image_id = experiment.run.path, scene.record.id
    difference = np.abs(edit.astype(np.int16) - scene.image.astype(np.int16)).astype(np.uint8)
    width, height = shown_size(scene.image.shape)
    scale = width / scene.image.shape[1]
    stem = f"examples/{case:03d}"
    for name, image in (("clean", scene.image), ("edit", edit), ("difference", difference)):
        write_atomically(folder / f"{stem}-{name}.jpg", film_jpeg(image, (width, height)))
    if overlay is not None:
        write_atomically(folder / f"{stem}-relevance.png", overlay)

    def scored(name: str, condition: str, draw: int) -> ScoredPicture:
        logits = table.logits[condition][draw, choice.record]
        values = probabilities_of(logits, exclusive=table.truth is None)
        return ScoredPicture(
            file=f"{case:03d}-{name}.jpg",
            predicted=joined_outputs((values > experiment.cuts).tolist(), table.classes)
            if experiment.cuts
            else table.classes[int(values.argmax())],
            probabilities={c: round(float(v), 4) for c, v in zip(table.classes, values, strict=True)},
        )

    return Example(
        case=case,
        record=scene.record.name,
        label=scene.record.label,
        source=scene.record.source,
        condition=choice.condition,
        question=experiment.suite[choice.condition].question,
        clean=scored("clean", "clean", 0),
        edit=scored("edit", choice.condition, choice.draw),
        difference=Picture(file=f"{case:03d}-difference.jpg"),
        overlay=None if overlay is None else Picture(file=f"{case:03d}-relevance.png"),
        width=width,
        height=height,
        regions=tuple(
            ShownRegion(**{edge: round(getattr(r, edge) * scale, 1) for edge in ("x0", "y0", "x1", "y1")}, text=r.text)
            for r in disclosure.text[image_id]
        ),
        n_covered=len(disclosure.covered[image_id]),
        total_variation=round(choice.total_variation, 4),
    )


class _Overlays:
    """The relevance of clean images as transparent maps: warm is evidence for the prediction, cold against it."""

    def __init__(self, bundle: Bundle, relevance: PlannedRelevance) -> None:
        self._bundle = bundle
        self._start = relevance.start
        self._drawn: dict[str, bytes] = {}
        self._attributor: ImageAttributor | None = None
        if relevance.max_images == 0:  # not asked for: by occlusion a map costs hundreds of predictions
            return
        # A network whose heatmaps would be wrong is audited without them.
        with suppress(RelevanceError):
            self._attributor = ImageAttributor(bundle, relevance.preset)

    def of(self, record: Record, image: NDArray[np.uint8], covered: Sequence[TextRegion]) -> bytes | None:
        """Return the overlay of one image, as it is, as PNG; None where there is no relevance."""
        if self._attributor is None:
            return None
        if record.id not in self._drawn:
            try:
                found = self._attributor.attribute(
                    [image], lambda logits: start_relevance(logits, self._bundle.classes, self._start)
                )
            except RelevanceError:
                return None
            relevance = found.maps[0, 0]
            boxes = map_boxes(covered, image.shape[:2], relevance.shape)
            self._drawn[record.id] = relevance_png(flatten_relevance(relevance, boxes))
        return self._drawn[record.id]
