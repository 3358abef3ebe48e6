"""The cost of an audit, estimated before it starts: how much there is to do, and seconds from images that are actually processed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from audit.run.preparation import Preparation
from audit.run.rates import Rates, time_stages
from audit.run.settings import Settings
from audit.run.sizes import Sizes, count_work

_SHARD_OF_MAPS = 4
"""Images that are attributed by one process together."""
_PREDICTED_TOGETHER = 2


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
    searching_minutes: float
    """Minutes for the search for objects, beside their text."""
    checking_minutes: float
    """Minutes for the check of the text finder by EasyOCR."""
    measuring_minutes: float
    """Minutes for what edits compare images with."""
    predicting_minutes: float
    """Minutes for editing and predicting, without objects."""
    object_minutes: float
    """Minutes that the test of objects adds, at most."""
    probing_minutes: float
    """Minutes for probing sources."""
    levels_minutes: float
    """Minutes for the four levels of every suspect."""
    relevance_minutes: float
    """Minutes for heatmaps."""
    examples_minutes: float
    """Minutes for drawing examples."""

    @property
    def minutes(self) -> float:
        """Minutes in total, if the search proposes no object."""
        return (
            self.text_minutes
            + self.searching_minutes
            + self.checking_minutes
            + self.measuring_minutes
            + self.predicting_minutes
            + self.probing_minutes
            + self.levels_minutes
            + self.relevance_minutes
            + self.examples_minutes
        )


def forecast(
    prepared: Preparation,
    settings: Settings,
    *,
    workers: int,
    predicting_workers: int,
    on_step: Callable[[], None],
) -> Forecast:
    """Time a few images of the cohort, drawn from the seed, through every stage.

    Parameters
    ----------
    prepared : Preparation
        The audit to estimate.
    settings : Settings
        Its seed, its cache, and how many images EasyOCR checks.
    workers : int
        Processes that find text.
    predicting_workers : int
        Processes that predict.
    on_step : callable
        Called after each timed image.
    """
    rates = time_stages(prepared, settings, workers=workers, on_step=on_step)
    sizes = count_work(prepared, settings, rates.cached_share, workers=workers, predicting_workers=predicting_workers)
    return expected_cost(sizes, rates)


def expected_cost(sizes: Sizes, rates: Rates) -> Forecast:
    """Return what work of some size takes at some rates.

    A stage takes as long as the process that does most of it, and each process first opens the network. On another device than the CPU
    one process predicts; what computes on the CPU in any case has all processes.
    """
    s, r, everyone = sizes, rates, sizes.workers

    def minutes(n: int, each: float, workers: int, *, together: int = 1, opens: bool = False) -> float:
        if n <= 0:
            return 0.0
        tasks = -(-n // together)
        busiest = min(n, -(-tasks // workers) * together)
        return (busiest * each + (r.opening if opens and workers > 1 else 0.0)) / 60

    own = minutes(s.n_images, r.predicting, s.predicting_workers, together=_PREDICTED_TOGETHER, opens=True)
    shuffled = 4 * min(s.n_mapped, _SHARD_OF_MAPS) * r.shuffling / min(everyone, 4) / 60
    return Forecast(
        n_images=s.n_images,
        n_conditions=s.n_conditions,
        n_variants=s.n_variants,
        n_object_variants=s.n_object_variants,
        n_searched=s.n_searched,
        why_no_search=s.why_no_search,
        n_passes=s.n_images * (s.n_variants + s.n_object_variants),
        cached_share=r.cached_share,
        workers=s.predicting_workers,
        text_minutes=minutes(s.n_text, r.text, everyone, together=_SHARD_OF_MAPS),
        searching_minutes=minutes(s.n_searched, r.shrinking, 1) + minutes(s.n_searched, r.searching, everyone),
        checking_minutes=minutes(s.n_checked, r.checking, min(everyone, max(1, s.n_checked)))
        + (r.opening_checker / 60 if s.n_checked else 0.0),
        measuring_minutes=minutes(s.n_measured, r.measuring, everyone),
        predicting_minutes=own,
        object_minutes=own * s.n_object_variants / s.n_variants,
        probing_minutes=minutes(s.n_probed, r.looking, everyone, opens=True) + minutes(s.n_probes, r.probing, 1),
        levels_minutes=minutes(s.n_looked_at, r.viewing, everyone, opens=True)
        + minutes(s.n_level_probes, r.probing, everyone),
        relevance_minutes=minutes(s.n_mapped, r.attributing, everyone, together=_SHARD_OF_MAPS, opens=True) + shuffled,
        examples_minutes=minutes(s.n_cases, r.drawing, everyone, opens=True) + minutes(s.n_thumbnails, r.editing, 1),
    )
