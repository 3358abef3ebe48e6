"""The images that a mended network may learn from: training and validation images, never those of the test split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audit.data.conditions import Suite
from audit.data.records import Cohort, Record
from audit.errors import CohortError
from audit.perturbations import Perturbation
from audit.prediction.variants import CohortContext, cohort_context, make_perturbations
from audit.randomness import generator_for
from audit.run.cohorts import learnt_cohort
from audit.run.objects import prepare_objects, sample_size
from audit.run.preparation import Preparation
from audit.run.settings import Settings
from audit.run.texts import find_text

MOST_IMAGES = 1_500
"""Training and validation images together; of larger cohorts a sample, every class alike, is precise enough for one layer."""
FEWEST_OF_CLASS = 10
"""Images of a class below which a head that is fitted on them is arbitrary."""
OnStage = Callable[[str, int], Callable[[], None]]


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """Images to learn from, with everything that edits of them may use."""

    cohort: Cohort
    """Whose records they are; its hash goes into the provenance of what was learnt."""
    records: tuple[Record, ...]
    """The images (n), in an order that depends only on their pixels."""
    validation: NDArray[np.bool_]
    """(n,) which of them are validation images; all where the data have none."""
    splits: Mapping[str, str]
    """Record id -> train or validation, of all that the cohort has, not only of the sample."""
    suite: Suite
    """The suite of the run, with the objects that a search of these images proposed."""
    perturbations: Mapping[str, Perturbation]
    """Condition -> its perturbation."""
    context: CohortContext
    """Text, donors and means of these images alone."""
    notes: tuple[str, ...]
    """What a reader must know about them."""

    def targets(self, *, multi_label: bool) -> NDArray[np.int64]:
        """Return the classes (n), or of independent findings (n, k) 1, 0 or -1."""
        if multi_label:
            return np.array([r.truth for r in self.records], dtype=np.int64)
        return np.array([self.cohort.classes.index(str(r.label)) for r in self.records], dtype=np.int64)

    @property
    def patients(self) -> NDArray[np.intp]:
        """(n,) number of each image's patient."""
        return np.unique([r.patient for r in self.records], return_inverse=True)[1]


def read_learnt(
    prepared: Preparation, settings: Settings, *, objects: bool, multi_label: bool, on_stage: OnStage
) -> Learnt:
    """Load the training and validation images, find their text, and search them for objects if asked.

    Parameters
    ----------
    prepared : Preparation
        Of the audit of the network.
    settings : Settings
        Of the same.
    objects : bool
        Whether objects are among what is mended.
    multi_label : bool
        Whether any number of the network's outputs applies to an image.
    on_stage : callable
        Called for every stage, and for every step in it.

    Raises
    ------
    CohortError
        If there are no training images, or too few of a class.
    """
    step = on_stage("reading training images", 1)
    cohort, splits = learnt_cohort(prepared.bundle, settings, multi_label=multi_label)
    step()
    notes = []
    records = cohort.records
    if len(records) > MOST_IMAGES:
        records = _sample(records, settings.seed)
        notes.append(
            f"{len(records)} of {len(cohort.records)} training and validation images were used, drawn by class."
        )
    _check_enough(records, cohort, multi_label=multi_label)
    told = prepared.suite if objects else replace(prepared.suite, objects=0)
    mine = replace(prepared, cohort=replace(cohort, records=records), suite=told)
    suspects = None
    if told.objects:
        listen = on_stage("searching training images for objects", sample_size(mine, settings.seed))
        mine, proposed = prepare_objects(mine, settings, judge_gates=False, on_image=listen)
        suspects = proposed.suspects
    found, kept = find_text(mine, settings, on_stage("finding text in training images", len(records)))
    validation = np.array([splits[r.id] == "validation" for r in kept], dtype=np.bool_)
    if not validation.any():
        validation[:] = True
        notes.append(
            "The data have no validation split: figures are cross-validated by patient over the training images."
        )
    return Learnt(
        cohort=cohort,
        records=kept,
        validation=validation,
        splits=splits,
        suite=mine.suite,
        perturbations=make_perturbations(mine.suite),
        context=cohort_context(kept, found.regions, settings.seed, suspects),
        notes=tuple(notes),
    )


def _check_enough(records: Sequence[Record], cohort: Cohort, *, multi_label: bool) -> None:
    counts = replace(cohort, records=tuple(records)).class_counts()
    if multi_label:
        counts = {name: min(n, len(records) - n) for name, n in counts.items()}
    few = {name: n for name, n in counts.items() if n < FEWEST_OF_CLASS}
    # Of many findings some are rare; their outputs stay near what they were.
    if few and not (multi_label and len(few) < len(counts)):
        name, n = next(iter(few.items()))
        raise CohortError(
            f"The training and validation images have {n} of class {name}, and mending needs at least {FEWEST_OF_CLASS} of each class. Use "
            "more data."
        )


def _sample(records: Sequence[Record], seed: int) -> tuple[Record, ...]:
    """Draw images, the rare classes whole, the others alike."""
    of_class: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        of_class[str(record.label)].append(record)
    left, chosen = MOST_IMAGES, set[str]()
    for place, (label, members) in enumerate(sorted(of_class.items(), key=lambda item: (len(item[1]), item[0]))):
        n = min(len(members), left // (len(of_class) - place))
        left -= n
        order = generator_for(seed, "mend sample", label).permutation(len(members))[:n].tolist()
        chosen |= {members[i].id for i in order}
    return tuple(r for r in records if r.id in chosen)
