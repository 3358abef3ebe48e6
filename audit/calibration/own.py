"""The user's own network and data, planted into: with which probability this audit would have found which shortcut."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audit.calibration.calibrate import check_workers, make_workshop, run_cases
from audit.calibration.corpus import Corpus, Specimen, read_specimen, split_by_patient
from audit.calibration.judgements import Rate, is_found, rate
from audit.calibration.kinds import find_kind
from audit.calibration.networks import Backbone, head_of
from audit.calibration.outcomes import Outcome
from audit.calibration.truth import FOUND_FROM_CARRIERS, NOT_LEARNT_BELOW
from audit.calibration.zoo import Case
from audit.data.bundle_record import OWN_KIND
from audit.data.manifests import load_cohort
from audit.data.records import Record
from audit.errors import CohortError, ModelError, UsageError
from audit.files import write_atomically
from audit.gates.calibration import CALIBRATION_FILE
from audit.models.bundle import Bundle, find_bundle, load_bundle
from audit.models.tasks import audited_task, check_single_label
from audit.run.cohorts import audited_cohort
from audit.run.settings import Settings
from audit.store.serialise import to_json

KINDS = ("word", "electrode", "gamma")
SHARES = (0.2, 0.8)
MOST_TRAINING, MOST_TEST = 600, 150
_FEWEST = 10
"""Images of each class, in training and in test."""


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
        Everything goes here; a copy of `calibration.json` goes into the bundle's folder.
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
    """
    if trials < 1:
        raise UsageError(f"The number of trials must be at least 1, found {trials}.")
    check_workers(workers)
    if settings.detector == "annotated":
        raise UsageError(
            "Planted text is not in any file of boxes, so the finder annotated would miss it. Use --detector cascade."
        )
    bundle = load_bundle(find_bundle(settings.model, Path(settings.models)))
    check_single_label(bundle.name, audited_task(bundle.name, bundle.task, settings.task), "calibration")
    if bundle.kind != OWN_KIND or bundle.folder is None:
        raise ModelError(
            f"{bundle.where} is of the kind {bundle.kind}, whose last layer cannot be exchanged. Calibration needs a bundle of weights, as "
            "`audit train` and `audit import FILE --as densenet121` write it."
        )
    training, test = _records(bundle, settings)
    reading = on_stage("reading images", len(training) + len(test))

    def read(records: Sequence[Record], part: str) -> Iterator[Specimen]:
        patients = {
            patient: f"{part}-patient-{i}" for i, patient in enumerate(dict.fromkeys(r.patient for r in records))
        }
        for number, record in enumerate(records):
            specimen = read_specimen(record, bundle.classes)
            # Neither a patient nor an image has its own name in the copies.
            yield replace(specimen, id=f"{part}-{number}", patient=patients[record.patient])
            reading()

    corpus = Corpus(
        name=bundle.name,
        classes=bundle.classes,
        training=tuple(read(training, "training")),
        folds=(tuple(read(test, "test")),),
    )
    body = Backbone(network=bundle.network, architecture=bundle.architecture, preprocessing=bundle.preprocessing)
    made_by = {"model": bundle.digest, "images": _digest((*corpus.training, *corpus.folds[0]))}
    shop = make_workshop(corpus, body, made_by=made_by, start=head_of(body))
    document = run_cases(
        own_cases(trials, settings.detector),
        {"own": shop},
        lambda _: "own",
        out,
        suite=settings.suite,
        workers=workers,
        on_stage=on_stage,
        about={
            "model": {"name": bundle.name, "digest": bundle.digest},
            "n_training": len(training),
            "n_test": len(test),
        },
        summary=lambda outcomes: {"powers": powers(outcomes)},
    )
    write_atomically(bundle.folder / CALIBRATION_FILE, to_json(document).encode())
    return document


def _digest(specimens: Sequence[Specimen]) -> str:
    """Return a hash of everything that is taken from the user's images."""
    digest = hashlib.sha256()
    for s in specimens:
        digest.update(f"{s.id}\x1f{s.label}\x1f{s.patient}\x1f{s.picture.image.shape}".encode())
        digest.update(s.picture.image.tobytes())
    return digest.hexdigest()


def own_cases(trials: int, finder: str) -> list[Case]:
    """Return the cases that are planted into a user's data."""
    found: list[Case] = []
    for kind in KINDS:
        for share in SHARES:
            for _ in range(trials):
                seed = len(found)
                found.append(
                    Case(name=f"{seed:03d}-{kind}-{100 * share:.0f}", kind=kind, share=share, seed=seed, finder=finder)
                )
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


def _records(bundle: Bundle, settings: Settings) -> tuple[list[Record], list[Record]]:
    """Return images to fit heads on and images to audit, without a common patient.

    The audited images are those that `audit run` would take. Heads are fitted on the images that trained the network, where the data
    hold them; else half of the audited patients are given to training.
    """
    cohort, _ = audited_cohort(bundle, settings)
    if cohort.colour:
        raise UsageError(
            f"{bundle.where} is shown colours, and the images have them, but calibration plants shortcuts into grey images only. Audit the "
            "network without it."
        )
    audited = list(cohort.records)
    everything = load_cohort(cohort.manifest, classes=bundle.classes, ignore_labels=settings.ignore_label).labelled()
    patients = {r.patient for r in audited}
    others = [r for r in everything if r.patient not in patients]
    present = [c for c in bundle.classes if any(r.label == c for r in audited)]
    fewest_others = min((sum(r.label == c for r in others) for c in present), default=0)
    k = len(present)
    if len(present) < 2:
        raise CohortError(f"Calibration needs images of at least two classes, found {', '.join(present) or 'none'}.")
    if fewest_others >= _FEWEST:
        size = min(MOST_TRAINING // k, fewest_others) * k
        test = min(MOST_TEST // k, min(sum(r.label == c for r in audited) for c in present)) * k
        (training,) = split_by_patient(others, present, [size], settings.seed)
        (tested,) = split_by_patient(audited, present, [test], settings.seed)
        return training, tested
    fewest = min(sum(r.label == c for r in audited) for c in present)
    if fewest < 2 * _FEWEST:
        raise CohortError(
            f"Calibration needs {_FEWEST} images of each class to fit on and {_FEWEST} others to audit, but a class has only {fewest} "
            "in all. Use more data."
        )
    # A patient's images stay together, so a little fewer than half of them fit.
    half = max(_FEWEST, int(0.45 * fewest))
    training, tested = split_by_patient(
        audited, present, [min(MOST_TRAINING // k, half) * k, min(MOST_TEST // k, half) * k], settings.seed
    )
    return training, tested
