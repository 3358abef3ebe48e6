"""The cost of an audit, estimated before it starts: forward passes, and minutes from a few images that are actually processed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from audit.data.images import read_record
from audit.data.pixels.writing import encode_png
from audit.data.records import Record
from audit.errors import RelevanceError
from audit.models.bundle import Bundle
from audit.prediction.shards import predict_scene
from audit.prediction.variants import cohort_context, make_perturbations, read_scene, variants
from audit.randomness import generator_for
from audit.relevance.images import ImageAttributor, mapped_images
from audit.relevance.start import start_each
from audit.run.objects import sample_size, why_no_search
from audit.run.preparation import Preparation
from audit.suites.objects import object_draws
from audit.text.cache import RegionCache
from audit.text.find import find_in

# Images that are timed, and images whose text is looked for in the cache.
_TIMED = 3
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
    """Processes that find text and predict."""
    text_minutes: float
    """Minutes for finding the rest."""
    predicting_minutes: float
    """Minutes for editing and predicting."""
    relevance_minutes: float
    """Minutes for LRP heatmaps."""

    @property
    def minutes(self) -> float:
        """Minutes in total."""
        return self.text_minutes + self.predicting_minutes + self.relevance_minutes


def forecast(
    prepared: Preparation,
    cache: Path,
    *,
    seed: int,
    relevance_images: int,
    workers: int,
    on_step: Callable[[], None],
) -> Forecast:
    """Time a few images of the cohort, drawn from the seed, through every stage.

    Parameters
    ----------
    prepared : Preparation
        The audit to estimate.
    cache : Path
        Folder of the text cache.
    relevance_images : int
        How many images get an LRP map.
    workers : int
        Processes that find text and predict.
    on_step : callable
        Called after each timed image.
    """
    records = prepared.cohort.records
    order = generator_for(seed, "forecast").permutation(len(records)).tolist()
    regions_of = RegionCache(cache, prepared.detector)
    looked_up = [records[i] for i in order[:_LOOKED_UP]]
    known = [regions_of.knows(read_record(record)) for record in looked_up]
    timed = looked_up[:_TIMED]
    unknown = [record for record, cached in zip(looked_up, known, strict=True) if not cached][:_TIMED]
    text_s = _seconds(unknown, lambda record: find_in(record.path, regions_of, colour=record.colour))
    regions = {record.id: find_in(record.path, regions_of, colour=record.colour) for record in timed}
    context = cohort_context(timed, regions, seed)
    perturbations = make_perturbations(prepared.suite)

    def predict(record: Record) -> None:
        scene = read_scene(record, context)
        shown = variants(scene, prepared.suite, perturbations, seed)
        if prepared.bundle.is_recorded:  # its images are written, or its answers looked up, which takes no longer
            for variant in shown:
                encode_png(variant.image)
        else:
            predict_scene(prepared.bundle, shown)
        on_step()

    n, n_variants = len(records), sum(c.draws for c in prepared.suite.conditions)
    why = why_no_search(prepared, seed) if prepared.suite.objects else ""
    n_object_variants = 0 if why else object_draws(prepared.suite.objects)
    share = sum(known) / len(known)
    n_maps = min(n, mapped_images(prepared.bundle, relevance_images))
    return Forecast(
        n_images=n,
        n_conditions=len(prepared.suite.conditions),
        n_variants=n_variants,
        n_object_variants=n_object_variants,
        n_searched=0 if why else sample_size(prepared, seed),
        why_no_search=why,
        n_passes=n * (n_variants + n_object_variants),
        cached_share=share,
        workers=workers,
        text_minutes=text_s * n * (1 - share) / workers / 60,
        predicting_minutes=_seconds(timed, predict) * (1 + n_object_variants / n_variants) * n / workers / 60,
        relevance_minutes=_relevance_s(prepared.bundle, timed, prepared.plan.relevance.preset) * n_maps / 60
        if n_maps
        else 0.0,
    )


def _seconds(records: Sequence[Record], work: Callable[[Record], object]) -> float:
    """Return the median time of one image; the first, which loads weights, only where there is no other."""
    times = []
    for record in records:
        start = time.perf_counter()
        work(record)
        times.append(time.perf_counter() - start)
    return median(times[1:] or times or [0.0])


def _relevance_s(bundle: Bundle, records: Sequence[Record], preset: str) -> float:
    try:
        attributor = ImageAttributor(bundle, preset)
    except RelevanceError:  # a network that is audited without relevance
        return 0.0
    return _seconds(records, lambda r: attributor.attribute([read_record(r)], start_each))
