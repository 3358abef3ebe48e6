"""The pictures of a run: for each edit the images whose predictions it changed most, before and after, with the heatmap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from audit.data.conditions import Suite
from audit.data.plan import PlannedRelevance
from audit.data.records import Record, TextRegion
from audit.data.strings import normal_string
from audit.files import write_atomically
from audit.prediction.covering import Disclosure
from audit.prediction.experiment import Experiment
from audit.prediction.tasks import each_task
from audit.prediction.variants import CohortContext
from audit.relevance.measure import kept_maps
from audit.relevance.pictures import image_jpeg, shown_size
from audit.run.case_choice import Choice, choose_cases, n_cases
from audit.run.drawn_cases import Case, Drawing, DrawnCase, draw_case
from audit.run.drawn_examples import forget_drawn, keep_drawn, read_drawn
from audit.run.moved import moved_images
from audit.run.predicted import predicted_words, probabilities
from audit.run.thumbnails import thumbnails_of
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

N_MARKERS = 8


def write_examples(
    experiment: Experiment,
    disclosure: Disclosure,
    table: PredictionTable,
    relevance: PlannedRelevance,
    on_example: Callable[[], None],
    *,
    workers: int = 1,
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
        Called after each of at most `n_pictures`.
    workers : int
        Processes; their number changes no byte.
    """
    run, suite, records = experiment.run, experiment.suite, experiment.records
    if run.has(ExamplesDocument.FILE):
        forget_drawn(run)
        return
    choices = dict(enumerate(choose_cases(suite, table, [str(r.label) for r in records]), start=1))
    drawn = {case: example for case in choices if (example := read_drawn(run, case)) is not None}
    missing = {case: choice for case, choice in choices.items() if case not in drawn}
    for _ in drawn:
        on_example()
    stage = Drawing(
        relevance=relevance,
        covered=disclosure.covered,
        kept=kept_maps(run, {records[choice.record].name for choice in missing.values()}),
    )
    asked = [_case(choice, suite, table) for choice in missing.values()]
    for place, made in each_task(experiment, draw_case, stage, asked, workers=workers):
        case, choice = list(missing.items())[place]
        for name, data in made.files.items():
            write_atomically(run.path / "examples" / f"{case:03d}-{name}", data)
        drawn[case] = _example(experiment, disclosure, choice, case, table, made)
        keep_drawn(run, drawn[case])
        on_example()
    studio = stage.studio(experiment)
    _write_markers(run, records, studio.pictures, disclosure.text)
    thumbnails = tuple(thumbnails_of(studio, table, on_example))
    run.write(moved_images(experiment, table))
    run.write(ExamplesDocument(examples=tuple(drawn[case] for case in choices), thumbnails=thumbnails))
    forget_drawn(run)


def n_pictures(suite: Suite, labels: Sequence[str]) -> int:
    """Return how often `write_examples` reports a step, at most: for each case, and for each condition."""
    return n_cases(suite, labels) + len(suite.conditions) - 1


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
            write_atomically(run.path / "examples" / name, image_jpeg(crop, (width, height)))
            entries.append(
                MarkerCrop(text=text, label=label, record=record.name, file=name, width=width, height=height)
            )
    run.write(MarkersDocument(markers=tuple(entries)))


def _case(choice: Choice, suite: Suite, table: PredictionTable) -> Case:
    """Return what is drawn of a choice: of its placebo the first draw that was applied."""
    placebo = suite[choice.condition].placebo
    applied = np.zeros(0) if placebo is None else np.flatnonzero(table.applied[placebo][:, choice.record])
    return Case(
        record=choice.record,
        condition=choice.condition,
        draw=choice.draw,
        placebo=placebo if applied.size else None,
        placebo_draw=int(applied[0]) if applied.size else 0,
    )


def _example(
    experiment: Experiment, disclosure: Disclosure, choice: Choice, case: int, table: PredictionTable, made: DrawnCase
) -> Example:
    i = choice.record
    record, condition = experiment.records[i], experiment.suite[choice.condition]

    def scored(name: str, under: str, draw: int) -> ScoredPicture:
        values = probabilities(table, under, draw, i)
        return ScoredPicture(
            file=f"{case:03d}-{name}.jpg",
            predicted=predicted_words(experiment, table, under, draw, i),
            probabilities={c: round(v, 4) for c, v in zip(table.classes, values, strict=True)},
        )

    placebo = made.case.placebo if "placebo.jpg" in made.files else None
    return Example(
        case=case,
        record=record.name,
        label=record.label,
        source=record.source,
        condition=condition.name,
        question=condition.question,
        why=choice.why,
        clean=scored("clean", "clean", 0),
        edit=scored("edit", condition.name, choice.draw),
        placebo=None if placebo is None else scored("placebo", placebo, made.case.placebo_draw),
        difference=Picture(file=f"{case:03d}-difference.jpg"),
        overlay=Picture(file=f"{case:03d}-relevance.png") if "relevance.png" in made.files else None,
        width=made.width,
        height=made.height,
        regions=tuple(
            ShownRegion(
                **{edge: round(getattr(r, edge) * made.scale, 1) for edge in ("x0", "y0", "x1", "y1")}, text=r.text
            )
            for r in disclosure.text[record.id]
        ),
        n_covered=len(disclosure.covered[record.id]),
        total_variation=round(choice.total_variation, 4),
    )
