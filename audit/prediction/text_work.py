"""Text by several processes, on one machine or on many; what they find comes back to the first, which writes the text cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from audit.data.records import Record, TextRegion
from audit.errors import AuditError
from audit.files import write_atomically
from audit.prediction.engines import Engine
from audit.prediction.pool import STATE

_IMAGES_A_TASK = 4


@dataclass(frozen=True, kw_only=True)
class TextJob:
    """Images whose text is looked for."""

    records: Sequence[Record]
    """Of the whole cohort."""
    finder: str
    """Name of the finder."""
    boxes: str
    """File of hand-made boxes; empty where there is none."""
    cache: str
    """Folder of the text cache."""


def find_text_side_by_side(
    job: TextJob, engine: Engine, on_image: Callable[[], None]
) -> dict[str, tuple[TextRegion, ...]] | None:
    """Find the text of images, and fill the text cache.

    Parameters
    ----------
    job : TextJob
        The images.
    engine : Engine
        What does it.
    on_image : callable
        Called once for every image that is done.

    Returns
    -------
    dict or None
        Record id -> its text; None if some image failed, which is left for `find_regions` to meet again in its order.

    Raises
    ------
    AuditError
        If a process died.
    """
    starts = range(0, len(job.records), _IMAGES_A_TASK)
    regions: dict[str, tuple[TextRegion, ...]] = {}
    failed = False
    with closing(engine.results(_start_text, job, _find_text, starts)) as results:
        for start, found in results:
            for path, data in found.entries.items():
                write_atomically(path, data)
            regions |= found.regions
            chosen = job.records[start : start + _IMAGES_A_TASK]
            failed = failed or len(found.regions) < len(chosen)
            for _ in chosen:
                on_image()
    return None if failed else {record.id: regions[record.id] for record in job.records}


@dataclass(frozen=True, kw_only=True, slots=True)
class _FoundText:
    """Text of a few images."""

    regions: dict[str, tuple[TextRegion, ...]]
    """Record id -> its text; without those that failed."""
    entries: dict[Path, bytes]
    """New entries of the text cache."""


def _start_text(job: TextJob) -> None:
    from audit.text.cache import RegionCache
    from audit.text.finders import make_finder

    finder = make_finder(job.finder, Path(job.boxes) if job.boxes else None)
    new: dict[Path, bytes] = {}
    STATE.update(records=job.records, new=new, cache=RegionCache(Path(job.cache), finder, keep=new.__setitem__))


def _find_text(start: int) -> _FoundText:
    from audit.text.find import find_in

    regions = {}
    if "failed" not in STATE:  # `find_regions` will meet the same, and say it
        for record in STATE["records"][start : start + _IMAGES_A_TASK]:
            with suppress(AuditError):
                regions[record.id] = find_in(record.path, STATE["cache"], colour=record.colour)
    entries = dict(STATE.get("new", {}))
    STATE.get("new", {}).clear()
    return _FoundText(regions=regions, entries=entries)
