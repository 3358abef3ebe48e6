"""Where a shortcut was learnt: how many training images of each class carry it, and which of them the old network owes most to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from audit.data.pseudonyms import Pseudonyms
from audit.data.strings import normal_string, policy_for
from audit.statistics.outputs import probabilities_of
from audit.store.mend import Carried, TaughtBy, Teacher
from audit.training.mend.copies import Copies, Place
from audit.training.mend.learnt import Learnt
from audit.training.mend.suspects import OBJECT, Target

N_IMAGES = 20
"""Images that are named for each suspect."""
_MOST_WORDS = 8
OWES_FROM = 0.05
"""Probability of the true class, beyond the placebo's, from which an image's answer is owed to a suspect."""
Flags = NDArray[np.bool_]


def trace_teaching(
    learnt: Learnt, copies: Copies, targets: Sequence[Target], labels: NDArray[np.int64], names: Pseudonyms
) -> tuple[TaughtBy, ...]:
    """Describe, for each suspect, the training images that carry it, and name those whose answer owes most to it.

    What an image owes is the probability that the old network gives its true class as it is, minus that once the suspect is edited,
    minus the same of the placebo; of several edits the one that takes or gives most counts.

    Parameters
    ----------
    learnt : Learnt
        The images (n); those that only validate do not count, unless all do.
    copies : Copies
        Their edited copies, with the old network's answers.
    targets : sequence of Target
        The suspects.
    labels : int64 (n)
        Number of each image's class.
    names : Pseudonyms
        What images are called where they are named.
    """
    taught = ~learnt.validation if not learnt.validation.all() else learnt.validation
    classes = learnt.cohort.classes
    sizes = {name: int((taught & (labels == k)).sum()) for k, name in enumerate(classes)}
    found = []
    for target in targets:
        owed = _owed(copies, _edits(learnt, copies, target), labels)
        known = taught & np.isfinite(owed)
        order = [
            i for i in np.argsort(-np.where(known, owed, -np.inf), kind="stable").tolist() if known[i] and owed[i] > 0
        ]
        carried = {
            **_carried(learnt, copies, target, taught),
            f"the answer owes {100 * OWES_FROM:g} points or more to it": owed >= OWES_FROM,
        }
        found.append(
            TaughtBy(
                suspect=target.suspect,
                images_by_class=sizes,
                carried=tuple(
                    Carried(
                        name=name,
                        by_class={
                            label: int((taught & where & (labels == k)).sum()) for k, label in enumerate(classes)
                        },
                    )
                    for name, where in carried.items()
                ),
                most=tuple(
                    Teacher(
                        record=names.image(learnt.records[i].id),
                        label=str(learnt.records[i].label),
                        owed=round(float(owed[i]), 10),
                    )
                    for i in order[:N_IMAGES]
                ),
            )
        )
    return tuple(found)


def _edits(learnt: Learnt, copies: Copies, target: Target) -> list[str]:
    told = {c.name: c for c in learnt.suite.conditions}
    here = [told[c.name] for c in copies.edits]
    return [c.name for c in here if (c.perturbation == OBJECT if target.objects else c.suspect == target.suspect)]


def _owed(copies: Copies, edits: Sequence[str], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (n,) what the answers owe to the edits of a suspect; NaN where none could be applied."""
    placebos = {c.name: str(c.placebo) for c in copies.edits}
    rows = np.arange(len(labels))

    def true_class(place: Place) -> NDArray[np.float64]:
        return np.asarray(probabilities_of(copies.logits[place], exclusive=True)[rows, labels])

    def lost(name: str) -> NDArray[np.float64]:
        clean = true_class(("clean", 0))
        drawn = [np.where(copies.applied[place], clean - true_class(place), np.nan) for place in copies.draws(name)]
        values = np.stack(drawn)
        made = np.isfinite(values)
        total = np.where(made, values, 0.0).sum(axis=0)
        return np.asarray(np.divide(total, made.sum(axis=0), out=np.full(len(labels), np.nan), where=made.any(axis=0)))

    values = np.stack([lost(name) - np.nan_to_num(lost(placebos[name])) for name in edits])
    strongest = np.argmax(np.nan_to_num(np.abs(values), nan=-1.0), axis=0)
    return np.asarray(values[strongest, rows])


def _carried(learnt: Learnt, copies: Copies, target: Target, taught: Flags) -> Mapping[str, Flags]:
    """Return what of a suspect images show, in words, and which images (n) do."""
    told = {c.name: c for c in learnt.suite.conditions}
    if target.objects:
        removing = [c for c in copies.edits if told[c.name].perturbation == OBJECT and told[c.name].declared.removes]
        return {c.suspect: np.any([copies.applied[place] for place in copies.draws(c.name)], axis=0) for c in removing}
    mine = [c for c in copies.edits if told[c.name].suspect == target.suspect]
    if any(told[c.name].perturbation in ("look-shift", "look-transfer") for c in mine):
        sources = np.array([r.source for r in learnt.records])
        return {f"source {name}": sources == name for name in np.unique(sources[taught]).tolist() if name}
    if any(told[c.name].declared.concerns("text") for c in mine):
        return _words(learnt, taught)
    return {}


def _words(learnt: Learnt, taught: Flags) -> dict[str, Flags]:
    """Return which images bear text, and which bear each of the commonest strings that may be shown."""
    read = [{normal_string(region.text) for region in learnt.context.regions[r.id]} - {""} for r in learnt.records]
    policy = policy_for(((i, word) for i, words in enumerate(read) for word in words), learnt.records)
    counts = Counter(word for i, words in enumerate(read) if taught[i] for word in words if policy.shows(word))
    common = sorted(counts, key=lambda word: (-counts[word], word))[:_MOST_WORDS]
    borne = np.array([bool(learnt.context.regions[r.id]) for r in learnt.records], dtype=np.bool_)
    return {"any text": borne} | {
        f"“{word}”": np.array([word in words for words in read], dtype=np.bool_) for word in common
    }
