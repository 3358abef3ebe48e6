"""Every image and mask of a cohort is decoded once before anything relies on it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import Literal, TypeVar

from audit.data.images import ImageFacts, look_at, pixel_hash, read_mask
from audit.data.pixels.limits import read_image_bytes
from audit.data.records import Record
from audit.errors import CohortError, ImageError
from audit.store.numbers import counted

_WINDOW = 8
"""Images that wait for each thread."""
_LARGE_BYTES = 50_000_000
"""Files of more are read one at a time: a thread for each core would hold as many."""
_one_at_a_time = Lock()
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedImages:
    """What decoding every image of a cohort once has shown."""

    records: list[Record]
    """Records whose image can be read."""
    hashes: dict[str, tuple[str, str]]
    """Record id -> SHA-256 of the file's bytes and of its pixels."""
    shapes: dict[str, tuple[int, int]]
    """Record id -> height and width."""
    facts: dict[str, ImageFacts]
    """Record id -> what its grey levels were made from."""
    bad: list[Record]
    """Records whose image cannot be read."""
    notes: list[str]
    """What the reader has to say of others, one sentence a kind, counted."""


def check_images(
    records: Iterable[Record], on_bad_image: Literal["fail", "skip"], *, colour: bool = False
) -> CheckedImages:
    """Decode every image once, in colour or as grey, on every core of this machine.

    Results come in the order of the records, however many cores there are, so that the first bad image is the same everywhere.
    Large images wait for each other: together they take what the largest one may take (`audit.data.pixels.limits`).

    Raises
    ------
    ImageError
        If an image cannot be read, and such images are not to be skipped.
    """
    found = CheckedImages(records=[], hashes={}, shapes={}, facts={}, bad=[], notes=[])
    noted: Counter[str] = Counter()
    alike: dict[ImageFacts, ImageFacts] = {}
    with closing(_in_order(records, partial(_look_once, colour=colour))) as looked_at:
        for record, seen in looked_at:
            if isinstance(seen, ImageError):
                if on_bad_image == "fail":
                    raise ImageError(
                        f"{seen} To leave out and count unreadable images, use --on-bad-image skip."
                    ) from seen
                found.bad.append(record)
                continue
            found.hashes[record.id] = seen.hashes
            found.shapes[record.id] = seen.shape
            found.facts[record.id] = alike.setdefault(seen.facts, seen.facts)
            found.records.append(record)
            noted.update(seen.notes)
    # Counts alone: which images they are, `audit look` says, and no run folder has to name them.
    found.notes.extend(f"{n} image{'' if n == 1 else 's'}: {note}" for note, n in sorted(noted.items()))
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class _Once:
    """What is kept of an image that was decoded; not its pixels."""

    hashes: tuple[str, str]
    shape: tuple[int, int]
    facts: ImageFacts
    notes: tuple[str, ...]


def _look_once(record: Record, *, colour: bool) -> _Once | ImageError:
    try:
        with _one_at_a_time if _is_large(record) else nullcontext():
            data = read_image_bytes(record.path)
            seen = look_at(data, record.path, colour=colour)
    except ImageError as error:
        return error
    return _Once(
        hashes=(hashlib.sha256(data).hexdigest(), pixel_hash(seen.pixels)),
        shape=(seen.pixels.shape[0], seen.pixels.shape[1]),
        facts=seen.facts,
        notes=seen.notes,
    )


def _is_large(record: Record) -> bool:
    try:
        return record.path.stat().st_size > _LARGE_BYTES
    except (OSError, ValueError):
        return False


def _in_order(records: Iterable[Record], look: Callable[[Record], _T]) -> Generator[tuple[Record, _T], None, None]:
    """Look at records side by side, and return what was found in their order, a window at a time."""
    # Threads: decoders and hashes let others run meanwhile, and a process each would start the caller's own script again.
    n_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting: deque[tuple[Record, Future[_T]]] = deque()
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for record in records:
                waiting.append((record, pool.submit(look, record)))
                if len(waiting) > _WINDOW * n_threads:
                    first, done = waiting.popleft()
                    yield first, done.result()
            while waiting:
                first, done = waiting.popleft()
                yield first, done.result()
        finally:
            for _, still in waiting:
                still.cancel()


def check_masks(
    records: Iterable[Record], shapes: Mapping[str, tuple[int, int]]
) -> tuple[list[Record], str, list[Record]]:
    """Read every lung mask once; a bad one is dropped from its record. Return records, hash of the masks, those with bad ones."""
    kept: list[Record] = []
    bad: list[Record] = []
    digest = hashlib.sha256()

    def look(record: Record) -> str | None:
        try:
            return pixel_hash(read_mask(record.lung_mask, shapes[record.id]).view("uint8")) if record.lung_mask else ""
        except ImageError:
            return None

    records = list(records)
    read = _in_order([record for record in records if record.lung_mask is not None], look)
    for record in records:
        mask = next(read)[1] if record.lung_mask is not None else ""
        if mask:
            digest.update(f"{record.id}\x1f{mask}\x1e".encode("utf-8", "surrogateescape"))
        elif mask is None:
            bad.append(record)
            record = replace(record, lung_mask=None)
        kept.append(record)
    return kept, digest.hexdigest(), bad


def duplicate_notes(records: Iterable[Record], hashes: dict[str, tuple[str, str]]) -> list[str]:
    """Say which images are the same pixels under two ids; across splits or labels that is an error."""
    same: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        same[hashes[record.id][1]].append(record)
    groups = [group for group in same.values() if len(group) > 1]
    for group in groups:
        splits = {r.split for r in group if r.split is not None}
        if len(splits) > 1:
            raise CohortError(
                f"{group[0].id!r} and {group[1].id!r} are the same pixels in different splits ({', '.join(sorted(splits))}). "
                "Remove one: a test image must not be a training image."
            )
        labels = {r.label for r in group if r.label is not None}
        if len(labels) > 1:
            raise CohortError(
                f"{group[0].id!r} and {group[1].id!r} are the same pixels with different labels ({', '.join(sorted(labels))}). "
                "Correct the label or remove one."
            )
    if not groups:
        return []
    extra = sum(len(group) - 1 for group in groups)
    return [
        f"{counted(extra, 'image is a pixel-identical copy', 'images are pixel-identical copies')} of another record (first: "
        f"{groups[0][0].name} and {groups[0][1].name})."
    ]
