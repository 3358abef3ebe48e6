"""The text of the audited images: found by one process or others, and images that it cannot be looked for on are left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from audit.data.records import Record
from audit.errors import TextError
from audit.prediction.text_work import TextJob, find_text_side_by_side
from audit.run.engine_choice import text_engine
from audit.run.preparation import Preparation
from audit.run.settings import Settings
from audit.run.shares import WHOLE, Share
from audit.text.cache import RegionCache
from audit.text.find import FoundText, find_regions


def find_text(
    prepared: Preparation, settings: Settings, on_image: Callable[[], None], share: Share = WHOLE
) -> tuple[FoundText, tuple[Record, ...]]:
    """Find the text of every audited image; return it, and the records whose text could be looked for.

    Every job needs the text of all images, for any may be a donor. A job begins with those of its share, so that jobs that share a
    cache find the text of each image once.

    Raises
    ------
    TextError
        If the finder fails on an image that may not be left out, or on all.
    """
    cohort = prepared.cohort
    own = share.own(cohort.records)
    begun = {r.id for r in own}
    ordered = [*own, *(r for r in cohort.records if r.id not in begun)]
    engine = text_engine(prepared, settings)
    if not engine.is_alone:
        job = TextJob(records=ordered, finder=settings.detector, boxes=settings.boxes, cache=settings.cache)
        regions = find_text_side_by_side(job, engine, on_image)
        if regions is not None:
            return FoundText(regions=regions, failures={}), cohort.records
        on_image = _already_told
    found = find_regions(
        ordered,
        RegionCache(Path(settings.cache), prepared.finder),
        on_image,
        on_bad_image=settings.on_bad_image,
    )
    records = tuple(r for r in cohort.records if r.id not in found.failures)
    if not records:
        raise TextError(f"The text finder failed on every image. The first: {next(iter(found.failures.values()))}")
    return found, records


def _already_told() -> None:
    """Placeholder for a listener's step."""
