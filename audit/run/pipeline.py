"""The audit in outline: the steps in order, without arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from audit.data.map_budget import map_limit_in_words
from audit.data.plan import Plan
from audit.data.reading import TableReading
from audit.data.records import Cohort, Record, TextRegion
from audit.data.strings import policy_for
from audit.errors import StoreError, TextError
from audit.gates.calibration import calibration_of
from audit.models.bundle import Bundle
from audit.perturbations.suspects import Suspects
from audit.prediction.covering import Disclosure
from audit.prediction.engine import n_own_images, predict_all
from audit.prediction.experiment import planned_experiment
from audit.prediction.measuring import measure_cohort, wanted_measures
from audit.prediction.table import FinishedRun, read_predictions, read_uses
from audit.prediction.variants import CohortContext, cohort_context, make_perturbations
from audit.relevance.auditing import audit_relevance
from audit.run.answers import check_complete
from audit.run.earlier_predictions import adopt_predictions
from audit.run.engine_choice import predicting_engine, settle_engine
from audit.run.examples import n_pictures, write_examples
from audit.run.finder_check import check_finder_on
from audit.run.judgement import judge_again, judge_results
from audit.run.levels import measure_levels, n_looked_at
from audit.run.objects import prepare_objects, sample_size
from audit.run.plan import run_path
from audit.run.preparation import Preparation, prepare
from audit.run.recording import Clock, OnStage, record_run
from audit.run.region_rows import write_regions
from audit.run.settings import Settings
from audit.run.shares import OtherSharesMissingError, Share, read_share
from audit.run.source_probe import MAX_IMAGES, probe_sources
from audit.run.suspect_pictures import write_suspects
from audit.run.texts import find_text
from audit.statistics.blindness import find_blindness
from audit.statistics.doses import measure_trends
from audit.statistics.effects import measure_effects
from audit.statistics.outputs import probabilities_of
from audit.statistics.planted import check_planted
from audit.statistics.selections import headline_of
from audit.store.controls import ControlsDocument
from audit.store.folder import RunFolder
from audit.store.levels import LevelsDocument
from audit.store.pictures import ExamplesDocument
from audit.store.probe import ProbeDocument
from audit.store.results import ConditionsDocument, EffectsDocument
from audit.store.run_record import RunRecord
from audit.store.verdict import Verdict


def run_audit(
    settings: Settings,
    *,
    judge_gates: bool,
    command: Sequence[str],
    on_stage: OnStage,
    on_table: Callable[[TableReading], None] | None = None,
    on_model: Callable[[Bundle], None] | None = None,
    on_cohort: Callable[[Cohort, Bundle], None] | None = None,
    on_fact: Callable[[str], None] | None = None,
    live: object = None,
) -> tuple[Path, Verdict]:
    """Audit one model on one cohort; an unfinished run of the same plan is resumed, a finished one only judged.

    Parameters
    ----------
    settings : Settings
        What to audit, and how.
    judge_gates : bool
        Judge even if the settings have no `[gate]` table (then by the default rules).
    command : sequence of str
        How the run was started, for the record.
    on_stage : callable
        Called for every stage, and for every step in it.
    on_table : callable, optional
        Told what was read from which column of the manifest.
    on_model : callable, optional
        Told of the classifier once it is open.
    on_cohort : callable, optional
        Told of the audited images once all were read.
    on_fact : callable, optional
        Told, in sentences, what was decided on the way: how many heatmaps are made, and which results of an earlier run are used.
    live : object, optional
        The classifier itself, where Python code hands it over; `settings.model` is then its name.

    Returns
    -------
    tuple of (Path, Verdict)
        The run folder, finished, and the verdict.

    Raises
    ------
    OtherSharesMissingError
        If the settings ask for a share, it is done, and other jobs are not.
    AuditError
        If a step cannot be done; everything computed before stays in the folder.
    """
    share = read_share(settings.shard)
    settings = settle_engine(settings)
    clock = Clock(on_stage)
    with clock.stage("checking data"):
        folders = (Path(settings.runs), Path(settings.cache))
        prepared = prepare(
            settings,
            judge_gates=judge_gates,
            writes_to=folders,
            on_table=on_table,
            on_model=on_model,
            on_cohort=on_cohort,
            live=live,
        )
    proposed = None
    if prepared.suite.objects:
        with clock.stage("searching for objects", sample_size(prepared, settings.seed)) as step:
            prepared, proposed = prepare_objects(prepared, settings, judge_gates=judge_gates, on_image=step)
    bundle, suite, plan = prepared.bundle, prepared.suite, prepared.plan
    has_head = bundle.classifier.ability("head") is not None
    calibration = calibration_of(bundle.folder, bundle.digest, has_head=has_head)
    run = RunFolder(run_path(Path(settings.runs), plan))
    run.check_links()
    _check_key(run, plan)
    if run.has(RunRecord.FILE):  # written last: everything that rules can refer to is there
        with clock.stage("judging"):
            return run.path, judge_again(run, prepared.gate, calibration)
    if settings.predictions:
        with clock.stage("checking answers"):
            check_complete(prepared, settings)
    tell = on_fact or (lambda _: None)
    if limit := map_limit_in_words(plan):
        tell(limit)
    if not run.has(Plan.FILE):
        run.write(plan)

    with clock.stage("finding text", len(prepared.cohort.records)) as step:
        found, records = find_text(prepared, settings, step, share)
        regions = found.regions
        _check_resumed(run, records)
        # Every string that leaves this function goes through the policy: what is written gets `shown`, edits get `regions`.
        policy = policy_for(((i, region.text) for i, r in enumerate(records) for region in regions[r.id]), records)
        shown = {record_id: policy.redact(found_here) for record_id, found_here in regions.items()}
        covered = {r.id: () if settings.show_text else policy.covered(regions[r.id]) for r in records}
        write_regions(run, records, regions, policy, bundle.classes)
    opinion = check_finder_on(prepared, records, regions, policy, settings, clock)
    suspects = None if proposed is None else proposed.suspects
    context = _measured_context(records, regions, suspects, prepared, settings, run, clock)
    experiment = planned_experiment(plan, run, bundle, suite, records, context)
    disclosure = Disclosure(text=shown, covered=covered)
    workers, on_cpu = prepared.predicting_processes(settings.workers), prepared.processes(settings.workers)
    # Layers and gradients are those of the network on the CPU; what is asked hundreds of times is asked where predictions are.
    mapping = workers if plan.relevance.cost else on_cpu
    if adopted := adopt_predictions(run, plan):
        tell(adopted)
    with clock.stage("predicting", n_own_images(len(records), share.own)) as step:
        parts = predict_all(experiment, step, engine=predicting_engine(prepared, settings), own=share.own)
        _check_others(run, share, parts)
        run.write(ConditionsDocument(conditions=tuple(read_uses(run, parts, suite))))
    with clock.stage("measuring effects"):
        table = read_predictions(run, parts, suite, records, plan.model)
        how: dict[str, Any] = {
            "seed": settings.seed,
            "resamples": settings.resamples,
            "level": settings.level,
            "tolerances": prepared.tolerances,
        }
        if not run.has(EffectsDocument.FILE):
            effects = measure_effects(table, suite, **how, recall=prepared.recall)
            trends = measure_trends(table, suite, seed=settings.seed, resamples=settings.resamples)
            run.write(EffectsDocument(effects=tuple(effects), trends=tuple(trends)))
        if not run.has(ControlsDocument.FILE):
            exclusive = table.truth is None
            blindness = find_blindness(
                probabilities_of(table.logits["clean"][0], exclusive=exclusive),
                [str(r.label) for r in records],
                bundle.classes,
                tolerance=prepared.tolerances[headline_of("edit").name],
                exclusive=exclusive,
            )
            run.write(ControlsDocument(planted=tuple(check_planted(table, suite, **how)), blindness=blindness))
    features: dict[int, Any] = {}
    with clock.stage("probing sources", min(len(records), MAX_IMAGES)) as step:
        if not run.has(ProbeDocument.FILE):
            probe = probe_sources(experiment, on_image=step, workers=on_cpu, features=features)
            run.write(ProbeDocument(probe=probe))
    with clock.stage("measuring levels", n_looked_at(records)) as step:
        if not run.has(LevelsDocument.FILE):
            found_effects = run.read(EffectsDocument).effects
            levels = measure_levels(
                experiment,
                table,
                found_effects,
                level=settings.level,
                on_image=step,
                workers=on_cpu,
                features=features,
            )
            run.write(levels)
    with clock.stage("attributing relevance", min(len(records), plan.relevance.max_images)) as step:
        relevance_note = audit_relevance(
            experiment, disclosure, table, plan.relevance, level=settings.level, on_image=step, workers=mapping
        )
    with clock.stage("drawing examples", n_pictures(suite, [str(r.label) for r in records])) as step:
        write_examples(experiment, disclosure, table, plan.relevance, step, workers=mapping)
        if proposed is not None:
            write_suspects(run, proposed.document, proposed.suspects, records, context, covered)
    here = FinishedRun(path=run.path, plan=plan, suite=suite, table=table)
    verdict, baseline = judge_results(run, prepared.gate, lambda: here, calibration)
    run.write(record_run(run, prepared, command, clock, relevance_note, opinion, found, baseline))
    return run.path, verdict


def _measured_context(
    records: Sequence[Record],
    regions: Mapping[str, tuple[TextRegion, ...]],
    suspects: Suspects | None,
    prepared: Preparation,
    settings: Settings,
    run: RunFolder,
    clock: Clock,
) -> CohortContext:
    """Return what edits may use besides the image, what they compare it with measured once for all processes."""
    context = cohort_context(records, regions, settings.seed, suspects)
    wanted = wanted_measures(records, regions, context, make_perturbations(prepared.suite))
    if not wanted or run.has(ExamplesDocument.FILE):
        return context
    with clock.stage("measuring the cohort", len(wanted)) as step:
        measured = measure_cohort(wanted, step, workers=prepared.processes(settings.workers))
    return cohort_context(records, regions, settings.seed, suspects, measured)


def _check_key(run: RunFolder, plan: Plan) -> None:
    """Refuse to continue with a key other than the one that the run began with: its files identify images by their names."""
    if not run.has(Plan.FILE):
        return
    begun, now = run.read(Plan).privacy.key, plan.privacy.key
    if begun != now:
        raise StoreError(
            f"The run {run.path} was started with the key {begun}, but the key is now {now}, so its images have other pseudonyms. Set "
            "AUDIT_KEY or AUDIT_KEY_FILE to that key, or choose another folder with --runs."
        )


def _check_others(run: RunFolder, share: Share, parts: Sequence[str]) -> None:
    """Stop where parts are missing that belong to other jobs."""
    absent = {number for number, part in enumerate(parts) if not run.has(part)}
    if not absent:
        return
    theirs = [Share(number=k, of=share.of) for k in range(1, share.of + 1)]
    missing = [other.number for other in theirs if absent.intersection(other.own(range(len(parts))))]
    raise OtherSharesMissingError(
        run=run.path, share=share, missing=missing, n_parts=(len(parts) - len(absent), len(parts))
    )


def _check_resumed(run: RunFolder, records: Sequence[Record]) -> None:
    """Refuse to continue with images other than those that the run began with: its shards identify images by their place."""
    if not run.has("records.parquet"):
        return
    begun = [row["record_id"] for row in run.read_rows("records.parquet", ["record_id"])]
    if begun != [r.name for r in records]:
        raise TextError(
            f"The text finder failed on other images than at the start of the run {run.path}, so the run cannot be resumed. Remove the "
            "folder and start again, or use another finder."
        )
