"""The search for objects in a run: images are chosen and read, and proposed objects become conditions of the plan."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from audit.data.groups import known_groups
from audit.data.images import read_record
from audit.data.plan import PlannedObjects, PlannedSuite
from audit.data.records import Record
from audit.discovery.fitting import Half
from audit.discovery.search import SEARCH_VERSION, proposal_samples, search_objects
from audit.errors import TextError
from audit.files import write_atomically
from audit.gates.defaults import config_for
from audit.perturbations.suspects import Suspects, at_search_scale, decode_template, suspect_digest
from audit.prediction.engines import Processes
from audit.prediction.pool import map_side_by_side
from audit.prediction.text_work import TextJob, find_text_side_by_side
from audit.run.plan import planned_conditions
from audit.run.preparation import Preparation
from audit.run.settings import Settings
from audit.store.documents import read_json
from audit.store.serialise import plain, to_json
from audit.store.suspects import LEAST_PATIENTS, SuspectsDocument
from audit.store.typed import FormatError, typed
from audit.suites.objects import with_objects
from audit.text.cache import RegionCache
from audit.text.find import find_in


@dataclass(frozen=True, kw_only=True)
class ProposedObjects:
    """What the search proposed."""

    document: SuspectsDocument
    """As it is stored; images by the digest of their pixels."""
    suspects: Suspects
    """For the edits."""


def prepare_objects(
    prepared: Preparation, settings: Settings, *, judge_gates: bool, on_image: Callable[[], None]
) -> tuple[Preparation, ProposedObjects]:
    """Search for objects that recur, and add conditions that test them to the suite, the plan and the rules.

    Parameters
    ----------
    prepared : Preparation
        Of a suite that asks for objects.
    settings : Settings
        What to audit, and how.
    judge_gates : bool
        Judge although nothing is configured.
    on_image : callable
        Called once for every image of `sample_size`.

    Raises
    ------
    AuditError
        If an image cannot be read, or its text not be looked for.
    """
    proposed = _proposed(prepared, settings, on_image)
    document = proposed.document
    suite = with_objects(prepared.suite, [suspect_digest(s) for s in document.suspects])
    impossible = {c.name: c.cohort_lacks for c in prepared.plan.suite.conditions if c.cohort_lacks}
    planned = typed(
        plain({**plain(prepared.plan.suite), "conditions": planned_conditions(suite, impossible)}), PlannedSuite
    )
    objects = PlannedObjects(
        asked=prepared.suite.objects,
        n_images=document.n_images,
        n_found=len(document.suspects),
        why_none=document.why_none,
        search_version=SEARCH_VERSION,
    )
    gate = config_for(
        settings.gate,
        suite,
        prepared.tolerances,
        asked=judge_gates,
        impossible=impossible,
        groups=known_groups(prepared.cohort.labelled()),
    )
    plan = structs.replace(prepared.plan, suite=planned, objects=objects)
    return replace(prepared, suite=suite, plan=plan, gate=gate), proposed


def sample_size(prepared: Preparation, seed: int) -> int:
    """Return how many images the search looks at."""
    return sum(map(len, proposal_samples(prepared.cohort.records, seed))) if prepared.suite.objects else 0


def why_no_search(prepared: Preparation, seed: int) -> str:
    """Say why objects cannot be searched for in a cohort; empty where they can."""
    return _too_few(proposal_samples(prepared.cohort.records, seed))


def _proposed(prepared: Preparation, settings: Settings, on_image: Callable[[], None]) -> ProposedObjects:
    records, pixels = prepared.cohort.records, prepared.cohort.pixels
    samples = proposal_samples(records, settings.seed)
    finder = prepared.finder
    asked: list[Any] = [SEARCH_VERSION, finder.name, finder.version, finder.config(), prepared.suite.objects]
    asked += [[[pixels[r.id], r.label] for r in sample] for sample in samples]
    kept = Path(settings.cache) / "objects" / f"{hashlib.sha256(to_json(plain(asked)).encode()).hexdigest()[:32]}.json"
    document = _read(kept)
    if document is None:
        document = _search(samples, prepared, settings, on_image)
        write_atomically(kept, to_json(document).encode())
    else:
        for _ in range(sum(map(len, samples))):
            on_image()
    donors = {pixels[r.id]: r for sample in samples for r in sample}
    return ProposedObjects(
        document=document, suspects=Suspects(found=document.suspects, donors=donors, seed=settings.seed)
    )


def _search(
    samples: tuple[Sequence[Record], Sequence[Record]],
    prepared: Preparation,
    settings: Settings,
    on_image: Callable[[], None],
) -> SuspectsDocument:
    everyone = [*samples[0], *samples[1]]
    why_none = _too_few(samples)
    if why_none:
        for _ in everyone:
            on_image()
        return SuspectsDocument(n_images=0, n_candidates=0, why_none=why_none, suspects=())
    workers = prepared.processes(settings.workers)
    if workers > 1:
        job = TextJob(records=everyone, finder=settings.detector, boxes=settings.boxes, cache=settings.cache)
        find_text_side_by_side(job, Processes(n=workers), lambda: None)
    first, second = (_half(sample, prepared, settings, on_image) for sample in samples)
    found = search_objects(
        first,
        second,
        most=prepared.suite.objects,
        spread=lambda task, job, n: map_side_by_side(task, job, n, workers),
    )
    return SuspectsDocument(
        n_images=len(first.images) + len(second.images),
        n_candidates=found.n_candidates,
        why_none="",
        suspects=found.suspects,
    )


def _too_few(samples: Sequence[Sequence[Record]]) -> str:
    """Say why nothing can be searched; empty where it can."""
    if len({r.label for sample in samples for r in sample}) < 2:
        return "the images have only one class"
    fewest = min(map(len, samples))
    needed = 2 * LEAST_PATIENTS
    return f"a half of the patients has {fewest}, and {needed} are needed" if fewest < needed else ""


def _half(sample: Sequence[Record], prepared: Preparation, settings: Settings, on_image: Callable[[], None]) -> Half:
    cache = RegionCache(Path(settings.cache), prepared.finder)
    images: list[NDArray[np.uint8]] = []
    read: list[Record] = []
    for record in sample:
        try:
            images.append(at_search_scale(read_record(record), find_in(record.path, cache, colour=record.colour)))
            read.append(record)
        except TextError:
            if settings.on_bad_image == "fail":
                raise
        on_image()
    return Half(
        images=tuple(images),
        labels=tuple(str(r.label) for r in read),
        names=tuple(prepared.cohort.pixels[r.id] for r in read),
    )


def _read(path: Path) -> SuspectsDocument | None:
    """Return what an earlier search proposed; None if there is none or it cannot be read, so that the search is repeated."""
    try:
        document = typed(read_json(path), SuspectsDocument)
        for suspect in document.suspects:
            for template in suspect.templates:
                decode_template(template)
    except (OSError, ValueError, FormatError):
        return None
    return document
