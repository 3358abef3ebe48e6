"""The check of the text finder in a run: a few images are also looked at by EasyOCR, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from audit.data.records import Record, TextRegion
from audit.data.strings import StringPolicy
from audit.errors import TextError
from audit.prediction.pool import each_side_by_side
from audit.provenance import without_paths
from audit.run.preparation import Preparation
from audit.run.recording import Clock
from audit.run.settings import Settings
from audit.store.run_record import SecondOpinion
from audit.text.cache import RegionCache
from audit.text.easyocr_finder import weights_folder
from audit.text.find import find_in
from audit.text.finders import make_finder
from audit.text.second_opinion import ask_second_opinion, second_sample

_SECOND = "easyocr"


def check_finder_on(
    prepared: Preparation,
    records: Sequence[Record],
    regions: Mapping[str, tuple[TextRegion, ...]],
    policy: StringPolicy,
    settings: Settings,
    clock: Clock,
) -> SecondOpinion | str:
    """Return how many of EasyOCR's regions the finder covers, or why EasyOCR was not used.

    Parameters
    ----------
    prepared : Preparation
        The audit, with the finder.
    records : sequence of Record
        The audited images.
    regions : mapping
        Record id -> what the finder found.
    policy : StringPolicy
        Which strings may be shown.
    settings : Settings
        How many images are looked at, and by how many processes.
    clock : Clock
        Times it.
    """
    n_images = min(len(records), settings.judge_images)
    if n_images == 0:
        return "No second text finder was used (judge_images = 0)."
    finder = prepared.finder.name
    if finder in ("annotated", _SECOND):
        return f"No second text finder was used, because the text finder is {finder}."
    if weights_folder() is None:
        return "EasyOCR did not check the text finder: its weights are not installed (the extra `weights`)."
    cache = Path(settings.cache)
    workers = min(n_images, prepared.processes(settings.workers))
    with clock.stage("checking with EasyOCR", n_images) as step:
        if workers > 1:  # what fails is met again, and said, below
            job = _Job(records=tuple(second_sample(records, n_images, settings.seed)), cache=cache)
            for _ in each_side_by_side(_look, job, n_images, workers):
                step()
        try:
            return ask_second_opinion(
                records,
                regions,
                RegionCache(cache, make_finder(_SECOND)),
                policy=policy,
                n_images=n_images,
                seed=settings.seed,
                on_image=step if workers == 1 else _already_told,
            )
        except TextError as error:
            return f"EasyOCR could not check the text finder: {without_paths(str(error))}"


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What every process is sent once."""

    records: tuple[Record, ...]
    cache: Path

    @cached_property
    def regions(self) -> RegionCache:
        """EasyOCR, and what it found before; opened once in each process."""
        return RegionCache(self.cache, make_finder(_SECOND))


def _look(job: _Job, number: int) -> None:
    record = job.records[number]
    with suppress(TextError):
        find_in(record.path, job.regions, colour=record.colour)


def _already_told() -> None:
    """Placeholder for a listener's step."""
