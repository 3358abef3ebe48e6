"""The cost of an audit, estimated before it starts: forward passes, and minutes from a few images that are actually processed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from audit.data.images import read_record
from audit.data.pixels.writing import encode_png
from audit.data.records import Record, TextRegion
from audit.errors import RelevanceError
from audit.models.bundle import Bundle
from audit.models.classifier import features_of
from audit.models.torch_classifier import one_thread
from audit.prediction.shards import predict_scene
from audit.prediction.variants import cohort_context, make_perturbations, read_scene, variants
from audit.randomness import generator_for
from audit.relevance.images import ImageAttributor
from audit.relevance.start import start_each
from audit.run.objects import sample_size, why_no_search
from audit.run.preparation import Preparation
from audit.run.source_probe import MAX_IMAGES
from audit.suites.objects import object_draws
from audit.text.cache import RegionCache
from audit.text.find import find_in

TIMED = 4
"""Images that are timed."""
# Images whose text is looked for in the cache.
_LOOKED_UP = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """An audit's size and cost."""

    n_images: int
    """Images to audit."""
    n_conditions: int
    """Conditions of the suite, clean included."""
    n_variants: int
    """Predictions per image: every draw of every condition."""
    n_object_variants: int
    """Predictions per image that the test of objects adds, at most: if the search proposes as many as the suite lets it."""
    n_searched: int
    """Images that the search for objects looks at."""
    why_no_search: str
    """Why there is none although the suite asks for it; empty otherwise."""
    n_passes: int
    """Forward passes in total, at most: pixel-identical variants share one."""
    cached_share: float
    """Share of the images (of a sample) whose text is already known."""
    workers: int
    """Processes that predict."""
    text_minutes: float
    """Minutes for finding the rest."""
    predicting_minutes: float
    """Minutes for editing and predicting."""
    probing_minutes: float
    """Minutes for the features that sources are probed with."""
    relevance_minutes: float
    """Minutes for LRP heatmaps."""

    @property
    def minutes(self) -> float:
        """Minutes in total."""
        return self.text_minutes + self.predicting_minutes + self.probing_minutes + self.relevance_minutes


def forecast(
    prepared: Preparation,
    cache: Path,
    *,
    seed: int,
    workers: int,
    predicting_workers: int,
    on_step: Callable[[], None],
) -> Forecast:
    """Time a few images of the cohort, drawn from the seed, through every stage.

    Parameters
    ----------
    prepared : Preparation
        The audit to estimate.
    cache : Path
        Folder of the text cache.
    workers : int
        Processes that find text.
    predicting_workers : int
        Processes that predict.
    on_step : callable
        Called after each timed image.
    """
    records = prepared.cohort.records
    order = generator_for(seed, "forecast").permutation(len(records)).tolist()
    regions_of = RegionCache(cache, prepared.finder)
    looked_up = [records[i] for i in order[:_LOOKED_UP]]
    known = [regions_of.knows(read_record(record)) for record in looked_up]
    timed = looked_up[:TIMED]
    unknown = [record for record, cached in zip(looked_up, known, strict=True) if not cached][:TIMED]
    text_s = _seconds(unknown, lambda record: find_in(record.path, regions_of, colour=record.colour))
    # Of the whole cohort, as in a run: with a few images most edits that need other patients would not apply, and take no time.
    regions: dict[str, tuple[TextRegion, ...]] = dict.fromkeys((record.id for record in records), ())
    regions |= {record.id: tuple(find_in(record.path, regions_of, colour=record.colour)) for record in timed}
    context = cohort_context(records, regions, seed)
    perturbations = make_perturbations(prepared.suite)

    def predict(record: Record) -> None:
        scene = read_scene(record, context)
        shown = variants(scene, prepared.suite, perturbations, seed)
        if prepared.bundle.is_recorded:  # its images are written, or its answers looked up, which takes no longer
            for variant in shown:
                encode_png(variant.image)
        else:
            with one_thread():
                predict_scene(prepared.bundle, shown, prepared.plan.model.batch_size)
        on_step()

    def probe(record: Record) -> None:
        if features is not None:
            with one_thread():
                features(prepared.bundle.preprocessing.prepare(read_record(record))[None])

    features = features_of(prepared.bundle.classifier)
    n, n_variants = len(records), sum(c.draws for c in prepared.suite.conditions)
    why = why_no_search(prepared, seed) if prepared.suite.objects else ""
    n_object_variants = 0 if why else object_draws(prepared.suite.objects)
    share = sum(known) / len(known)
    n_maps = min(n, prepared.plan.relevance.max_images)
    return Forecast(
        n_images=n,
        n_conditions=len(prepared.suite.conditions),
        n_variants=n_variants,
        n_object_variants=n_object_variants,
        n_searched=0 if why else sample_size(prepared, seed),
        why_no_search=why,
        n_passes=n * (n_variants + n_object_variants),
        cached_share=share,
        workers=predicting_workers,
        text_minutes=text_s * n * (1 - share) / workers / 60,
        predicting_minutes=_seconds(timed, predict)
        * (1 + n_object_variants / n_variants)
        * n
        / predicting_workers
        / 60,
        probing_minutes=_seconds(timed, probe) * min(n, MAX_IMAGES) / 60,
        relevance_minutes=_relevance_s(prepared.bundle, timed, prepared.plan.relevance.preset) * n_maps / 60
        if n_maps
        else 0.0,
    )


def _seconds(records: Sequence[Record], work: Callable[[Record], object]) -> float:
    """Return the mean time of one image, as sums need it; of the first, which loads weights, only where there is no other."""
    times = []
    for record in records:
        start = time.perf_counter()
        work(record)
        times.append(time.perf_counter() - start)
    return mean(times[1:] or times or [0.0])


def _relevance_s(bundle: Bundle, records: Sequence[Record], preset: str) -> float:
    try:
        attributor = ImageAttributor(bundle, preset)
    except RelevanceError:  # a network that is audited without relevance
        return 0.0
    return _seconds(records, lambda r: attributor.attribute([read_record(r)], start_each))
