"""A finished run with its network and its images again: what was stored is taken from the run, and held against what is found now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from msgspec import structs

from audit.data.conditions import Suite
from audit.data.plan import Plan
from audit.data.pseudonyms import FILE_VARIABLE, KEY_VARIABLE, PLAIN, Pseudonyms, find_pseudonyms
from audit.data.records import Cohort, Record, TextRegion
from audit.data.strings import shown_string
from audit.errors import StoreError, UsageError
from audit.models.backends import BackendChoice, with_backend
from audit.models.bundle import Bundle
from audit.models.devices import device_of, find_device, on_device
from audit.models.opening import open_model
from audit.perturbations.suspects import Suspects, suspect_digest
from audit.prediction.covering import Disclosure
from audit.prediction.experiment import Experiment
from audit.prediction.table import planned_suite, stored_cuts
from audit.prediction.variants import cohort_context, make_perturbations
from audit.run.chosen_split import NoSplitError
from audit.run.cohorts import audited_cohort
from audit.run.plan import records_hash
from audit.run.preparation import probe_images
from audit.run.requested import requested_model, requested_product
from audit.run.settings import Settings
from audit.store.folder import RunFolder, check_run
from audit.store.run_record import RunRecord
from audit.store.suspects import FoundSuspect, Sighting, SuspectsDocument


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
    names = _names(path, plan.privacy.key)
    try:
        bundle, cohort = _opened(plan, _asked(plan, settings), names)
    except NoSplitError as error:
        raise StoreError(
            f"The run {path} cannot be computed again: it audited a split ({plan.data.split}) that the given manifest does not have. "
            f"{_how(record)}"
        ) from error
    except UsageError as error:
        raise StoreError(f"The run {path} cannot be computed again: {error} {_how(record)}") from error
    _check_same(path, plan, record, bundle, cohort)
    suite = planned_suite(plan)
    _check_versions(path, suite)
    bundle = _on_machine(plan, settings, bundle, cohort)
    records = _stored_records(path, run, cohort)
    regions = _stored_regions(run, records)
    hidden = {
        key: () if plan.privacy.show_text else tuple(r for r in found if not r.text) for key, found in regions.items()
    }
    context = cohort_context(records, regions, plan.seed, _suspects(path, run, plan, records, cohort))
    experiment = Experiment(
        run=run,
        bundle=bundle,
        suite=suite,
        records=records,
        context=context,
        seed=plan.seed,
        cuts=stored_cuts(plan.model),
        batch=plan.model.batch_size,
    )
    return ReopenedRun(
        plan=plan, record=record, experiment=experiment, disclosure=Disclosure(text=regions, covered=hidden)
    )


def _names(path: Path, fingerprint: str | None) -> Pseudonyms:
    """Return the key that the run's pseudonyms were made with: its files name images by nothing else."""
    if fingerprint is None:
        return PLAIN
    names = find_pseudonyms()
    if names is None or names.fingerprint != fingerprint:
        here = "no key was found" if names is None else f"the key in use is {names.fingerprint}"
        raise StoreError(
            f"The pseudonyms in {path} were made with the key {fingerprint}, but {here}, so its images cannot be matched with the "
            f"manifest. Set {KEY_VARIABLE} to that key, or {FILE_VARIABLE} to its file."
        )
    return names


def _asked(plan: Plan, settings: Settings) -> Settings:
    """Return the settings that open model and manifest as the run did."""
    # A sample was drawn before images told which of them the network has learnt; all of it may be left.
    undecided = ("unlearnt", "all") if plan.data.max_images else ("unlearnt",)
    split = "auto" if plan.data.split_name in undecided else plan.data.split_name
    return structs.replace(
        settings,
        model=settings.model or plan.model.name,
        split=split,
        seed=plan.seed,
        max_images=plan.data.max_images,
        plain_ids=plan.privacy.plain_ids,
    )


def _opened(plan: Plan, asked: Settings, names: Pseudonyms) -> tuple[Bundle, Cohort]:
    bundle = open_model(requested_product(asked) or requested_model(asked))
    cohort, _ = audited_cohort(bundle, asked, names, multi_label=plan.model.task == "multi-label")
    return bundle, cohort


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


def _check_versions(path: Path, suite: Suite) -> None:
    """Refuse edits that this version of audit makes in another way."""
    for name, made in make_perturbations(suite).items():
        if made.version != suite[name].version:
            raise StoreError(
                f"The run {path} cannot be computed again: its edit “{shown_string(suite[name].title)}” was made by version "
                f"{suite[name].version} of {suite[name].perturbation}, and this version of audit has version {made.version}. Use the "
                "version of audit that the run names."
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
        raise _other_names(path, "records.parquet")
    return tuple(known[name] for name in stored)


def _other_names(path: Path, table: str) -> StoreError:
    return StoreError(
        f"{table} of the run {path} names images that the run does not have. It was edited. Run the audit again."
    )


def _stored_regions(run: RunFolder, records: tuple[Record, ...]) -> dict[str, tuple[TextRegion, ...]]:
    """Return record id -> its text regions; strings that may not be shown are empty, and no edit uses strings."""
    found: dict[str, list[TextRegion]] = {r.name: [] for r in records}
    fields = list(TextRegion.__slots__)
    for row in run.read_rows("regions.parquet", ["record_id", *fields]):
        if row["record_id"] not in found:
            raise _other_names(run.path, "regions.parquet")
        polygon = tuple((float(x), float(y)) for x, y in row["polygon"] or ())
        found[row["record_id"]].append(TextRegion(**{**{name: row[name] for name in fields}, "polygon": polygon}))
    return {r.id: tuple(found[r.name]) for r in records}


def _suspects(path: Path, run: RunFolder, plan: Plan, records: tuple[Record, ...], cohort: Cohort) -> Suspects | None:
    """Return the objects that the run's search proposed, images by the digest of their pixels again."""
    if not plan.objects.asked:
        return None
    document = run.read(SuspectsDocument)
    digests = {r.name: cohort.pixels[r.id] for r in records}
    seen = {s.image for f in document.suspects for s in f.sightings} | {n for f in document.suspects for n in f.without}
    if not seen <= set(digests):
        raise _other_names(path, SuspectsDocument.FILE)
    found = tuple(_with_digests(suspect, digests) for suspect in document.suspects)
    wanted = {
        c.parameters["suspect"]: c.parameters["digest"] for c in plan.suite.conditions if c.perturbation == "object"
    }
    if any(suspect_digest(s) != wanted[number] for number, s in enumerate(found, start=1)):
        raise StoreError(
            f"The objects in {path} cannot be made again from the stored search, because images of it were left out of the run. Run the "
            "audit again."
        )
    donors = {cohort.pixels[r.id]: r for r in records}
    return Suspects(found=found, donors=donors, seed=plan.seed)


def _with_digests(suspect: FoundSuspect, digests: dict[str, str]) -> FoundSuspect:
    def bare(sighting: Sighting) -> Sighting:
        return structs.replace(sighting, image=digests[sighting.image], picture=None, width=0, height=0, spot=None)

    return structs.replace(
        suspect,
        sightings=tuple(map(bare, suspect.sightings)),
        without=tuple(digests[name] for name in suspect.without),
    )
