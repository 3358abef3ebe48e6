"""A table of records becomes a checked cohort."""

from __future__ import annotations

import difflib
import hashlib
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from audit.data.checks import check_images, check_masks, duplicate_notes
from audit.data.encodings import encoding_notes
from audit.data.pseudonyms import PLAIN, Pseudonyms
from audit.data.reading import GUESSED, TableOptions, TableReading, read_records
from audit.data.records import Cohort, Record
from audit.data.strings import shown_string
from audit.data.withheld import withhold_sources
from audit.errors import CohortError, CohortUsageError, UnknownNameError, shown_names, shown_value
from audit.remote.addresses import absolute
from audit.store.numbers import counted

PIXEL_DIGITS = 32
"""Hexadecimal digits that tell images apart; two of a billion would agree by chance once in 10^20 cohorts."""
BAD_MASKS = "lung masks cannot be used and are treated as missing"
"""What a note says of them."""
_MOST_LISTED = 5
_MOST_NAMED = 20
_MOST_WRONG = 8
_NEAR = 0.75
"""Likeness of two labels from which one is taken for a slip of the other."""


def load_cohort(
    manifest: Path,
    *,
    classes: Sequence[str] | None = None,
    ignore_labels: Collection[str] = (),
    on_bad_image: Literal["fail", "skip"] = "fail",
    split: str | None = None,
    before_images: Callable[[Sequence[Record]], None] | None = None,
    sample: Callable[[Sequence[Record]], Collection[str]] | None = None,
    names: Pseudonyms = PLAIN,
    how: TableOptions = GUESSED,
    withhold: bool = False,
    on_table: Callable[[TableReading], None] | None = None,
    multi_label: bool = False,
    colour: bool = False,
) -> Cohort:
    """Read a manifest and check everything that an audit relies on.

    Parameters
    ----------
    manifest : Path
        CSV or Parquet table, or a folder of a known layout; its columns: `audit.data.columns`.
    classes : sequence of str, optional
        Label vocabulary in the order of the model's outputs; sorted labels of the table if omitted.
    ignore_labels : collection of str
        Labels that are known not to belong to the task: such records count as unlabelled.
    on_bad_image : {"fail", "skip"}
        What to do with a file that cannot be read; skipped ones are counted in `left_out`.
    split : str, optional
        Keep only the records of this split (checked after patient overlap, so that a leak is seen).
    before_images : callable, optional
        Given the records as the table tells them, before the first image is read; refuses them by raising.
    sample : callable, optional
        Given the records, returns the ids of those to keep before the first image is read: the cohort then is these alone.
    names : Pseudonyms
        What files that go out call images and patients; their ids if omitted.
    how : TableOptions
        Names of the columns, and of the data set, where they are not to be guessed.
    withhold : bool
        Give sources of few patients neutral names, as files that go out need them.
    on_table : callable, optional
        Told what was read from where, before anything is refused for what the records hold.
    multi_label : bool
        Whether `classes` are findings of which any number applies to an image.
    colour : bool
        Read images in colour, if any of them is not grey.

    Returns
    -------
    Cohort
        With every record in the manifest's order, and a content hash.

    Raises
    ------
    CohortError
        If the table cannot be read or trusted: missing columns, duplicate ids, a label outside the
        classes, an unreadable image, a patient in two splits.
    """
    records, table = read_records(
        manifest, how=how, classes=classes, names=names, multi_label=multi_label, ignored=ignore_labels
    )
    left_out: dict[str, int] = {}
    unmet: list[str] = []
    if multi_label:
        unlabelled = sum(r.label is None for r in records)
        left_out = {"without any known label": unlabelled} if unlabelled else {}
    else:
        records, left_out, unmet = _apply_vocabulary(manifest, records, classes, ignore_labels)
    if on_table is not None:
        on_table(replace(table, warnings=(*table.warnings, *unmet)))
    overlaps = _patients_in_two_splits(records)
    if overlaps:
        raise CohortError(
            f"{counted(len(overlaps), 'patient')} of {manifest} {'is' if len(overlaps) == 1 else 'are'} in more than one split, first "
            f"{overlaps[0]!r}. A split must keep a patient's images together, or test accuracy measures memorisation. "
            "Correct the split column."
        )
    if split is not None:
        records = [r for r in records if r.split == split]
        if not records:
            raise CohortError(f"Manifest {manifest} has no record of split {split!r}.")
    # The hash is over what the table says, whatever files call it.
    sources = {r.id: r.source for r in records}
    if withhold:
        records = withhold_sources(records)
    if before_images is not None:
        before_images(records)
    if sample is not None:
        kept = sample(records)
        records = [r for r in records if r.id in kept]
    checked = check_images(records, on_bad_image, colour=colour)
    if checked.bad:
        left_out["unreadable image"] = len(checked.bad)
    hashes = checked.hashes
    records, masks_hash, bad_masks = check_masks(checked.records, checked.shapes)
    coloured = {i: f.coloured_share for i, f in checked.facts.items() if f.coloured_share is not None}
    if colour and coloured:
        records = [replace(record, colour=True) for record in records]
    # Notes stand in every report: images by their names only, and no message of a decoder, which may quote the file.
    notes = (
        [f"{counted(len(checked.bad), 'unreadable image')} left out: {_listed(checked.bad)}."] if checked.bad else []
    )
    notes += [*duplicate_notes(records, hashes), *checked.notes]
    notes += [*encoding_notes(records, checked.facts), *table.warnings, *unmet]
    if bad_masks:
        notes.append(f"{len(bad_masks)} {BAD_MASKS}: {_listed(bad_masks)}.")
    if not records:
        raise CohortError(f"Manifest {manifest} has no usable record.")
    vocabulary = (
        tuple(classes) if classes is not None else tuple(sorted({r.label for r in records if r.label is not None}))
    )
    return Cohort(
        name=(absolute(manifest) if manifest.is_dir() else absolute(manifest).parent).name or manifest.stem,
        manifest=manifest,
        classes=vocabulary,
        records=tuple(records),
        content_hash=_content_hash(records, sources, hashes),
        masks_hash=masks_hash,
        coloured=coloured,
        pixels={record.id: hashes[record.id][1][:PIXEL_DIGITS] for record in records},
        notes=tuple(notes),
        left_out=left_out,
        multi_label=multi_label,
    )


def _listed(records: Sequence[Record]) -> str:
    more = "" if len(records) <= _MOST_LISTED else f" and {len(records) - _MOST_LISTED} more"
    return f"{', '.join(r.name for r in records[:_MOST_LISTED])}{more}"


def _apply_vocabulary(
    manifest: Path, records: list[Record], classes: Sequence[str] | None, ignore_labels: Collection[str]
) -> tuple[list[Record], dict[str, int], list[str]]:
    """Turn ignored labels into none, and refuse labels that no class has; state which labels to ignore do not occur."""
    left_out: dict[str, int] = {}
    found = Counter(r.label for r in records if r.label is not None)
    absent = sorted(set(ignore_labels) - set(found))
    folded = {name.casefold() for name in found}
    for name in absent:
        # Near a label that is there, it is a slip; otherwise this table just has none of them, which one command must allow.
        if difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=_NEAR):
            raise UnknownNameError(f"label to ignore in {manifest}", name, found)
    unmet = [
        f"The label to ignore {shown_string(name)!r} occurs in no row; the labels are {_some(sorted(found))}."
        for name in absent
    ]
    if classes is not None:
        wrong = sorted(set(found) - set(classes) - set(ignore_labels))
        if wrong:
            counts = ", ".join(f"{shown_value(name)} ({counted(found[name], 'image')})" for name in wrong[:_MOST_WRONG])
            if len(wrong) > _MOST_WRONG:
                counts += f" and {len(wrong) - _MOST_WRONG} more labels"
            options = " ".join(f"--ignore-label {shlex.quote(shown_string(name))}" for name in wrong[:_MOST_WRONG])
            raise CohortUsageError(
                f"Manifest {manifest} has labels outside the classes {shown_names(classes)}: {counts}. Correct them, or "
                f"leave them out with {options}{' ...' if len(wrong) > _MOST_WRONG else ''}."
            )
    kept = []
    for record in records:
        if record.label is None:
            left_out["unlabelled"] = left_out.get("unlabelled", 0) + 1
        elif record.label in ignore_labels:
            reason = f"label {record.label} ignored"
            left_out[reason] = left_out.get(reason, 0) + 1
            record = replace(record, label=None)
        kept.append(record)
    return kept, left_out, unmet


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(shown_string(name) for name in names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _patients_in_two_splits(records: Iterable[Record]) -> list[str]:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.split is not None:
            splits[record.patient].add(record.split)
    return sorted(patient for patient, names in splits.items() if len(names) > 1)


def _content_hash(records: Iterable[Record], sources: Mapping[str, str], hashes: Mapping[str, tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for record in sorted(records, key=lambda r: r.id):
        fields = (
            record.id,
            record.label or "",
            record.patient,
            sources[record.id],
            record.view,
            record.sex,
            record.split or "",
            hashes[record.id][0],
            *map(str, record.truth),
        )
        digest.update("\x1f".join(fields).encode("utf-8", "surrogateescape") + b"\x1e")
    return digest.hexdigest()
