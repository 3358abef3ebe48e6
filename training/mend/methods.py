"""What each method makes of a network: the new network, its figures on validation images, and in words how it was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from torch import nn

from audit.data.tasks import Task
from audit.errors import ModelError
from audit.models.bodies import Backbone, body_of, check_head, head_of, with_head
from audit.models.bundle import Bundle
from audit.run.recording import OnStage
from audit.run.settings import Settings
from audit.store.mend import Method
from audit.training.mend import group_dro, last_layer
from audit.training.mend.augment import last_phase, retrain
from audit.training.mend.choosing import Fitted, HeadSearch, n_fits
from audit.training.mend.copies import Copies
from audit.training.mend.honest import Honest
from audit.training.mend.learnt import Learnt
from audit.training.mend.measured import Measured, measure
from audit.training.mend.suspects import Target

SAMPLE = 8
"""Images on which the last layer is held against the answers, and the bundle against the network."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What there is to work with."""

    bundle: Bundle
    """The old network."""
    task: Task
    """What its outputs mean."""
    learnt: Learnt
    """The images (n)."""
    copies: Copies
    """Their edited copies."""
    truth: NDArray[np.int64]
    """(n) or (n, k) their labels."""
    old: Measured
    """The old network on validation images."""
    honest: Honest
    """How images count where the shortcut plays no part."""
    targets: Sequence[Target]
    """What is mended."""
    folder: Path
    """Of what is unfinished."""
    settings: Settings
    """Of the audit."""
    on_stage: OnStage
    """Progress."""

    @property
    def by_source(self) -> bool:
        """Whether the look of a source is mended, and the sources of a class are known."""
        return self.truth.ndim == 1 and any("source" in t.suspect for t in self.targets)

    @property
    def sources(self) -> NDArray[np.str_]:
        """(n,) source of each image."""
        return np.array([r.source for r in self.learnt.records])


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a method made."""

    network: nn.Module
    """In evaluation mode."""
    measured: Measured
    """On validation images, by a layer that was not fitted on them where they were fitted on at all."""
    about: str
    """How it was made, in words."""


def apply_method(method: Method, work: Work) -> Made:
    """Make a network by a method.

    Parameters
    ----------
    method : {"last-layer", "group-dro", "augment"}
        How.
    work : Work
        Of what.

    Raises
    ------
    ModelError
        If the method cannot be applied; the message says what can still be done.
    """
    return _METHODS[method](work)


def _by_last_layer(work: Work) -> Made:
    body = _body(work)
    weights = last_layer.source_weights(work.truth, work.sources) if work.by_source else np.ones(len(work.truth))
    stage = work.on_stage("fitting the last layer", n_fits(last_layer.N_CANDIDATES))
    fitted = last_layer.refit(_search(work, body, stage), weights)
    about = "last layer fitted again" + ("; sources of a class weighted alike" if work.by_source else "")
    return _exchanged(work, body, fitted, about)


def _by_group_dro(work: Work) -> Made:
    body = _body(work)
    shown = work.honest.moved.astype(np.intp)
    if work.by_source:
        shown = np.unique(work.sources, return_inverse=True)[1]
    stage = work.on_stage("fitting the last layer for the worst group", n_fits(group_dro.N_CANDIDATES))
    fitted = group_dro.refit_for_worst(_search(work, body, stage), shown)
    groups = "source and edit" if work.by_source else "whether an edit of the suspect moves the answer, and edit"
    return _exchanged(work, body, fitted, f"last layer fitted for the worst group (group DRO) by class, {groups}")


def _by_training(work: Work) -> Made:
    trained = retrain(
        work.bundle,
        work.task,
        work.learnt,
        work.copies,
        work.folder,
        seed=work.settings.seed,
        on_stage=work.on_stage,
    )
    step, phase = last_phase(work.bundle), trained.phase
    about = (
        f"all layers trained for at most {phase.epochs} epochs ({step.optimiser}, rate {phase.rate:g}), half of the images shown edited at "
        "random; the epoch with the smallest loss on unedited and edited validation images was kept"
    )
    found = measure(work.copies, trained.logits, work.truth, work.learnt.validation, work.honest)
    return Made(network=trained.network, measured=found, about=about)


_METHODS: Mapping[Method, Callable[[Work], Made]] = MappingProxyType(
    {"last-layer": _by_last_layer, "group-dro": _by_group_dro, "augment": _by_training}
)
"""Cheapest first."""
METHODS: tuple[Method, ...] = tuple(_METHODS)
CHEAP: tuple[Method, ...] = ("last-layer", "group-dro")
"""Minutes on cached features: both are always tried, because neither is better on every network."""


def _search(work: Work, body: Backbone, on_fit: Callable[[], None]) -> HeadSearch:
    return HeadSearch(
        copies=work.copies,
        start=head_of(body),
        targets=work.truth,
        patients=work.learnt.patients,
        validation=work.learnt.validation,
        old=work.old,
        honest=work.honest,
        seed=work.settings.seed,
        on_fit=on_fit,
    )


def _body(work: Work) -> Backbone:
    """Return the network as one whose last layer can be exchanged.

    Raises
    ------
    ModelError
        If it cannot be.
    """
    where = work.bundle.where
    if work.bundle.classifier.ability("head") is None or not work.copies.features:
        raise ModelError(
            f"{where} gives no linear output layer that reads one row of features for each image, so its last layer cannot be fitted "
            "again. What can still be done: --method augment trains the whole network on edited images."
        )
    body = body_of(work.bundle)
    if body.last.bias is None:
        raise ModelError(
            f"The last layer of {where} has no bias, so a layer that is fitted again would not fit into its bundle. Use --method augment."
        )
    images = [work.copies.pixels(("clean", 0), i) for i in range(min(SAMPLE, len(work.learnt.records)))]
    check_head(body, images, multi_label=work.truth.ndim > 1, where=where)
    return body


def _exchanged(work: Work, body: Backbone, fitted: Fitted, how: str) -> Made:
    about = f"{how}, on {len(work.truth)} images and their edited copies; {fitted.about}, chosen by patient on validation images"
    return Made(network=with_head(body, fitted.head), measured=fitted.measured, about=about)
