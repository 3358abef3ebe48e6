"""The making of a mended network: copies of the images, then the methods from cheapest to dearest, then the bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from audit.data.pseudonyms import make_pseudonyms
from audit.data.tasks import Task
from audit.errors import CohortError, ModelError
from audit.models.bodies import body_of, check_head, head_of, with_head
from audit.models.bundle import Bundle
from audit.run.preparation import Preparation
from audit.run.recording import OnStage
from audit.run.settings import Settings
from audit.store.mend import MendStory, Method, TriedMethod, ValidationFigures
from audit.training.mend.augment import last_phase, retrain
from audit.training.mend.copies import Copies, make_copies
from audit.training.mend.last_layer import n_fits, refit, source_weights
from audit.training.mend.learnt import Learnt, read_learnt
from audit.training.mend.measured import Measured, is_affordable, is_enough, measure, share_left
from audit.training.mend.suspects import Target, training_edits
from audit.training.mend.taught import trace_teaching
from audit.training.mend.written import work_folder, write_mended

Choice = Literal["auto", "last-layer", "augment"]
METHODS: tuple[Method, ...] = ("last-layer", "augment")
"""Cheapest first."""
_SAMPLE = 8
"""Images on which the last layer is held against the answers, and the bundle against the network."""


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
    method : {"auto", "last-layer", "augment"}
        How; auto takes the cheapest that is enough on validation images.
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
    old = measure(copies, copies.logits, truth, learnt.validation)
    for note in notes:
        tell(note)
    tried: list[TriedMethod] = []
    networks: dict[Method, tuple[nn.Module, Measured]] = {}
    for one in METHODS if method == "auto" else (method,):
        begun = time.monotonic()
        try:
            network, found, about = (
                _by_last_layer(bundle, learnt, copies, truth, old, kept, settings, on_stage)
                if one == "last-layer"
                else _by_training(bundle, task, learnt, copies, truth, folder, settings, on_stage)
            )
        except ModelError as error:
            if method != "auto":
                raise
            tried.append(_tried(one, "", None, str(error), begun, enough=False))
            tell(str(error))
            continue
        networks[one] = network, found
        tried.append(_tried(one, about, found, "", begun, enough=is_enough(found, old)))
        if tried[-1].enough:
            break
    if not networks:
        raise ModelError(" ".join(t.why_not for t in tried))
    chosen = min(networks, key=lambda m: _preference(networks[m][1], old))
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
    sample = [copies.pixels(("clean", 0), i) for i in np.flatnonzero(learnt.validation)[:_SAMPLE].tolist()]
    write_mended(out, bundle, networks[chosen][0], story, learnt, settings, sample)
    return story


def _by_last_layer(
    bundle: Bundle,
    learnt: Learnt,
    copies: Copies,
    truth: NDArray[np.int64],
    old: Measured,
    targets: Sequence[Target],
    settings: Settings,
    on_stage: OnStage,
) -> tuple[nn.Module, Measured, str]:
    if bundle.classifier.ability("head") is None or not copies.features:
        raise ModelError(
            f"{bundle.where} gives no linear output layer that reads one row of features for each image, so its last layer cannot be "
            "fitted again. What can still be done: --method augment trains the whole network on edited images."
        )
    body = body_of(bundle)
    if body.last.bias is None:
        raise ModelError(
            f"The last layer of {bundle.where} has no bias, so a layer that is fitted again would not fit into its bundle. Use --method "
            "augment."
        )
    images = [copies.pixels(("clean", 0), i) for i in range(min(_SAMPLE, len(learnt.records)))]
    check_head(body, images, multi_label=truth.ndim > 1, where=bundle.where)
    weights = np.ones(len(truth))
    by_source = truth.ndim == 1 and any("source" in t.suspect for t in targets)
    if by_source:
        weights = source_weights(truth, np.array([r.source for r in learnt.records]))
    fitted = refit(
        copies,
        head_of(body),
        truth,
        learnt.patients,
        learnt.validation,
        weights,
        old,
        seed=settings.seed,
        on_fit=on_stage("fitting the last layer", n_fits()),
    )
    about = (
        f"last layer fitted again on {len(truth)} images and their edited copies; penalty on the distance from the old layer "
        f"{fitted.pull:g}, on the difference between an image and its copies {fitted.still:g}, chosen by patient on validation images"
    )
    about += "; sources of a class weighted alike" if by_source else ""
    return with_head(body, fitted.head), fitted.measured, about


def _by_training(
    bundle: Bundle,
    task: Task,
    learnt: Learnt,
    copies: Copies,
    truth: NDArray[np.int64],
    folder: Path,
    settings: Settings,
    on_stage: OnStage,
) -> tuple[nn.Module, Measured, str]:
    trained = retrain(bundle, task, learnt, copies, folder, seed=settings.seed, on_stage=on_stage)
    step, phase = last_phase(bundle), trained.phase
    about = (
        f"all layers trained for at most {phase.epochs} epochs ({step.optimiser}, rate {phase.rate:g}), half of the images shown edited at "
        "random; the epoch with the smallest loss on unedited and edited validation images was kept"
    )
    return trained.network, measure(copies, trained.logits, truth, learnt.validation), about


def _tried(
    method: Method, about: str, found: Measured | None, why_not: str, begun: float, *, enough: bool
) -> TriedMethod:
    figures = None if found is None else _figures(found)
    seconds = round(time.monotonic() - begun, 1)
    return TriedMethod(method=method, about=about, figures=figures, why_not=why_not, enough=enough, seconds=seconds)


def _figures(found: Measured) -> ValidationFigures:
    return ValidationFigures(
        effects={name: round(value, 10) for name, value in sorted(found.effects.items())},
        accuracy=round(found.accuracy, 10),
        accuracy_edited=round(found.accuracy_edited, 10),
    )


def _preference(found: Measured, old: Measured) -> tuple[bool, bool, float]:
    """Order what was tried where nothing was enough: what costs little first, then what leaves least."""
    return not is_enough(found, old), not is_affordable(found, old), share_left(found, old)


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
