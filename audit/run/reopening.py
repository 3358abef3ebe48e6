"""A finished run with its network and its images again: what was stored is taken from the run, and held against what is found now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from msgspec import structs

from audit.data.plan import Plan
from audit.data.records import Cohort, Record
from audit.errors import StoreError, UsageError
from audit.models.backends import BackendChoice, with_backend
from audit.models.bundle import Bundle
from audit.models.devices import device_of, find_device, on_device
from audit.perturbations.suspects import Suspects
from audit.prediction.covering import Disclosure
from audit.prediction.experiment import Experiment, planned_experiment
from audit.prediction.table import planned_suite
from audit.prediction.variants import cohort_context
from audit.run.chosen_split import NoSplitError
from audit.run.cohorts import audited_cohort
from audit.run.edit_inputs import other_names, same_perturbation, stored_suspects, stored_text
from audit.run.plan import records_hash
from audit.run.preparation import probe_images
from audit.run.run_inputs import names_of, open_again
from audit.run.settings import Settings
from audit.store.folder import RunFolder, check_run
from audit.store.run_record import RunRecord


@dataclass(frozen=True, kw_only=True)
class ReopenedRun:
    """A finished run, ready to be computed again."""

    plan: Plan
    """The content of `plan.json`."""
    record: RunRecord
    """The content of `run.json`."""
    experiment: Experiment
    """The network, the conditions and the images; edits use the text regions and objects that the run stored."""
    disclosure: Disclosure
    """Text regions as stored, and those that pictures and kept maps do not show."""


def reopen_run(path: Path, settings: Settings) -> ReopenedRun:
    """Open the network and read the images of a finished run, and make sure that they are those of the run.

    Parameters
    ----------
    path : Path
        The run folder.
    settings : Settings
        Where model and manifest are, and what a manifest or model does not state itself. What the plan states is not taken from them.

    Raises
    ------
    StoreError
        If the run was changed, or model, images or key are not those of the run.
    AuditError
        If model or manifest cannot be read.
    """
    check_run(path)
    run = RunFolder(path)
    plan, record = run.read(Plan), run.read(RunRecord)
    names = names_of(path, plan)
    try:
        bundle = open_again(path, plan, settings)
        cohort, _ = audited_cohort(bundle, _asked(plan, settings), names, multi_label=plan.model.task == "multi-label")
    except NoSplitError as error:
        raise StoreError(
            f"The run {path} cannot be computed again: it audited a split ({plan.data.split}) that the given manifest does not have. "
            f"{_how(record)}"
        ) from error
    except UsageError as error:
        raise StoreError(f"The run {path} cannot be computed again: {error} {_how(record)}") from error
    _check_same(path, plan, record, bundle, cohort)
    suite = planned_suite(plan)
    for condition in suite.conditions[1:]:
        same_perturbation(path, condition)
    bundle = _on_machine(plan, settings, bundle, cohort)
    records = _stored_records(path, run, cohort)
    disclosure = stored_text(run, plan, records)
    suspects = stored_suspects(run, plan, records, lambda record: cohort.pixels[record.id])
    _check_suspects(path, plan, suspects)
    context = cohort_context(records, disclosure.text, plan.seed, suspects)
    experiment = planned_experiment(plan, run, bundle, suite, records, context)
    return ReopenedRun(plan=plan, record=record, experiment=experiment, disclosure=disclosure)


def _asked(plan: Plan, settings: Settings) -> Settings:
    """Return the settings that choose the images of the run's manifest as the run did."""
    # A sample was drawn before images told which of them the network has learnt; all of it may be left.
    undecided = ("unlearnt", "all") if plan.data.max_images else ("unlearnt",)
    split = "auto" if plan.data.split_name in undecided else plan.data.split_name
    return structs.replace(
        settings,
        split=split,
        seed=plan.seed,
        max_images=plan.data.max_images,
        plain_ids=plan.privacy.plain_ids,
    )


def _check_same(path: Path, plan: Plan, record: RunRecord, bundle: Bundle, cohort: Cohort) -> None:
    """Refuse another model or other images: a difference would say nothing about the run."""
    found = {
        "another model": (bundle.digest, plan.model.digest),
        "other classes": (bundle.classes, plan.model.classes),
        "other data": (cohort.content_hash, plan.data.content_hash),
        "other lung masks": (cohort.masks_hash, plan.data.masks_hash),
        "other images": (records_hash(cohort), plan.data.records_hash),
    }
    other = [what for what, (now, then) in found.items() if now != then]
    if other:
        raise StoreError(
            f"The run {path} cannot be computed again: the given model and manifest are not those of the run ({', '.join(other)}). "
            f"{_how(record)}"
        )


def _how(record: RunRecord) -> str:
    command = " ".join(record.command)
    return f"Use --model and --data, and the options about model and manifest that the run was made with: `{command}`."


def _on_machine(plan: Plan, settings: Settings, bundle: Bundle, cohort: Cohort) -> Bundle:
    """Return the network on the run's kind of device and back end, where this machine has them and nothing else is asked for."""
    device = settings.device
    if device == "auto" and not bundle.is_recorded:
        try:
            find_device(plan.model.device)
            device = plan.model.device
        except UsageError:
            device = "auto"
    bundle = on_device(bundle, device)
    backend = settings.backend
    if backend == "auto" and plan.model.backend.name != "own":
        backend = plan.model.backend.name if device_of(bundle).type == "cpu" else "torch"
    choice = BackendChoice(
        asked=backend,
        exclusive=plan.model.task != "multi-label",
        n_predictions=len(cohort.records),
        probe=partial(probe_images, bundle, cohort.records),
        cache=Path(settings.cache),
    )
    try:
        return with_backend(bundle, choice)
    except UsageError:
        if settings.backend != "auto":
            raise
        return with_backend(bundle, replace(choice, asked="auto"))


def _stored_records(path: Path, run: RunFolder, cohort: Cohort) -> tuple[Record, ...]:
    """Return the records in the run's order, without those that its text finder failed on."""
    known = {r.name: r for r in cohort.records}
    stored = [row["record_id"] for row in run.read_rows("records.parquet", ["record_id"])]
    if not set(stored) <= set(known):
        raise other_names(path, "records.parquet")
    return tuple(known[name] for name in stored)


def _check_suspects(path: Path, plan: Plan, suspects: Suspects | None) -> None:
    """Refuse objects that are not those of the plan: images that were left out of the run are lacking in the stored search."""
    wanted = {
        c.parameters["suspect"]: c.parameters["digest"] for c in plan.suite.conditions if c.perturbation == "object"
    }
    found = () if suspects is None else suspects.digests
    if any(digest != wanted.get(number) for number, digest in enumerate(found, start=1)):
        raise StoreError(
            f"The objects in {path} cannot be made again from the stored search, because images of it were left out of the run. Run the "
            "audit again."
        )
