"""What one image takes in each stage of an audit, on one core: measured on a few of the images."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np

from audit.data.images import read_record
from audit.data.pixels.writing import encode_png
from audit.data.records import Record, TextRegion
from audit.discovery.candidates import find_candidates
from audit.errors import AuditError, RelevanceError
from audit.models.opening import open_model
from audit.perturbations import Perturbation
from audit.perturbations.suspects import at_search_scale, best_place
from audit.prediction.concurrency import one_core
from audit.prediction.covering import Disclosure
from audit.prediction.experiment import Experiment, planned_experiment
from audit.prediction.measuring import measure_cohort, wanted_measures
from audit.prediction.shards import predict_scene
from audit.prediction.variants import cohort_context, make_perturbations, read_scene, variants
from audit.randomness import generator_for
from audit.relevance.images import ImageAttributor
from audit.relevance.shard_maps import Attributed, attribute_shard, shown_text
from audit.relevance.start import start_each
from audit.run.drawn_cases import Case, Drawing, draw_case
from audit.run.preparation import Preparation
from audit.run.probing import N_PERMUTATIONS, areas_of
from audit.run.settings import Settings
from audit.run.source_probe import image_features
from audit.store.folder import RunFolder
from audit.text.cache import RegionCache
from audit.text.easyocr_finder import weights_folder
from audit.text.find import find_in
from audit.text.finders import make_finder
from audit.text.second_opinion import second_sample

TIMED = 4
"""Images that are timed at least."""
_MOST_TIMED, _BUDGET_S = 12, 15.0
"""And at most, as long as predicting them takes no longer: images with text take several times as many predictions as others."""
# Images whose text is looked for in the cache; images of the cohort that edits compare with.
_LOOKED_UP, _MOST_COMPARED = 60, 200
_LARGEST_PROBE = 200
_FITS = 60
"""Comparisons of an image with a template that the search makes: some candidates of each half, fitted thrice, and counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """Seconds of one core, for an image unless something else is said."""

    cached_share: float
    """Share of the images (of a sample) whose text is known; no time."""
    opening: float
    """Opening the network, in each process."""
    text: float
    """Finding text that is not known."""
    shrinking: float
    """Shrinking it for the search for objects."""
    searching: float
    """Describing it, and comparing it with candidates."""
    opening_checker: float
    """Opening EasyOCR."""
    checking: float
    """Looking at it with EasyOCR."""
    measuring: float
    """Measuring what edits compare with."""
    predicting: float
    """Editing and predicting it."""
    looking: float
    """Its features, for the probe of sources."""
    viewing: float
    """Its suspects, for the levels."""
    probing: float
    """One probe of features, with its permutations."""
    attributing: float
    """Its heatmaps."""
    shuffling: float
    """A heatmap of each output alone."""
    drawing: float
    """Drawing a case."""
    editing: float
    """One edit."""


def time_stages(prepared: Preparation, settings: Settings, *, workers: int, on_step: Callable[[], None]) -> Rates:
    """Time a few images of the cohort, drawn from the seed, through every stage.

    Parameters
    ----------
    prepared : Preparation
        The audit.
    settings : Settings
        Its seed, its cache, and how many images EasyOCR checks.
    workers : int
        Processes of a stage.
    on_step : callable
        Called after each of the first `TIMED` images.
    """
    records, bundle, seed, cache = prepared.cohort.records, prepared.bundle, settings.seed, Path(settings.cache)
    order = generator_for(seed, "forecast").permutation(len(records)).tolist()
    finder = RegionCache(cache, prepared.finder)
    looked_up = [records[i] for i in order[:_LOOKED_UP]]
    known = [finder.knows(read_record(record)) for record in looked_up]
    unknown = [record for record, cached in zip(looked_up, known, strict=True) if not cached][:TIMED]

    def find(record: Record) -> tuple[TextRegion, ...]:
        return find_in(record.path, finder, colour=record.colour)

    # Several processes find text on one core each, and this one on all of them.
    text = _seconds(unknown, find, clock=time.process_time if workers > 1 else time.perf_counter)
    # Of a good part of the cohort: with a few images most edits that need other patients would not apply, and take no time.
    others = [records[i] for i in order[:_MOST_COMPARED]]
    regions: dict[str, tuple[TextRegion, ...]] = dict.fromkeys((r.id for r in others), ())
    have_text = [r for r, cached in zip(looked_up, known, strict=True) if cached]
    regions |= {r.id: find(r) for r in [*have_text, *unknown, *looked_up[:TIMED]]}
    perturbations = make_perturbations(prepared.suite)
    bare = cohort_context(others, regions, seed)
    wanted = wanted_measures(others, regions, bare, perturbations)
    begun = time.perf_counter()
    context = cohort_context(others, regions, seed, None, measure_cohort(wanted, lambda: None, workers=workers))
    measuring = (time.perf_counter() - begun) * workers / max(1, len(wanted))
    experiment = planned_experiment(prepared.plan, RunFolder(Path()), bundle, prepared.suite, tuple(others), context)
    predicted: list[float] = []
    for record in looked_up[:_MOST_TIMED]:
        if len(predicted) > TIMED and sum(predicted) > _BUDGET_S:
            break
        regions[record.id] = find(record)
        predicted.append(_clocked(partial(_predict, record, experiment, perturbations)))
        if len(predicted) <= TIMED:
            on_step()
    timed = looked_up[:TIMED]
    small = [at_search_scale(read_record(record), regions[record.id]) for record in timed]
    return Rates(
        cached_share=sum(known) / len(known),
        opening=0.0 if workers <= 1 or bundle.is_recorded else _clocked(lambda: open_model(bundle.request)),
        text=text,
        shrinking=_seconds(timed, lambda r: at_search_scale(read_record(r), regions[r.id])),
        searching=_searching(small, [str(r.label) for r in timed]) if prepared.suite.objects else 0.0,
        measuring=measuring,
        predicting=_mean(predicted),
        looking=_seconds(timed, lambda r: _features(experiment, r)),
        viewing=_seconds(timed, lambda r: read_scene(r, context)),
        probing=_probing(len(records), experiment, timed[0]),
        drawing=_drawing(experiment, timed, prepared),
        editing=_seconds(timed, lambda r: _edited(r, experiment, perturbations))
        / max(1, sum(c.draws for c in prepared.suite.conditions)),
        **_attributing(experiment, timed, prepared),
        **_checking(prepared, settings, workers),
    )


def _seconds(
    records: Sequence[Record], work: Callable[[Record], object], *, clock: Callable[[], float] = time.perf_counter
) -> float:
    return _mean([_clocked(partial(work, record), clock) for record in records])


def _mean(times: Sequence[float]) -> float:
    """Return the mean time of one image, as sums need it; of the first, which loads weights, only where there is no other."""
    return mean(times[1:] or times or [0.0])


def _clocked(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    work()
    return clock() - start


def _predict(record: Record, experiment: Experiment, perturbations: Mapping[str, Perturbation]) -> None:
    shown = variants(read_scene(record, experiment.context), experiment.suite, perturbations, experiment.seed)
    if experiment.bundle.is_recorded:  # its images are written, or its answers looked up, which takes no longer
        for variant in shown:
            encode_png(variant.image)
    else:
        with one_core():
            predict_scene(experiment.bundle, shown, experiment.batch)


def _features(experiment: Experiment, record: Record) -> None:
    with one_core():
        image_features(experiment.bundle, read_record(record))


def _edited(record: Record, experiment: Experiment, perturbations: Mapping[str, Perturbation]) -> None:
    for _ in variants(read_scene(record, experiment.context), experiment.suite, perturbations, experiment.seed):
        pass


def _searching(images: Sequence[np.ndarray], labels: Sequence[str]) -> float:
    """Return what describing an image takes, and comparing it with templates."""
    side = min(24, *(min(image.shape) for image in images))
    described = _clocked(lambda: find_candidates(images, labels, least=2, most=1)) / len(images)
    return described + _FITS * _clocked(lambda: best_place(images[0], images[0][:side, :side]))


def _probing(n_images: int, experiment: Experiment, record: Record) -> float:
    """Return what one probe of features takes: of noise, which takes as long as anything."""
    found = image_features(experiment.bundle, read_record(record))
    if found is None:
        return 0.0
    n = min(n_images, _LARGEST_PROBE)
    rng = np.random.default_rng(0)
    values, targets = rng.standard_normal((n, len(found))), rng.integers(2, size=(n, 1 + N_PERMUTATIONS))
    fold = np.arange(n) % min(5, n)
    with one_core():
        return _clocked(lambda: areas_of(values, targets, fold, 2)) if n >= 10 else 0.0


def _attributing(experiment: Experiment, records: Sequence[Record], prepared: Preparation) -> dict[str, float]:
    options = prepared.plan.relevance
    none = {"attributing": 0.0, "shuffling": 0.0}
    if not options.max_images or experiment.bundle.is_recorded:
        return none
    regions = {r.id: experiment.context.regions[r.id] for r in records}
    shown = shown_text(records, Disclosure(text=regions, covered=dict.fromkeys(regions, ())))
    attributed = Attributed(options=options, shown=shown, first=records[0])

    def attribute(record: Record) -> None:
        with one_core():
            attribute_shard(experiment, attributed, [record])

    try:
        each = _seconds(records, attribute)
        if options.cost:
            return {"attributing": each, "shuffling": 0.0}
        attributor = ImageAttributor(experiment.bundle, options.preset)
        alone = _seconds(records[:2], lambda r: attributor.attribute([read_record(r)], start_each))
    except RelevanceError:  # a network that is audited without relevance
        return none
    return {"attributing": each, "shuffling": alone}


def _drawing(experiment: Experiment, records: Sequence[Record], prepared: Preparation) -> float:
    judged = [c for c in prepared.suite.conditions if c.judged]
    if not judged or experiment.bundle.is_recorded:
        return 0.0
    covered = {r.id: () for r in experiment.records}
    drawing = Drawing(relevance=prepared.plan.relevance, covered=covered, kept={})
    place = {r.id: i for i, r in enumerate(experiment.records)}

    def draw(record: Record) -> None:
        condition = judged[place[record.id] % len(judged)]
        case = Case(
            record=place[record.id], condition=condition.name, draw=0, placebo=condition.placebo, placebo_draw=0
        )
        with one_core():
            draw_case(experiment, drawing, case)

    return _seconds(records, draw)


def _checking(prepared: Preparation, settings: Settings, workers: int) -> dict[str, float]:
    """Return what EasyOCR takes to open, and to look at an image: what it finds is kept, so that a run need not look again."""
    none = {"opening_checker": 0.0, "checking": 0.0}
    if prepared.finder.name in ("annotated", "easyocr") or weights_folder() is None or not settings.judge_images:
        return none
    second = make_finder("easyocr")
    kept = RegionCache(Path(settings.cache), second)
    drawn = second_sample(prepared.cohort.records, settings.judge_images, settings.seed)[:1]
    if all(kept.knows(read_record(record)) for record in drawn):
        return none
    with one_core() if workers > 1 else nullcontext():
        try:
            opening = _clocked(lambda: second.find(np.zeros((64, 64), dtype=np.uint8)))
            looking = _seconds(drawn, lambda r: find_in(r.path, kept, colour=r.colour))
        except AuditError:
            return none
    return {"opening_checker": opening, "checking": looking}
