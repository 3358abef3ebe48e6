"""Which records an audit looks at: the test split, and never unknowingly the training data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit.config import Settings
from audit.errors import CohortError, UsageError
from audit.manifests import check_on_bad_image, load_cohort
from audit.models.bundle import Bundle
from audit.records import Cohort, Record


def audited_cohort(
    bundle: Bundle, settings: Settings, *, before_images: Callable[[Sequence[Record]], None] | None = None
) -> tuple[Cohort, str]:
    """Load the labelled records to audit.

    Without a manifest, the one that the bundle was trained on is read again. Its test split is told by
    the manifest's own column, else by the bundle; where neither knows, every labelled record is audited.

    Parameters
    ----------
    bundle : Bundle
        Whose test images are meant.
    settings : Settings
        Manifest and split.
    before_images : callable, optional
        Given the records before the first image is read; refuses them by raising.

    Returns
    -------
    tuple of (Cohort, str)
        Records sorted by id, all labelled; and how the split was chosen, in words.

    Raises
    ------
    CohortError
        If nothing is left to audit.
    UsageError
        If no manifest is known.
    """
    manifest, ignored = _manifest(bundle, settings)

    def check(records: Sequence[Record]) -> None:
        if settings.split not in ("auto", "all") and not bundle.splits and all(r.split is None for r in records):
            raise _no_split(settings.split)
        if before_images is not None:
            before_images(records)

    cohort = load_cohort(
        manifest,
        classes=bundle.classes,
        ignore_labels=ignored,
        on_bad_image=check_on_bad_image(settings.on_bad_image),
        before_images=check,
    )
    chosen, how, n_seen = _choose(cohort, bundle, settings)
    if not chosen:
        raise CohortError(
            f"No labelled record of {manifest} belongs to the split asked for ({how}). Give --split all, or correct the manifest."
        )
    left_out = dict(cohort.left_out)
    kept = tuple(sorted((r for r in cohort.records if r.id in chosen), key=lambda r: r.id))
    absent = [name for name in bundle.classes if all(r.label != name for r in kept)]
    notes = [f"No image of class {', '.join(absent)}: nothing can be concluded about it."] if absent else []
    return replace(cohort, records=kept, left_out=left_out, n_seen=n_seen, notes=(*cohort.notes, *notes)), how


def out_of_reach(cohort: Cohort, needs: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Say which conditions this cohort cannot be put under at all, and what it lacks for them.

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
        "several sources": len({r.source for r in cohort.records}) > 1,
        "lung masks": any(r.lung_mask is not None for r in cohort.records),
    }
    lacking = {name: [need for need in wanted if not has[need]] for name, wanted in needs.items()}
    return {name: " and ".join(what) for name, what in lacking.items() if what}


def _manifest(bundle: Bundle, settings: Settings) -> tuple[Path, tuple[str, ...]]:
    if settings.data:
        return Path(settings.data), settings.ignore_label
    recorded = bundle.provenance.get("manifest")
    if not isinstance(recorded, str) or not recorded:
        raise UsageError(f"Bundle {bundle.folder} does not say what it was trained on. Give --data MANIFEST.")
    ignored = settings.ignore_label or tuple(bundle.provenance.get("ignore_labels", ()))
    return bundle.folder / recorded, ignored


def _choose(cohort: Cohort, bundle: Bundle, settings: Settings) -> tuple[set[str], str, int]:
    """Return the ids to audit, how they were chosen, and how many of them trained the model."""
    labelled = cohort.labelled()
    own_data = bool(bundle.splits) and bundle.provenance.get("cohort_hash") == cohort.content_hash
    known: Mapping[str, Any] = {r.id: r.split for r in labelled if r.split is not None}
    where = "the manifest's split column"
    if not known and own_data:
        known, where = bundle.splits, "the split that the bundle was trained with"
    wanted = settings.split
    if wanted == "auto":
        wanted = "test" if any(known.get(r.id) == "test" for r in labelled) else "all"
    if wanted == "all":
        return (
            {r.id for r in labelled},
            "every labelled record",
            _seen_in_training(cohort, bundle, labelled, own=own_data),
        )
    if not known:
        raise _no_split(wanted)
    chosen = [r for r in labelled if known.get(r.id) == wanted]
    # The split asked for is taken at its word, whatever the bundle says of it.
    seen = len(chosen) if wanted in ("train", "validation") else _seen_in_training(cohort, bundle, chosen, own=own_data)
    return {r.id for r in chosen}, f"{wanted}, by {where}", seen


def _no_split(wanted: str) -> UsageError:
    return UsageError(
        f"The split {wanted!r} was asked for, but neither the manifest nor the bundle knows splits. Give --split all."
    )


def _seen_in_training(cohort: Cohort, bundle: Bundle, chosen: Sequence[Record], *, own: bool) -> int:
    """Count how many of the chosen images trained the model: by their pixels, or by name where only its own data are known."""
    by_pixels = [r for r in chosen if bundle.seen.get(cohort.pixels[r.id]) in ("train", "validation")]
    by_name = [r for r in chosen if own and not bundle.seen and bundle.splits.get(r.id) in ("train", "validation")]
    return len(by_pixels) or len(by_name)
