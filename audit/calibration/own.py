"""The user's own network and data, planted into: with which probability this audit would have found which shortcut.

Of a multi-label network a plant goes with the finding of one output: on images whose finding is known, that output is a task of two
classes, absent and present. Its row of the last layer is trained again; the other outputs answer as before.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audit.calibration.bodies import Backbone, body_of, check_head, head_of
from audit.calibration.calibrate import check_workers, make_workshop, run_cases
from audit.calibration.cohort_files import OWN_COLUMNS
from audit.calibration.corpus import Corpus, Specimen, read_specimen, split_by_patient
from audit.calibration.judgements import Rate, is_found, rate
from audit.calibration.kinds import find_kind
from audit.calibration.outcomes import Outcome
from audit.calibration.trial import Workshop
from audit.calibration.truth import FOUND_FROM_CARRIERS, NOT_LEARNT_BELOW
from audit.calibration.zoo import Case
from audit.data.manifests import load_cohort
from audit.data.records import Record
from audit.data.tasks import Task
from audit.errors import CohortError, UsageError
from audit.files import write_atomically
from audit.gates.calibration import CALIBRATION_FILE
from audit.models.bundle import Bundle
from audit.models.classifier import Outputs
from audit.models.opening import open_model
from audit.models.tasks import audited_task
from audit.run.cohorts import audited_cohort
from audit.run.requested import requested_model
from audit.run.settings import Settings
from audit.store.serialise import to_json

KINDS = ("word", "electrode", "gamma")
SHARES = (0.2, 0.8)
MOST_TRAINING, MOST_TEST = 600, 150
MOST_OUTPUTS = 3
"""Outputs of a multi-label network that plants go with: those whose finding the most images are known to have, and not to have."""
_FEWEST = 10
"""Images of each class, in training and in test."""
_CHECKED = 8
"""Images on which the last layer is held against the answers."""
_SIDES = ("absent", "present")


@dataclass(frozen=True, kw_only=True)
class Power:
    """With which probability the audit finds one plant of one strength."""

    kind: str
    """Key of `audit.calibration.plants.all_kinds`."""
    about: str
    """The kind with its dose, in words."""
    share: float
    """Share of one class that carries it."""
    found: Rate
    """Of the trials whose head learnt it: exit code 1."""
    not_learnt: int
    """Trials whose head did not."""
    truth: float | None
    """Mean true effect over all images in the trials that count; None without any."""


def calibrate_own(
    settings: Settings,
    out: Path,
    *,
    trials: int,
    workers: int,
    on_stage: Callable[[str, int], Callable[[], None]],
) -> dict[str, Any]:
    """Plant into the user's images, fine-tune the user's head on cached features, audit, and write what was found beside the bundle.

    Parameters
    ----------
    settings : Settings
        Model, data, suite and text finder, as for `audit run`.
    out : Path
        Everything goes here; a copy of `calibration.json` goes into the bundle's folder, if the model is one.
    trials : int
        Networks for each kind and share.
    workers, on_stage
        See `audit.calibration.calibrate.calibrate_zoo`.

    Raises
    ------
    UsageError
        If the number of trials is below 1, or hand-made boxes are asked for: planted text would be in none.
    CohortError
        If there are too few images.
    ModelError
        If the network has no linear layer that gives its outputs.
    """
    if trials < 1:
        raise UsageError(f"The number of trials must be at least 1, found {trials}.")
    check_workers(workers)
    if settings.detector == "annotated":
        raise UsageError(
            "Planted text is not in any file of boxes, so the finder annotated would miss it. Use --detector cascade."
        )
    bundle = open_model(requested_model(settings))
    task = audited_task(bundle.name, bundle.task, settings.task if bundle.folder is not None else "")
    body = body_of(bundle)
    plots = _plots(bundle, settings, multi_label=task == "multi-label")
    reading = on_stage("reading images", sum(len(p.training) + len(p.test) for p in plots))
    shops = {plot.output: _workshop(bundle, body, task, plot, reading) for plot in plots}
    document = run_cases(
        own_cases(trials, settings.detector, tuple(shops)),
        shops,
        lambda case: case.output,
        out,
        suite=settings.suite,
        workers=workers,
        on_stage=on_stage,
        about={
            "model": {"name": bundle.name, "digest": bundle.digest, "task": task},
            "outputs": [plot.output for plot in plots if plot.output],
            "n_training": sum(len(plot.training) for plot in plots),
            "n_test": sum(len(plot.test) for plot in plots),
        },
        summary=lambda outcomes: {"powers": powers(outcomes)},
    )
    if bundle.folder is not None:
        write_atomically(bundle.folder / CALIBRATION_FILE, to_json(document).encode())
    return document


def _workshop(bundle: Bundle, body: Backbone, task: Task, plot: _Plot, step: Callable[[], None]) -> Workshop:
    """Read the images of a plot, and compute what the last layer reads of them."""
    names = bundle.classes

    def read(records: Sequence[Record], part: str) -> Iterator[Specimen]:
        patients = {
            patient: f"{part}-patient-{i}" for i, patient in enumerate(dict.fromkeys(r.patient for r in records))
        }
        for number, record in enumerate(records):
            specimen = read_specimen(record, plot.classes)
            findings = dict(zip(names, record.truth, strict=True)) if plot.output else None
            # Neither a patient nor an image has its own name in the copies.
            yield replace(specimen, id=f"{part}-{number}", patient=patients[record.patient], findings=findings)
            step()

    corpus = Corpus(
        name=bundle.name,
        classes=plot.classes,
        training=tuple(read(plot.training, "training")),
        folds=(tuple(read(plot.test, "test")),),
    )
    own = replace(body, output=names.index(plot.output)) if plot.output else body
    sample = [s.picture.image for s in corpus.training[:_CHECKED]]
    check_head(own, sample, multi_label=task == "multi-label", where=bundle.where)
    made_by = {"model": bundle.digest, "images": _digest((*corpus.training, *corpus.folds[0]))}
    outputs = Outputs(names=names, task=task, points=bundle.points)
    return make_workshop(corpus, own, made_by=made_by, start=head_of(own), outputs=outputs)


def _digest(specimens: Sequence[Specimen]) -> str:
    """Return a hash of everything that is taken from the user's images."""
    digest = hashlib.sha256()
    for s in specimens:
        digest.update(f"{s.id}\x1f{s.label}\x1f{s.patient}\x1f{s.picture.image.shape}".encode())
        digest.update(s.picture.image.tobytes())
    return digest.hexdigest()


def own_cases(trials: int, finder: str, outputs: Sequence[str] = ("",)) -> list[Case]:
    """Return the cases that are planted into a user's data; those of a multi-label network take turns at its outputs."""
    found: list[Case] = []
    for kind in KINDS:
        for share in SHARES:
            for _ in range(trials):
                seed = len(found)
                name, output = f"{seed:03d}-{kind}-{100 * share:.0f}", outputs[seed // 2 % len(outputs)]
                found.append(Case(name=name, kind=kind, share=share, seed=seed, finder=finder, output=output))
    return found


def powers(outcomes: Sequence[Outcome]) -> list[Power]:
    """Add up trials by kind and share; a trial whose head did not learn the plant says nothing of the audit."""
    by_plant: dict[tuple[str, float], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_plant[outcome.case.kind, outcome.case.share].append(outcome)
    found = []
    for (name, share), members in by_plant.items():
        kind = find_kind(name)
        learnt = [o for o in members if is_learnt(o)]
        found.append(
            Power(
                kind=name,
                about=f"{kind.about} ({kind.doses[1]:g} {kind.unit})".replace(" )", ")"),
                share=share,
                found=rate(sum(map(is_found, learnt)), len(learnt)),
                not_learnt=len(members) - len(learnt),
                truth=sum(o.truth.removed for o in learnt) / len(learnt) if learnt else None,
            )
        )
    return found


def is_learnt(outcome: Outcome) -> bool:
    """Say whether the head relies on the plant, over all images or over carriers, of which there may be few."""
    return outcome.truth.removed >= NOT_LEARNT_BELOW or (outcome.truth.removed_carriers or 0.0) >= FOUND_FROM_CARRIERS


@dataclass(frozen=True, kw_only=True)
class _Plot:
    """Images to plant into, without a common patient of training and test."""

    output: str
    """Output whose finding the plant goes with, of a multi-label network; else empty."""
    classes: tuple[str, ...]
    """What the images are told apart by."""
    training: Sequence[Record]
    """Heads are fitted on these."""
    test: Sequence[Record]
    """These are audited."""


def _plots(bundle: Bundle, settings: Settings, *, multi_label: bool) -> list[_Plot]:
    """Return the images to fit heads on and to audit; of a multi-label network for each of the outputs that are planted with.

    The audited images are those that `audit run` would take. Heads are fitted on the images that trained the network, where the data
    hold them; else half of the audited patients are given to training.

    Raises
    ------
    UsageError
        If a name of an output is that of a column of every manifest.
    CohortError
        If there are too few images.
    """
    cohort, _ = audited_cohort(bundle, settings, multi_label=multi_label)
    audited = list(cohort.records)
    everything = load_cohort(
        cohort.manifest,
        classes=bundle.classes,
        ignore_labels=settings.ignore_label,
        multi_label=multi_label,
        colour=cohort.colour,
    ).labelled()
    patients = {r.patient for r in audited}
    others = [replace(r, colour=cohort.colour) for r in everything if r.patient not in patients]
    if not multi_label:
        training, test = _split(audited, others, bundle.classes, "", settings.seed)
        return [_Plot(output="", classes=bundle.classes, training=training, test=test)]
    if taken := OWN_COLUMNS & {name.strip().casefold() for name in bundle.classes}:
        raise UsageError(
            f"Calibration writes manifests with a column for each output, and an output of {bundle.name} is called {', '.join(taken)}, as "
            "another column is. Import the network again, with other names for its outputs (--classes)."
        )
    found: list[_Plot] = []
    lacking: list[CohortError] = []
    known = [min(sum(r.truth[i] == value for r in audited) for value in (0, 1)) for i in range(len(bundle.classes))]
    for place in sorted(range(len(known)), key=lambda i: -known[i]):
        one, other = (
            [replace(r, label=_SIDES[r.truth[place]]) for r in records if r.truth[place] >= 0]
            for records in (audited, others)
        )
        try:
            training, test = _split(one, other, _SIDES, bundle.classes[place], settings.seed)
        except CohortError as error:
            lacking.append(error)
            continue
        found.append(_Plot(output=bundle.classes[place], classes=_SIDES, training=training, test=test))
        if len(found) == MOST_OUTPUTS:
            break
    if not found:
        raise lacking[0]
    return found


def _split(
    audited: Sequence[Record], others: Sequence[Record], classes: Sequence[str], output: str, seed: int
) -> tuple[list[Record], list[Record]]:
    """Return training and test, classes equal in each."""
    present = [c for c in classes if any(r.label == c for r in audited)]
    fewest_others = min((sum(r.label == c for r in others) for c in present), default=0)
    k = len(present)
    if k < 2:
        raise CohortError(
            f"Calibration needs images with and without a finding, but those to audit are {present[0] if present else 'unknown'} for every "
            f"output, such as {output}. Use more data."
            if output
            else f"Calibration needs images of at least two classes, found {', '.join(present) or 'none'}."
        )
    if fewest_others >= _FEWEST:
        size = min(MOST_TRAINING // k, fewest_others) * k
        n_test = min(MOST_TEST // k, min(sum(r.label == c for r in audited) for c in present)) * k
        (training,) = split_by_patient(others, present, [size], seed)
        (test,) = split_by_patient(audited, present, [n_test], seed)
        return training, test
    fewest = min(sum(r.label == c for r in audited) for c in present)
    if fewest < 2 * _FEWEST:
        of = f"with and without the finding {output}" if output else "of each class"
        raise CohortError(
            f"Calibration needs {_FEWEST} images {of} to fit on and {_FEWEST} others to audit, but "
            f"{'one of these groups' if output else 'a class'} has only {fewest} in all. Use more data."
        )
    # A patient's images stay together, so a little fewer than half of them fit.
    half = max(_FEWEST, int(0.45 * fewest))
    training, test = split_by_patient(
        audited, present, [min(MOST_TRAINING // k, half) * k, min(MOST_TEST // k, half) * k], seed
    )
    return training, test
