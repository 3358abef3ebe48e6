"""Which split of a cohort is audited, how it is known, and how many of its images trained the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from audit.data.records import SPLIT_TOLD_BY, AuditedSplit, Cohort, Record, SplitTeller
from audit.errors import UsageError
from audit.models.bundle import Bundle
from audit.run.settings import Settings

LEARNT: tuple[Literal["train", "validation"], ...] = ("train", "validation")
"""Splits that a network has learnt from."""


def choose_split(cohort: Cohort, bundle: Bundle, settings: Settings) -> tuple[set[str], AuditedSplit, int, list[str]]:
    """Return the ids to audit, how they were chosen, how many of them were used for training, and further notes."""
    labelled = cohort.labelled()
    known = known_splits(cohort, bundle, labelled)
    notes: list[str] = []
    wanted = settings.split
    if known.doubt and wanted != "all":
        raise UsageError(known.doubt)
    if wanted == "auto" and known.by_pixels:
        # New images are as suitable as those of the test split; training images are not.
        left = [r for r in labelled if known.splits.get(r.id) not in LEARNT]
        name = "all" if len(left) == len(labelled) else "unlearnt"
        return {r.id for r in left}, AuditedSplit(name=name, told_by=known.told_by), 0, []
    if wanted == "auto":
        wanted = "test" if "test" in known.splits.values() else "all"
        if wanted == "all" and known.splits:
            notes.append(
                f"No labelled image is in the test split according to {SPLIT_TOLD_BY[known.told_by]}, so every labelled image was audited."
            )
    if known.by_name:
        notes.append(
            "The network's training images were recognised by their names only, because the bundle does not contain their pixel hashes."
        )
    if wanted == "all":
        return (
            {r.id for r in labelled},
            AuditedSplit(name="all", told_by=known.told_by),
            _seen_in_training(cohort, bundle, labelled, known),
            notes,
        )
    if not known.splits:
        raise no_split(wanted)
    chosen = [r for r in labelled if known.splits.get(r.id) == wanted]
    # A requested split is used as requested, whatever the bundle records.
    seen = len(chosen) if wanted in LEARNT else _seen_in_training(cohort, bundle, chosen, known)
    return {r.id for r in chosen}, AuditedSplit(name=wanted, told_by=known.told_by), seen, notes


class NoSplitError(UsageError):
    """A split was asked for, and nothing states which images are in it."""


def no_split(wanted: str) -> NoSplitError:
    """Return the error that says that a split cannot be told."""
    return NoSplitError(
        f"The split {wanted!r} was requested, but neither the manifest nor the bundle has splits. Use --split all."
    )


@dataclass(frozen=True, kw_only=True)
class KnownSplits:
    """What is known about the splits of the labelled records."""

    splits: Mapping[str, str]
    """Record id -> split, of those whose split is known."""
    told_by: SplitTeller = "nobody"
    """Where this knowledge comes from."""
    own: bool = False
    """Whether the cohort is the one that the bundle was trained on."""
    by_pixels: bool = False
    """Whether images were recognised one by one."""
    by_name: bool = False
    """Whether images were recognised by their names alone."""
    doubt: str = ""
    """Why no split can be trusted although the bundle contains one; empty otherwise."""


def known_splits(cohort: Cohort, bundle: Bundle, labelled: Sequence[Record]) -> KnownSplits:
    """Return the manifest's splits, otherwise the bundle's: for its own data, by pixels, or by names if all of them match."""
    column = {r.id: r.split for r in labelled if r.split is not None}
    own = bool(bundle.splits) and bundle.origin.cohort_hash == cohort.content_hash
    if column:
        return KnownSplits(splits=column, told_by="manifest", own=own)
    if own:
        return KnownSplits(splits=bundle.splits, told_by="bundle", own=True)
    if bundle.seen:
        recognised = {r.id: bundle.seen[cohort.pixels[r.id]] for r in labelled if cohort.pixels[r.id] in bundle.seen}
        if recognised:
            return KnownSplits(splits=recognised, told_by="pixels", by_pixels=True)
        return KnownSplits(splits={})
    named = {r.id: bundle.splits[r.id] for r in labelled if r.id in bundle.splits}
    if len(named) == len(labelled) and named and bundle.origin.cohort_hash is None:
        return KnownSplits(splits=named, told_by="names", by_name=True)
    doubt = (
        f"{len(named)} of {len(labelled)} images have names that occur in the splits of bundle {bundle.name}, but the bundle has "
        "neither their pixels nor the hash of this data, so it is unknown whether it was trained on them. Use --split all to "
        "audit every image, or add a split column to the manifest."
    )
    return KnownSplits(splits=named, told_by="names", by_name=True, doubt=doubt) if named else KnownSplits(splits={})


def _seen_in_training(cohort: Cohort, bundle: Bundle, chosen: Sequence[Record], known: KnownSplits) -> int:
    """Count how many of the chosen images were used for training: by their pixels, or by name if the bundle has only names."""
    by_pixels = [r for r in chosen if bundle.seen.get(cohort.pixels[r.id]) in LEARNT]
    believed = not bundle.seen and (known.own or known.by_name)
    by_name = [r for r in chosen if believed and bundle.splits.get(r.id) in LEARNT]
    return len(by_pixels) or len(by_name)
