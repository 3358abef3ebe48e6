"""What a finished run was made with, found again: the key of its pseudonyms, its manifest, its model."""

from __future__ import annotations

from pathlib import Path

from audit.data.plan import Plan
from audit.data.pseudonyms import FILE_VARIABLE, KEY_VARIABLE, PLAIN, Pseudonyms, find_pseudonyms
from audit.data.reading import TableOptions
from audit.errors import ModelError, StoreError, UsageError
from audit.models.bundle import Bundle, find_bundle, load_bundle
from audit.models.opening import open_model
from audit.run.cohorts import known_manifest
from audit.run.requested import requested_model
from audit.run.settings import Settings


def names_of(path: Path, plan: Plan) -> Pseudonyms:
    """Return the key that a run's names were made with; without it none of them can be resolved.

    Raises
    ------
    StoreError
        If it is not the key in use.
    """
    fingerprint = plan.privacy.key
    if fingerprint is None:
        return PLAIN
    names = find_pseudonyms()
    if names is None or names.fingerprint != fingerprint:
        here = "no key was found" if names is None else f"the key in use is {names.fingerprint}"
        raise StoreError(
            f"The pseudonyms in {path} were made with the key {fingerprint}, but {here}. Without the first key they cannot be resolved. "
            f"Set {KEY_VARIABLE} to that key, or {FILE_VARIABLE} to its file."
        )
    return names


def manifest_of(path: Path, plan: Plan, settings: Settings) -> tuple[Path, tuple[str, ...], TableOptions]:
    """Return the manifest of a run, its labels to ignore, and how to read it: the settings', else that of the model's training.

    Raises
    ------
    UsageError
        If none is known.
    """
    if settings.data:
        options = TableOptions(columns=settings.columns, layout=settings.layout)
        return Path(settings.data), settings.ignore_label, options
    try:
        return known_manifest(_bundle(path, plan, settings), settings)
    except (ModelError, UsageError) as error:
        raise UsageError(f"The manifest of the run is unknown. Use --data MANIFEST. ({error})") from error


def model_of(path: Path, plan: Plan, settings: Settings, live: object = None) -> Bundle:
    """Open the model of a run.

    Parameters
    ----------
    path : Path
        The run.
    plan : Plan
        Its plan.
    settings : Settings
        Where the model is; the folder of bundles where it is not named.
    live : object, optional
        The classifier itself, where Python code hands it over.

    Raises
    ------
    ModelError, UsageError
        If it is not found, or another one.
    """
    named = settings.model or live is not None
    bundle = open_model(requested_model(settings, live)) if named else _bundle(path, plan, settings)
    if bundle.digest != plan.model.digest:
        raise ModelError(
            f"The model {bundle.name} is not the one of the run: its digest is {bundle.digest[:12]}, that of the run "
            f"{plan.model.digest[:12]}. Use --model with the model of the run."
        )
    return bundle


def _bundle(path: Path, plan: Plan, settings: Settings) -> Bundle:
    """Return the bundle of a run, from the folder of bundles, or from the one beside the folder of runs, as the demo leaves it."""
    beside = path.resolve().parent.parent / "models"
    named = settings.model or plan.model.name
    folders = [Path(settings.models), *([] if settings.model else [beside])]
    for folder in folders[:-1]:
        try:
            return load_bundle(find_bundle(named, folder))
        except (ModelError, UsageError):
            continue
    return load_bundle(find_bundle(named, folders[-1]))
