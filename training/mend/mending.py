"""`audit mend` in outline: what is mended, the copies, the methods from cheapest to dearest, the new bundle, its audit, the proof."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from audit.baseline.changes import incomparable
from audit.data.plan import Plan, plan_hash
from audit.errors import CohortError, ModelError, UnknownNameError, UsageError, shown_string
from audit.files import check_writable, write_atomically
from audit.models.bundle import Bundle, load_bundle
from audit.models.opening import open_model
from audit.models.saving import check_changeable
from audit.run.engine_choice import settle_engine
from audit.run.pipeline import run_audit
from audit.run.preparation import Preparation, prepare
from audit.run.recording import OnStage
from audit.run.requested import requested_model
from audit.run.settings import Settings
from audit.statistics.verdicts import control_failures
from audit.store.folder import RunFolder, check_run
from audit.store.mend import MendDocument
from audit.store.results import SCHEMA_VERSION, EffectsDocument
from audit.store.serialise import plain, to_json
from audit.training.mend.advice import advise_untrained
from audit.training.mend.augment import check_trainable
from audit.training.mend.making import Choice, make_mended
from audit.training.mend.methods import METHODS
from audit.training.mend.proof import prove
from audit.training.mend.suspects import Target, choose_targets
from audit.training.mend.written import check_place, read_story, work_folder

_VERSION = 3


@dataclass(frozen=True, kw_only=True)
class Mended:
    """What came of it."""

    document: MendDocument | None
    """The proof; None where there was nothing to mend."""
    before: Path
    """Run folder of the old network."""
    after: Path | None
    """Run folder of the new one."""
    message: str
    """Why there was nothing to mend; empty otherwise."""
    undecided: bool = False
    """Whether the run could not decide about a suspect."""


def mend(
    settings: Settings,
    out: Path,
    *,
    run: Path | None,
    suspects: Sequence[str],
    method: Choice,
    command: Sequence[str],
    on_stage: OnStage,
    tell: Callable[[str], None] = lambda _: None,
) -> Mended:
    """Make a network that does not rely on some suspects, audit it on the same test images, and compare.

    Parameters
    ----------
    settings : Settings
        Model, data and audit, as for `audit run`.
    out : Path
        Folder of the new bundle; the old one is never changed.
    run : Path, optional
        Finished run of the old network; it is audited first if omitted.
    suspects : sequence of str
        What to mend; by default what the run found.
    method : {"auto", "last-layer", "group-dro", "augment"}
        How; auto takes the better last layer if it is enough on validation images, and trains the whole network only if none is.
    command : sequence of str
        How this was started, for the record.
    on_stage : callable
        Called for every stage, and for every step in it.
    tell : callable
        Told what a reader should know while it goes on.

    Raises
    ------
    AuditError
        If it cannot be done; the message says what can.
    """
    if method not in ("auto", *METHODS):
        raise UnknownNameError("method", method, ("auto", *METHODS))
    if settings.split in ("all", "train", "validation"):
        raise UsageError(
            f"--split {settings.split} would audit images that mending learns from. Omit --split, so that test images are audited."
        )
    settings = settle_engine(settings if run is None else settings_of_run(settings, run))
    bundle = open_model(requested_model(settings))
    try:
        check_trainable(bundle)
    except ModelError as error:
        raise ModelError(f"{error} {advise_untrained(run, bundle, suspects)}".strip()) from error
    check_changeable(bundle)
    check_place(out, bundle)
    check_writable(out.parent)
    before = run
    if before is None:
        before, _ = run_audit(settings, judge_gates=True, command=command, on_stage=on_stage)
    plan, effects = RunFolder(before).read(Plan), RunFolder(before).read(EffectsDocument).effects
    _check_run(plan, bundle, before)
    if failed := control_failures(effects):
        raise ModelError(
            f"The run {before} is incomplete: its control {failed[0].condition}, which must change nothing, failed. No effect of it can be "
            "trusted, so nothing can be mended by it."
        )
    targets = choose_targets(plan.suite.conditions, effects, suspects)
    if not targets:
        undecided = any(e.verdict == "inconclusive" and e.group.kind == "all" for e in effects)
        return Mended(
            document=None, before=before, after=None, message=_nothing(before, undecided), undecided=undecided
        )
    prepared = prepare(settings, judge_gates=True, writes_to=(Path(settings.cache),))
    _check_same_images(prepared, plan, targets, before)
    marks = [_VERSION, bundle.digest, plan_hash(plan), prepared.cohort.content_hash, settings.seed, method]
    name = hashlib.sha256(to_json([*marks, [t.suspect for t in targets]]).encode()).hexdigest()
    story = read_story(out)
    if story is None or story.fingerprint != name:
        story = make_mended(
            settings,
            prepared,
            bundle,
            targets,
            out,
            method=method,
            fingerprint=name,
            run=before.name,
            on_stage=on_stage,
            tell=tell,
        )
    shutil.rmtree(work_folder(out), ignore_errors=True)
    new = replace(settings, model=str(out), check="")
    after, _ = run_audit(new, judge_gates=True, command=command, on_stage=on_stage)
    proof = prove(before, after, [t for t in targets if t.suspect in story.suspects])
    document = MendDocument(
        verdict=proof.verdict,
        summary=proof.summary,
        name=out.name,
        digest=load_bundle(out, trust=settings.trust).digest,
        story=story,
        suspects=proof.suspects,
        effects=proof.effects,
        performance=proof.performance,
        run_after=after.name,
    )
    text = to_json({"schema_version": SCHEMA_VERSION, **plain(document)})
    write_atomically(out / MendDocument.FILE, text.encode("utf-8", "surrogateescape"))
    return Mended(document=document, before=before, after=after, message="")


def settings_of_run(settings: Settings, run: Path) -> Settings:
    """Return the settings with what a run was made with, where they say nothing else.

    Raises
    ------
    StoreError
        If the run is not complete, or was changed.
    """
    check_run(run)
    plan, usual = RunFolder(run).read(Plan), Settings()
    told = {
        "suite": plan.suite.name,
        "detector": plan.detector.name,
        "seed": plan.seed,
        "resamples": plan.statistics.resamples,
        "level": plan.statistics.level,
        "tolerance": dict(plan.tolerances),
        "recall": dict(plan.recall),
        "relevance_images": plan.relevance.max_images,
        "relevance_preset": plan.relevance.preset,
        "relevance_start": plan.relevance.start,
        "plain_ids": plan.privacy.plain_ids,
        "show_text": plan.privacy.show_text,
    }
    unsaid = {name: value for name, value in told.items() if getattr(settings, name) == getattr(usual, name)}
    return replace(settings, runs=str(run.parent), **unsaid)


def _check_run(plan: Plan, bundle: Bundle, run: Path) -> None:
    if plan.model.digest != bundle.digest:
        raise ModelError(
            f"The run {run} audited the model {plan.model.name} with the digest {plan.model.digest[:12]}, but {bundle.where} has the "
            f"digest {bundle.digest[:12]}. Use a run of this model, or omit --run: the model is then audited first."
        )
    if plan.data.split_name in ("all", "train", "validation"):
        raise CohortError(
            f"The run {run} audited {plan.data.split}, so the images that mending learns from may be among them, and no image is left to "
            "prove it on. Use data with a column split (train, validation, test), and audit the test split."
        )


def _check_same_images(prepared: Preparation, plan: Plan, targets: Sequence[Target], run: Path) -> None:
    """Refuse settings whose audit could not be compared with the run; objects are conditions only after the search."""
    titles = {c.name: shown_string(c.title) for c in prepared.plan.suite.conditions}
    here = titles.keys()
    for target in targets:
        name = target.effect.condition
        why = incomparable(prepared.plan, plan, name, titles) if name in here else ""
        if not why and not target.objects and name not in here:
            why = f"the suite {prepared.plan.suite.name} has no condition {name}"
        if why:
            raise UsageError(
                f"An audit with these settings cannot be compared with the run {run}: {why}. Repeat its --data, --suite, --detector and "
                "--boxes, or omit --run."
            )


def _nothing(run: Path, undecided: bool) -> str:
    first = f"Nothing to mend: no judged effect of the run {run.name} exceeds its limit."
    return f"{first} Some are undecided; name one with --suspect to mend it nevertheless." if undecided else first
