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

from audit.calibration.calibrate import check_workers, make_workshop, run_cases
from audit.calibration.corpus import Corpus, Specimen, read_specimen
from audit.calibration.judgements import Rate, is_found, rate
from audit.calibration.kinds import find_kind
from audit.calibration.outcomes import Outcome
from audit.calibration.plots import Plot, find_plots
from audit.calibration.trial import Workshop
from audit.calibration.truth import FOUND_FROM_CARRIERS, NOT_LEARNT_BELOW
from audit.calibration.zoo import Case
from audit.data.records import Record
from audit.data.tasks import Task
from audit.errors import UsageError
from audit.files import write_atomically
from audit.gates.calibration import CALIBRATION_FILE
from audit.models.bodies import Backbone, body_of, check_head, head_of
from audit.models.bundle import Bundle
from audit.models.classifier import Outputs
from audit.models.opening import open_model
from audit.models.tasks import audited_task
from audit.run.recording import OnStage
from audit.run.requested import requested_model
from audit.run.settings import Settings
from audit.store.serialise import to_json

KINDS = ("word", "electrode", "gamma")
SHARES = (0.2, 0.8)
_CHECKED = 8
"""Images on which the last layer is held against the answers."""


@dataclass(frozen=True, kw_only=True)
class Power:
    """With which probability the audit finds one plant of one strength."""

    kind: str
    """Key of `audit.calibration.kinds.all_kinds`."""
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
    on_stage: OnStage,
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
    plots = find_plots(bundle, settings, multi_label=task == "multi-label")
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


def _workshop(bundle: Bundle, body: Backbone, task: Task, plot: Plot, step: Callable[[], None]) -> Workshop:
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
