"""The first half of the audit of a product that cannot be loaded: its images are written, with a table for its answers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from audit.data.plan import Plan
from audit.data.reading import TableReading
from audit.data.records import Cohort
from audit.errors import UsageError
from audit.files import write_atomically
from audit.models.bundle import Bundle
from audit.prediction.engine import emit_all, n_parts
from audit.prediction.experiment import Experiment
from audit.prediction.variants import cohort_context
from audit.run.answers import check_emission, decided_by
from audit.run.engine_choice import settle_engine, text_engine
from audit.run.objects import prepare_objects, sample_size
from audit.run.preparation import prepare
from audit.run.settings import Settings
from audit.run.texts import find_text
from audit.store.emission import IMAGES, Emission, EmissionFolder
from audit.store.folder import RunFolder

OnStage = Callable[[str, int], Callable[[], None]]
"""Called with a stage's name and its number of steps; returns what to call after each step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Emitted:
    """What was written."""

    folder: EmissionFolder
    """Where."""
    emission: Emission
    """What decided it, and how many images there are."""
    n_conditions: int
    """Conditions, unedited images included."""
    is_new: bool
    """Whether anything was left to write."""


def emit_images(
    settings: Settings,
    *,
    on_stage: OnStage,
    on_table: Callable[[TableReading], None] | None = None,
    on_model: Callable[[Bundle], None] | None = None,
    on_cohort: Callable[[Cohort, Bundle], None] | None = None,
) -> Emitted:
    """Write every image that a loaded network would be asked about, and a table for the answers; an interrupted start is continued.

    No condition depends on a model's answers: the search for objects looks at images and labels alone. So one emission is enough.

    Parameters
    ----------
    settings : Settings
        What to audit, and how; `emit` is the folder.
    on_stage : callable
        Called for every stage, and for every step in it.
    on_table : callable, optional
        Told what was read from which column of the manifest.
    on_model : callable, optional
        Told of the product.
    on_cohort : callable, optional
        Told of the audited images once all were read.

    Raises
    ------
    AuditError
        If a step cannot be done; what was written before stays in the folder.
    """
    folder = EmissionFolder(Path(settings.emit))
    earlier = folder.read()
    if earlier is None and folder.is_foreign():
        raise UsageError(
            f"{folder.path} is not empty, or not a folder, and holds no images of --emit. Choose a new folder."
        )
    checked = on_stage("checking data", 1)
    settings = settle_engine(settings)
    prepared = prepare(
        settings,
        judge_gates=False,
        writes_to=(folder.path, Path(settings.cache)),
        on_table=on_table,
        on_model=on_model,
        on_cohort=on_cohort,
    )
    checked()
    suspects = None
    if prepared.suite.objects:
        step = on_stage("searching for objects", sample_size(prepared, settings.seed))
        prepared, proposed = prepare_objects(prepared, settings, judge_gates=False, on_image=step)
        suspects = proposed.suspects
    plan, n_conditions = prepared.plan, len(prepared.suite.conditions)
    if earlier is not None:
        check_emission(folder, earlier, plan, "Choose another folder.")
        if earlier.form != settings.emit_as:
            raise UsageError(
                f"{folder.path} was begun with --emit-as {earlier.form}, but --emit-as {settings.emit_as} was given. Choose another folder."
            )
    step = on_stage("finding text", len(prepared.cohort.records))
    found, records = find_text(prepared, settings, step)
    emission = _begun(settings, plan, len(records))
    if earlier is None:
        folder.write(emission)
    experiment = Experiment(
        run=RunFolder(folder.path),
        bundle=prepared.bundle,
        suite=prepared.suite,
        records=records,
        context=cohort_context(records, found.regions, settings.seed, suspects),
        seed=settings.seed,
    )
    step = on_stage("writing images", len(records))
    is_new = emit_all(experiment, settings.emit_as, step, engine=text_engine(prepared, settings))
    names = sorted({image.file for part in folder.parts(emission) for record in part.records for image in record})
    if not folder.answers.exists():  # one that is there may hold answers
        write_atomically(folder.answers, _table(names, plan.model.classes))
    emission = structs.replace(emission, n_images=len(names))
    if emission != earlier:
        folder.write(emission)
    return Emitted(folder=folder, emission=emission, n_conditions=n_conditions, is_new=is_new)


def _begun(settings: Settings, plan: Plan, n_records: int) -> Emission:
    return Emission(
        form=settings.emit_as,
        classes=plan.model.classes,
        decided_by=decided_by(plan),
        n_records=n_records,
        n_parts=n_parts(n_records),
        n_images=0,
    )


def _table(names: list[str], classes: tuple[str, ...]) -> bytes:
    """Return the table for the answers; the order of its rows follows from pixels alone, and says nothing of edits, classes or patients."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *classes])
    writer.writerows([f"{IMAGES}/{name}", *[""] * len(classes)] for name in names)
    return text.getvalue().encode()
