"""Which records are audited: the test split, and never unknowingly the training data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from audit.data.findings import truth_notes
from audit.data.input_words import greyed_in_words
from audit.data.layouts.guess import AUTO
from audit.data.manifests import load_cohort
from audit.data.pseudonyms import PLAIN, Pseudonyms
from audit.data.reading import TableOptions, TableReading
from audit.data.records import AuditedSplit, Cohort, Record
from audit.data.sampling import sample_records
from audit.errors import CohortError, UsageError, shown_names, shown_string
from audit.models.bundle import Bundle
from audit.models.foreign import shown
from audit.perturbations.donors import has_look_donors
from audit.remote.addresses import is_address, path_of
from audit.run.chosen_split import LEARNT, choose_split, known_splits, no_split
from audit.run.settings import Settings


def audited_cohort(
    bundle: Bundle,
    settings: Settings,
    names: Pseudonyms = PLAIN,
    *,
    before_images: Callable[[Sequence[Record]], None] | None = None,
    on_table: Callable[[TableReading], None] | None = None,
    multi_label: bool = False,
) -> tuple[Cohort, AuditedSplit]:
    """Load the labelled records to audit.

    Without a manifest, the one that the bundle was trained on is read again. The test split is taken from the manifest's
    column, otherwise from the bundle; images that the bundle recognises by their pixels as training images are left out; if
    neither defines a split, every labelled record is audited.

    Parameters
    ----------
    bundle : Bundle
        Whose test images are meant.
    settings : Settings
        Manifest and split.
    names : Pseudonyms
        Pseudonyms of images and patients in the files of the run.
    before_images : callable, optional
        Called with the records before the first image is read; raises to reject them.
    on_table : callable, optional
        Told what was read from which column.
    multi_label : bool
        Whether any number of the network's outputs applies to an image.

    Returns
    -------
    tuple of (Cohort, AuditedSplit)
        Labelled records in an order that depends only on their pixels, and how the split was chosen.

    Raises
    ------
    CohortError
        If nothing is left to audit.
    UsageError
        If no manifest is known.
    """
    manifest, ignored, options = known_manifest(bundle, settings)

    def check(records: Sequence[Record]) -> None:
        if settings.split not in ("auto", "all") and not bundle.splits and all(r.split is None for r in records):
            raise no_split(settings.split)
        if before_images is not None:
            before_images(records)

    sampled_from: list[int] = []

    def sample(records: Sequence[Record]) -> Collection[str]:
        pool = _sampled_pool(records, bundle, settings)
        drawn = sample_records(pool, settings.max_images, settings.seed)
        if len(drawn) < len(pool):
            sampled_from.append(len(pool))
        return drawn

    cohort = load_cohort(
        manifest,
        classes=bundle.classes,
        ignore_labels=ignored,
        on_bad_image=settings.on_bad_image,
        before_images=check,
        sample=sample if settings.max_images else None,
        names=names,
        how=options,
        withhold=not settings.plain_ids,
        on_table=on_table,
        multi_label=multi_label,
        colour=bundle.preprocessing.colour != "grey",
    )
    chosen, how, n_seen, notes = choose_split(cohort, bundle, settings)
    if not chosen:
        raise CohortError(
            f"No labelled record of {manifest} is left to audit ({how.words}). Use --split all, or correct the manifest."
        )
    left_out = dict(cohort.left_out)
    # Not by id: anyone who can list the ids could identify an image from its position in the run's files.
    kept = tuple(sorted((r for r in cohort.records if r.id in chosen), key=lambda r: (cohort.pixels[r.id], r.id)))
    # Where all are grey, three equal channels give the same results at a third of the cost.
    if not any(r.id in cohort.coloured for r in kept):
        kept = tuple(replace(r, colour=False) for r in kept)
    audited = replace(cohort, records=kept)
    absent = [] if multi_label else [name for name in bundle.classes if all(r.label != name for r in kept)]
    if multi_label:
        notes += truth_notes([r.truth for r in kept], bundle.classes)
    if audited.n_greyed:
        notes.append(greyed_in_words(audited.n_greyed))
    if absent:
        notes.append(f"No image of class {shown_names(absent)}: nothing can be concluded about it.")
    if sampled_from:
        audited = replace(audited, sampled_from=sampled_from[0])
    return replace(audited, left_out=left_out, n_seen=n_seen, notes=(*cohort.notes, *notes)), how


def _sampled_pool(records: Sequence[Record], bundle: Bundle, settings: Settings) -> list[Record]:
    """Return the labelled records that a sample is drawn from: those of the split that will be audited, as far as names tell it.

    What only pixels tell is not known before images are read: training images among the sample are left out later, as always.
    """
    labelled = [r for r in records if r.label is not None]
    if settings.split == "all":
        return labelled
    splits = {r.id: r.split or bundle.splits.get(r.id) for r in labelled}
    if settings.split != "auto":
        return [r for r in labelled if splits[r.id] == settings.split]
    tested = [r for r in labelled if splits[r.id] == "test"]
    # Images that the bundle recognises are left out one by one.
    fresh = [r for r in labelled if splits[r.id] not in LEARNT] if bundle.seen else labelled
    return tested or fresh or labelled


def learnt_cohort(
    bundle: Bundle,
    settings: Settings,
    *,
    on_table: Callable[[TableReading], None] | None = None,
    multi_label: bool = False,
) -> tuple[Cohort, dict[str, Literal["train", "validation"]]]:
    """Load the labelled records that a network was trained and validated on; none of the test split is among them.

    Parameters
    ----------
    bundle : Bundle
        Whose images are meant.
    settings : Settings
        Manifest.
    on_table : callable, optional
        Told what was read from which column.
    multi_label : bool
        Whether any number of the network's outputs applies to an image.

    Returns
    -------
    tuple of (Cohort, dict)
        Labelled records in an order that depends only on their pixels, and record id -> its split.

    Raises
    ------
    CohortError
        If nothing states which images these are, or none of them is labelled.
    UsageError
        If no manifest is known, or its splits are in doubt.
    """
    manifest, ignored, options = known_manifest(bundle, settings)
    cohort = load_cohort(
        manifest,
        classes=bundle.classes,
        ignore_labels=ignored,
        on_bad_image=settings.on_bad_image,
        how=options,
        on_table=on_table,
        multi_label=multi_label,
        colour=bundle.preprocessing.colour != "grey",
    )
    known = known_splits(cohort, bundle, cohort.labelled())
    if known.doubt:
        raise UsageError(known.doubt)
    splits = {r.id: split for r in cohort.labelled() for split in LEARNT if known.splits.get(r.id) == split}
    if "train" not in splits.values():
        raise CohortError(
            f"No image of {manifest} is known to be a training image of {bundle.name}: neither the manifest nor the bundle has splits that "
            "say so. Name a manifest of the training data with --data, with a column split (train, validation, test)."
        )
    # Patients who are tested teach nothing, whatever other images of theirs are called.
    tested = {r.patient for r in cohort.records if known.splits.get(r.id) == "test"}
    kept = tuple(
        sorted(
            (r for r in cohort.records if r.id in splits and r.patient not in tested),
            key=lambda r: (cohort.pixels[r.id], r.id),
        )
    )
    if not any(r.id in cohort.coloured for r in kept):
        kept = tuple(replace(r, colour=False) for r in kept)
    return replace(cohort, records=kept), {r.id: splits[r.id] for r in kept}


def out_of_reach(cohort: Cohort, needs: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the conditions that cannot be applied to this cohort at all, and what it lacks for them.

    Parameters
    ----------
    cohort : Cohort
        The audited records.
    needs : mapping
        Condition -> what it needs of a cohort (`audit.perturbations.base.NEEDS`).

    Returns
    -------
    dict
        Condition -> what is lacking.
    """
    has = {
        "class with several sources": has_look_donors(cohort.records),
        "lung masks": any(r.lung_mask is not None for r in cohort.records),
    }
    lacking = {name: [need for need in wanted if not has[need]] for name, wanted in needs.items()}
    return {name: " and ".join(what) for name, what in lacking.items() if what}


def known_manifest(bundle: Bundle, settings: Settings) -> tuple[Path, tuple[str, ...], TableOptions]:
    """Return the manifest that is meant, its labels to ignore, and how to read it.

    They are the settings', else those of the training of the bundle.

    Raises
    ------
    UsageError
        If neither names one, or the bundle names one that lies neither in its folder nor below the working folder.
    """
    if (given := given_manifest(settings)) is not None:
        return given
    recorded = bundle.origin.manifest
    if not recorded or bundle.folder is None:
        raise UsageError(f"{bundle.where} does not state what it was trained on. Use --data MANIFEST.")
    manifest = bundle.folder / recorded
    # A bundle may come from anybody, and could name any file of this machine.
    near = (bundle.folder.resolve(), Path.cwd())
    if not any(manifest.resolve().is_relative_to(folder) for folder in near):
        raise UsageError(
            f"Bundle {bundle.folder} names the manifest {shown(recorded)}, which lies neither in the bundle's folder nor below the "
            "working folder. If these are the data that you mean, confirm them with --data MANIFEST."
        )
    ignored = settings.ignore_label or bundle.origin.ignore_labels
    columns = dict(settings.columns or bundle.origin.columns)
    layout = settings.layout if settings.layout != AUTO else bundle.origin.layout
    return manifest, ignored, TableOptions(columns=columns, layout=layout, remote=settings.remote)


def given_manifest(settings: Settings) -> tuple[Path, tuple[str, ...], TableOptions] | None:
    """Return the manifest that the settings name, its labels to ignore, and how to read it; None if they name none."""
    if not settings.data:
        return None
    options = TableOptions(columns=settings.columns, layout=settings.layout, remote=settings.remote)
    return _manifest_path(settings.data), settings.ignore_label, options


def _manifest_path(text: str) -> Path:
    if not is_address(text):
        return Path(text)
    try:
        return path_of(text)
    except ValueError as error:
        raise UsageError(f"--data {shown_string(text, 200)} cannot be read: {error}.") from error
