"""What a finished run was made with, found again: the key of its pseudonyms, its manifest, its model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from audit.data.plan import Plan
from audit.data.pseudonyms import FILE_VARIABLE, KEY_VARIABLE, PLAIN, Pseudonyms, find_pseudonyms
from audit.data.reading import read_records
from audit.data.records import Record
from audit.errors import AuditError, ModelError, StoreError, UsageError
from audit.models.bundle import Bundle, find_bundle
from audit.models.opening import open_model
from audit.run.cohorts import given_manifest, known_manifest
from audit.run.requested import requested_model, requested_product
from audit.run.settings import Settings

_NAME_IT = " Use --data MANIFEST."
"""What to do about an unknown manifest, which some reasons say already."""


class OtherKeyError(StoreError):
    """The key of a run's pseudonyms is not at hand."""


class UnknownManifestError(UsageError):
    """Neither the settings nor the model of a run name its manifest."""


@dataclass(frozen=True, kw_only=True)
class ReadManifest:
    """The manifest of a finished run, read again."""

    path: Path
    """Where it is."""
    records: Sequence[Record]
    """Its records, also those that the run did not audit; named as in the run."""
    names: Pseudonyms
    """The key that the names were made with."""


def names_of(path: Path, plan: Plan) -> Pseudonyms:
    """Return the key that a run's names were made with: its files name images by nothing else.

    Raises
    ------
    OtherKeyError
        If it is not the key in use.
    """
    fingerprint = plan.privacy.key
    if fingerprint is None:
        return PLAIN
    names = find_pseudonyms()
    if names is None or names.fingerprint != fingerprint:
        here = "no key was found" if names is None else f"the key in use is {names.fingerprint}"
        raise OtherKeyError(
            f"The pseudonyms in {path} were made with the key {fingerprint}, but {here}, so its images cannot be matched with the "
            f"manifest. Set {KEY_VARIABLE} to that key, or {FILE_VARIABLE} to its file."
        )
    return names


def manifest_of(path: Path, plan: Plan, settings: Settings) -> ReadManifest:
    """Read the manifest of a run: the settings', else that of the model's training. No image is read.

    Raises
    ------
    OtherKeyError
        If the key in use is not that of the run.
    UnknownManifestError
        If no manifest is known.
    AuditError
        If it cannot be read.
    """
    names = names_of(path, plan)
    known = given_manifest(settings)
    if known is None:
        try:
            known = known_manifest(open_again(path, plan, settings), settings)
        except (ModelError, UsageError) as error:
            reason = str(error).removesuffix(_NAME_IT)
            raise UnknownManifestError(f"The manifest of the run is unknown. {reason}{_NAME_IT}") from error
    manifest, ignored, options = known
    records, _ = read_records(
        manifest,
        how=options,
        classes=plan.model.classes,
        names=names,
        multi_label=plan.model.task == "multi-label",
        ignored=ignored,
    )
    return ReadManifest(path=manifest, records=records, names=names)


def model_of(path: Path, plan: Plan, settings: Settings, live: object = None) -> Bundle:
    """Open the model of a run, and make sure that it is that.

    Parameters
    ----------
    path, plan, settings, live
        As for `open_again`.

    Raises
    ------
    ModelError, UsageError
        If it is not found, or another one.
    """
    bundle = open_again(path, plan, settings, live)
    if bundle.digest != plan.model.digest:
        raise ModelError(
            f"The model {bundle.name} is not the one of the run: its digest is {bundle.digest[:12]}, that of the run "
            f"{plan.model.digest[:12]}. Use --model with the model of the run."
        )
    return bundle


def open_again(path: Path, plan: Plan, settings: Settings, live: object = None) -> Bundle:
    """Open the model that is meant to be that of a run; whether it is, the caller decides.

    Parameters
    ----------
    path : Path
        The run.
    plan : Plan
        Its plan.
    settings : Settings
        Which model. If they name none, the run's is a bundle of its name: in the folder of bundles, or in the one beside the folder of
        runs, as the demo leaves it.
    live : object, optional
        The classifier itself, where Python code hands it over.

    Raises
    ------
    ModelError, UsageError
        If it is not found, or cannot be used.
    """
    named = structs.replace(settings, model=settings.model or plan.model.name)
    if (product := requested_product(named)) is not None:
        return open_model(product)
    if settings.model or live is not None:
        return open_model(requested_model(settings, live))
    return _bundle(path, plan, settings)


def _bundle(path: Path, plan: Plan, settings: Settings) -> Bundle:
    """Return the bundle of a run by its name: the run's own where several are called so.

    A run may come from anybody, so its plan's name leads to bundles alone, never to code.
    """
    opened: list[Bundle] = []
    failed: list[AuditError] = []
    for folder in (Path(settings.models), path.resolve().parent.parent / "models"):
        try:
            found = find_bundle(plan.model.name, folder)
            opened.append(open_model(requested_model(structs.replace(settings, model=str(found)))))
        except (ModelError, UsageError) as error:
            failed.append(error)
            continue
        if opened[-1].digest == plan.model.digest:
            return opened[-1]
    if not opened:
        raise failed[0]
    return opened[0]
