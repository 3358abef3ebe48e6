"""Four levels of every suspect: available in the data, encoded in the features, used by the network, harmful where it misleads.

Available: a small model tells the class from the suspect alone, across patients. Encoded: within a class, the network's features tell
whether an image's suspect points to that class. Used: the audit's own effect, and beside it how far the answers move once the suspect's
directions are erased from the features. Harmful: the network errs more often on images whose suspect points to another class than on
images of the same class whose suspect points to it. Only the third is an intervention on images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import Suite
from audit.data.records import Record
from audit.models.bodies import Head, body_of, head_of
from audit.models.bundle import Bundle
from audit.prediction.concurrency import one_core
from audit.prediction.experiment import Experiment
from audit.prediction.pool import map_side_by_side
from audit.randomness import generator_for
from audit.run.probing import Table
from audit.run.suspect_views import SuspectViews, view_suspects
from audit.run.suspect_world import MIN_PATIENTS, SuspectWorld, no_level
from audit.statistics.outputs import softmax
from audit.statistics.selections import headline_of
from audit.store.group import ALL
from audit.store.levels import Level, LevelsDocument, SuspectLevels
from audit.store.results import Effect, PredictionTable

_SAME = 1e-3
"""Largest difference of a probability at which the last layer gives the answers."""
MOST_IMAGES = 400
"""Larger cohorts are sampled: a probe of some hundred images is precise enough, and costs little beside the predictions."""


def measure_levels(
    experiment: Experiment,
    table: PredictionTable,
    effects: Sequence[Effect],
    *,
    level: float,
    on_image: Callable[[], None],
    workers: int = 1,
    features: Mapping[int, Table] = MappingProxyType({}),
) -> LevelsDocument:
    """Measure the levels of every suspect that a judged condition edits.

    Parameters
    ----------
    experiment : Experiment
        The network, its conditions and the audited images, with text and objects; at most `MOST_IMAGES` are drawn from its seed, which
        also decides folds and permutations.
    table : PredictionTable
        Predictions of these records.
    effects : sequence of Effect
        Of the run.
    level : float
        Coverage of intervals.
    on_image : callable
        Called after each image.
    workers : int
        Processes; their number changes no byte.
    features : mapping
        Number of a record -> what the network's last layer reads of it, where that is known.
    """
    records, suite, seed = experiment.records, experiment.suite, experiment.seed
    chosen = _chosen(records, seed)
    why_none = _why_none(chosen, table)
    if why_none:
        for _ in range(n_looked_at(records)):
            on_image()
        return LevelsDocument(n_images=0, why_none=why_none, suspects=())
    looked = view_suspects(experiment, chosen, on_image=on_image, workers=workers, features=features)
    for _ in range(len(chosen), n_looked_at(records)):
        on_image()
    place = {name: i for i, name in enumerate(table.record_ids.tolist())}
    rows = np.array([place[records[i].name] for i in chosen], dtype=np.intp)
    labels = table.labels[rows]
    wrong = table.logits["clean"][0, rows].argmax(axis=1) != labels
    world = SuspectWorld(labels, table.patients[rows], len(table.classes), wrong.astype(np.float64), seed, level)
    used = {suspect: _used(suspect, suite, effects) for suspect in looked.views}
    clean = table.logits["clean"][0, rows]
    head = None if looked.features is None else _head_of(experiment.bundle, looked.features, clean)
    asked = _Asked(world=world, looked=looked, used=used, head=head)
    return LevelsDocument(
        n_images=len(chosen),
        why_none="",
        suspects=tuple(map_side_by_side(_levels_of, asked, len(asked.used), workers)),
    )


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Of which suspects the levels are asked for."""

    world: SuspectWorld
    looked: SuspectViews
    used: Mapping[str, Level]
    head: Head | None


def _levels_of(asked: _Asked, number: int) -> SuspectLevels:
    suspect, used = list(asked.used.items())[number]
    with one_core():
        return asked.world.levels(suspect, asked.looked.views[suspect], asked.looked.features, used, asked.head)


def _head_of(bundle: Bundle, features: Table, logits: NDArray[np.float32]) -> Head | None:
    """Return the last layer; None where there is none, or where it does not give the answers (n, k) from the features (n, f)."""
    if bundle.classifier.ability("head") is None:
        return None
    head = head_of(body_of(bundle))
    given = softmax(features @ head.weight.T.astype(np.float64) + head.bias)
    wanted = softmax(logits)
    return head if given.shape == wanted.shape and np.abs(given - wanted).max() <= _SAME else None


def n_looked_at(records: Sequence[Record]) -> int:
    """Return how many images are looked at, at most."""
    return min(len(records), MOST_IMAGES)


def _chosen(records: Sequence[Record], seed: int) -> list[int]:
    """Draw images; of patients in several classes none, for they have no class to permute."""
    labels: dict[str, set[str]] = {}
    for r in records:
        labels.setdefault(r.patient, set()).add(str(r.label))
    drawn = generator_for(seed, "levels").permutation(len(records))[:MOST_IMAGES].tolist()
    kept = [i for i in sorted(drawn) if len(labels[records[i].patient]) == 1]
    patients: dict[str, set[str]] = {}
    for i in kept:
        patients.setdefault(str(records[i].label), set()).add(records[i].patient)
    return [i for i in kept if len(patients[str(records[i].label)]) >= MIN_PATIENTS]


def _why_none(chosen: Sequence[int], table: PredictionTable) -> str:
    if table.truth is not None:
        return "the outputs are findings of their own, so a suspect points to no single class"
    present = len({int(table.labels[i]) for i in chosen})
    return "" if present > 1 else f"fewer than two classes have {MIN_PATIENTS} patients"


def _used(suspect: str, suite: Suite, effects: Sequence[Effect]) -> Level:
    """Return the largest judged effect of a suspect."""
    own = {c.name: headline_of(c.role).name for c in suite.conditions if c.judged and c.suspect == suspect}
    found = [
        e
        for e in effects
        if e.group == ALL and e.placebo is not None and own.get(e.condition) == e.measure and e.estimate is not None
    ]
    if not found:
        return no_level("no edit of it could be measured")
    e = max(found, key=lambda one: one.estimate or 0.0)
    return Level(
        value=e.estimate,
        low=e.low,
        high=e.high,
        null=0.0,
        p=None,  # judged by its interval, which also allows for large changes that the sample does not contain; a p does not
        n_images=e.n_images,
        n_patients=e.n_patients,
        about=f"{e.condition}, minus its placebo",
    )
