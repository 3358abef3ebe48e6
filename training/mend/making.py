"""The making of a mended network: copies of the images, then the methods from cheapest to dearest, then the bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from audit.data.pseudonyms import make_pseudonyms
from audit.data.tasks import Task
from audit.errors import CohortError, ModelError
from audit.models.bundle import Bundle
from audit.run.preparation import Preparation
from audit.run.recording import OnStage
from audit.run.settings import Settings
from audit.store.mend import MendStory, Method, Paired, TriedMethod, ValidationFigures
from audit.store.numbers import number, signed_bracketed
from audit.training.mend.choosing import best
from audit.training.mend.copies import Copies, make_copies
from audit.training.mend.honest import compare_right
from audit.training.mend.learnt import Learnt, read_learnt
from audit.training.mend.measured import (
    Measured,
    honest_images,
    is_enough,
    is_loss,
    measure,
)
from audit.training.mend.methods import CHEAP, METHODS, SAMPLE, Made, Work, apply_method
from audit.training.mend.suspects import Target, training_edits
from audit.training.mend.taught import trace_teaching
from audit.training.mend.written import work_folder, write_mended

Choice = Literal["auto", "last-layer", "group-dro", "augment"]


def make_mended(
    settings: Settings,
    prepared: Preparation,
    bundle: Bundle,
    targets: Sequence[Target],
    out: Path,
    *,
    method: Choice,
    fingerprint: str,
    run: str,
    on_stage: OnStage,
    tell: Callable[[str], None],
) -> MendStory:
    """Make a mended network and write its bundle.

    Parameters
    ----------
    settings : Settings
        Of the audit.
    prepared : Preparation
        Of the same.
    bundle : Bundle
        The old network.
    targets : sequence of Target
        What is to be mended.
    out : Path
        Folder of the new bundle.
    method : {"auto", "last-layer", "group-dro", "augment"}
        How; auto takes the better last layer if it is enough on validation images, and trains the whole network only if none is.
    fingerprint : str
        Hash of everything that the new network depends on.
    run : str
        Name of the run of the old network.
    on_stage, tell
        See `audit.training.mend.mending.mend`.

    Returns
    -------
    MendStory
        How it was made.

    Raises
    ------
    CohortError, ModelError
        If it cannot be done.
    """
    task: Task = prepared.plan.model.task
    multi_label = task == "multi-label"
    folder = work_folder(out)
    learnt = read_learnt(
        prepared, settings, objects=any(t.objects for t in targets), multi_label=multi_label, on_stage=on_stage
    )
    edits, kept, left_out = training_edits(learnt.suite, targets)
    step = on_stage("editing training images", len(learnt.records))
    copies = make_copies(learnt, edits, bundle, folder, seed=settings.seed, on_image=step)
    notes = [*learnt.notes, *left_out.values(), *_gaps(learnt, copies, bundle, multi_label=multi_label)]
    truth = learnt.targets(multi_label=multi_label)
    honest = honest_images(copies, exclusive=not multi_label)
    old = measure(copies, copies.logits, truth, learnt.validation, honest)
    for note in notes:
        tell(note)
    work = Work(
        bundle=bundle,
        task=task,
        learnt=learnt,
        copies=copies,
        truth=truth,
        old=old,
        honest=honest,
        targets=kept,
        folder=folder,
        settings=settings,
        on_stage=on_stage,
    )
    tried: list[TriedMethod] = []
    networks: dict[Method, Made] = {}
    for one in METHODS if method == "auto" else (method,):
        if one not in CHEAP and any(t.enough for t in tried):
            break
        begun = time.monotonic()
        try:
            made = apply_method(one, work)
        except ModelError as error:
            if method != "auto":
                raise
            tried.append(_tried(one, None, str(error), work, begun))
            tell(str(error))
            continue
        networks[one] = made
        tried.append(_tried(one, made, "", work, begun))
    if not networks:
        raise ModelError(" ".join(t.why_not for t in tried))
    chosen = list(networks)[best([made.measured for made in networks.values()], old)]
    cost = next(t.honest for t in tried if t.method == chosen)
    if cost is not None and is_loss(cost.change, cost.n_images):
        notes.append(
            f"No method keeps the accuracy on validation images where the shortcut plays no part: {number(cost.before)} before, "
            f"{number(cost.after)} after, change {signed_bracketed(cost.change, cost.low, cost.high)} (n = {cost.n_images})."
        )
        tell(notes[-1])
    story = MendStory(
        fingerprint=fingerprint,
        parent=bundle.name,
        parent_digest=bundle.digest,
        run=run,
        suspects=tuple(t.suspect for t in kept),
        method=chosen,
        tried=tuple(tried),
        before=_figures(old),
        edits=tuple(c.name for c in edits),
        cohort_hash=learnt.cohort.content_hash,
        n_learnt=len(learnt.records),
        n_validation=int(learnt.validation.sum()),
        seed=settings.seed,
        notes=tuple(notes),
        taught=()
        if multi_label
        else trace_teaching(learnt, copies, kept, truth, make_pseudonyms(plain=settings.plain_ids)),
    )
    sample = [copies.pixels(("clean", 0), i) for i in np.flatnonzero(learnt.validation)[:SAMPLE].tolist()]
    write_mended(out, bundle, networks[chosen].network, story, learnt, settings, sample)
    return story


def _tried(method: Method, made: Made | None, why_not: str, work: Work, begun: float) -> TriedMethod:
    found = None if made is None else made.measured
    return TriedMethod(
        method=method,
        about="" if made is None else made.about,
        figures=None if found is None else _figures(found),
        why_not=why_not,
        enough=found is not None and is_enough(found, work.old),
        honest=None if found is None else _compared(found, work),
        seconds=round(time.monotonic() - begun, 1),
    )


def _compared(found: Measured, work: Work) -> Paired | None:
    seed, level = work.settings.seed, work.settings.level
    return compare_right(work.old.honest, found.honest, work.learnt.patients, level=level, seed=seed)


def _figures(found: Measured) -> ValidationFigures:
    return ValidationFigures(
        effects={name: round(value, 10) for name, value in sorted(found.effects.items())},
        accuracy=round(found.accuracy, 10),
        accuracy_edited=round(found.accuracy_edited, 10),
    )


def _gaps(learnt: Learnt, copies: Copies, bundle: Bundle, *, multi_label: bool) -> list[str]:
    """Say which edits, and which classes, have no copy: there nothing shows the network that the suspect does not matter.

    Raises
    ------
    CohortError
        If there is no copy at all.
    """
    by_edit = {c.name: np.any([copies.applied[place] for place in copies.draws(c.name)], axis=0) for c in copies.edits}
    anywhere = np.any(list(by_edit.values()), axis=0)
    if not anywhere.any():
        raise CohortError(
            f"No training or validation image could be edited by {', '.join(by_edit)}, so nothing can show the network that the suspect "
            "does not matter. Use data in which images of every class carry it or can be given it, such as classes with images "
            "from two sources."
        )
    said = [f"No training image could be edited by {name}." for name, where in by_edit.items() if not where.any()]
    if not multi_label:
        labels = np.array([str(r.label) for r in learnt.records])
        lacking = [name for name in bundle.classes if not anywhere[labels == name].any()]
        if lacking:
            said.append(
                f"No training image of class {', '.join(lacking)} could be edited, so for it nothing breaks the association "
                "with the suspect."
            )
    return said
