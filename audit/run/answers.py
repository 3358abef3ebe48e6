"""Whether a product's answers are complete: held against the emission that they belong to, before anything is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from audit.data.plan import Plan
from audit.errors import ModelError, UsageError, shown_names
from audit.files import file_sha256
from audit.models.answered import KEY_DIGITS, AnswerTable
from audit.models.recorded import RecordedClassifier
from audit.prediction.emission import shows
from audit.run.preparation import Preparation
from audit.run.settings import Settings
from audit.store.emission import IMAGES, Emission, EmissionFolder
from audit.store.numbers import counted
from audit.store.serialise import plain, to_json

_NAMED = 3
"""Missing or changed files that a message names."""


def decided_by(plan: Plan) -> dict[str, str]:
    """Return what decides the images of an audit, in words, with a hash of each."""
    parts: dict[str, Any] = {
        "the images of --data": [plan.data.content_hash, plan.data.masks_hash],
        "the audited records (labels, --split, --classes)": plan.data.records_hash,
        "the conditions (--suite)": [
            [c.name, c.perturbation, c.perturbation_version, plain(c.parameters), c.draws, c.placebo]
            for c in plan.suite.conditions
        ],
        "the text finder (--detector, --boxes)": plain(plan.detector),
        "the search for objects": plain(plan.objects),
        "the seed (--seed)": plan.seed,
        # Not there for grey, so that emissions of earlier versions stay valid.
        **({"whether images are in colour (--colour)": True} if plan.data.colour else {}),
    }
    return {name: hashlib.sha256(to_json(value).encode()).hexdigest() for name, value in parts.items()}


def check_emission(folder: EmissionFolder, emission: Emission, plan: Plan, remedy: str) -> None:
    """Refuse to go on with the emission of another audit.

    Raises
    ------
    UsageError
        If something that decides the images differs: the message names it.
    """
    now = decided_by(plan)
    other = [what for what in {**now, **emission.decided_by} if emission.decided_by.get(what) != now.get(what)]
    if emission.classes != plan.model.classes:
        other.append(f"the classes ({shown_names(emission.classes)} there)")
    if other:
        raise UsageError(
            f"{folder.path} holds the images of another audit. Changed since it was written: {'; '.join(other)}. {remedy}"
        )


def check_complete(prepared: Preparation, settings: Settings) -> None:
    """Check a table of answers against its emission: the one that `emit` names, or the one in whose folder the table lies.

    Without one nothing is checked here: an image without an answer is met where it is looked up.

    Raises
    ------
    UsageError
        If the emission is that of another audit.
    ModelError
        If it is not complete, answers are missing, or its images were changed since they were written.
    """
    table = Path(settings.predictions)
    folder = EmissionFolder(Path(settings.emit) if settings.emit else table.parent)
    emission = folder.read()
    if emission is None:
        if settings.emit:
            raise UsageError(
                f"{folder.path} holds no images of --emit. Omit --emit, or name the folder that they were written to."
            )
        return
    check_emission(
        folder, emission, prepared.plan, "Restore what has changed, or emit the images again into another folder."
    )
    if not emission.is_complete:
        raise ModelError(f"Not all images were written to {folder.path}. Repeat the command with --emit to continue.")
    classifier = prepared.bundle.classifier
    answers = classifier.table if isinstance(classifier, RecordedClassifier) else None
    if answers is not None:
        _check_files(folder, emission, answers, table, colour=prepared.plan.data.colour)


def _check_files(
    folder: EmissionFolder, emission: Emission, answers: AnswerTable, table: Path, *, colour: bool
) -> None:
    missing: set[str] = set()
    changed: set[str] = set()
    for part in folder.parts(emission):
        files = {image.file: image.sha256 for record in part.records for image in record}
        places = answers.places([file[:KEY_DIGITS] for file in files])
        missing |= {file for file, place in zip(files, places, strict=True) if place < 0}
        changed |= {file for file, digest in files.items() if _is_changed(folder.image(file), digest, colour=colour)}
    if missing:
        foreign = (
            f" {counted(answers.n_foreign, 'row names', 'rows name')} no image of an emission."
            if answers.n_foreign
            else ""
        )
        raise ModelError(
            f"{table} lacks the answers to {len(missing):,} of {emission.n_images:,} images: {_named(missing)}.{foreign} Fill in the rows "
            "that have none, and repeat the command."
        )
    if changed:
        raise ModelError(
            f"{counted(len(changed), 'image')} in {folder.path / IMAGES} {'was' if len(changed) == 1 else 'were'} changed since --emit: "
            f"{_named(changed)}. The answers may belong to other pixels. Delete the changed files, repeat the command with --emit, and ask "
            "the product again."
        )


def _is_changed(path: Path, digest: str, *, colour: bool) -> bool:
    """Say whether a file shows other pixels than those that it was written with; one that was moved away since does not."""
    if not path.is_file() or file_sha256(path) == digest:
        return False
    return not shows(path, colour=colour)


def _named(files: Collection[str]) -> str:
    shown = ", ".join(sorted(files)[:_NAMED])
    return f"{shown} and {len(files) - _NAMED:,} more" if len(files) > _NAMED else shown
