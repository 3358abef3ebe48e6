"""Every image and mask of a cohort is decoded once before anything relies on it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from audit.errors import CohortError, ImageError
from audit.images import decode_gray, pixel_hash, read_mask
from audit.records import Record


def check_images(
    records: Iterable[Record], on_bad_image: Literal["fail", "skip"]
) -> tuple[list[Record], dict[str, tuple[str, str]], dict[str, tuple[int, int]], list[str]]:
    """Decode every image once; return the good records, (bytes hash, pixel hash) and shapes by id, and the messages."""
    good: list[Record] = []
    hashes: dict[str, tuple[str, str]] = {}
    shapes: dict[str, tuple[int, int]] = {}
    bad: list[str] = []
    for record in records:
        try:
            data = _read_bytes(record.path)
            image = decode_gray(data, record.path)
        except ImageError as error:
            if on_bad_image == "fail":
                raise ImageError(
                    f"{error} Or leave unreadable images out, counted, with --on-bad-image skip."
                ) from error
            bad.append(str(error))
            continue
        hashes[record.id] = (hashlib.sha256(data).hexdigest(), pixel_hash(image))
        shapes[record.id] = (image.shape[0], image.shape[1])
        good.append(record)
    return good, hashes, shapes, bad


def check_masks(
    records: Iterable[Record], shapes: Mapping[str, tuple[int, int]]
) -> tuple[list[Record], str, list[str]]:
    """Read every lung mask once; a bad one is dropped from its record. Return records, hash of the masks, messages."""
    kept: list[Record] = []
    bad: list[str] = []
    digest = hashlib.sha256()
    for record in records:
        if record.lung_mask is not None:
            try:
                mask = read_mask(record.lung_mask, shapes[record.id])
                digest.update(f"{record.id}\x1f{pixel_hash(mask.view('uint8'))}\x1e".encode("utf-8", "surrogateescape"))
            except ImageError as error:
                bad.append(str(error))
                record = replace(record, lung_mask=None)
        kept.append(record)
    return kept, digest.hexdigest(), bad


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"Image {path} does not exist. Check the manifest's path column.") from error
    except OSError as error:
        raise ImageError(f"Image {path} cannot be opened: {error.strerror}.") from error


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
                "Remove one: a test image must not have been trained on."
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
        f"{extra} images are pixel-identical copies of another record (first: {groups[0][0].id!r} and {groups[0][1].id!r})."
    ]
