"""A zoo built, audited and added up; what is done is never done again."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from audit.calibration.corpus import Corpus, CorpusName, phantom_corpus, radiograph_corpus, radiograph_folder
from audit.calibration.networks import backbone
from audit.calibration.outcomes import Outcome, finding_from_json
from audit.calibration.page import write_page
from audit.calibration.table import make_table
from audit.calibration.trial import Workshop, audit_case, build, read_outcome
from audit.calibration.truth import Truth
from audit.calibration.zoo import Case, make_zoo
from audit.errors import UsageError
from audit.files import check_writable, write_atomically
from audit.gates.calibration import CALIBRATION_FILE
from audit.models.bodies import Backbone, Head
from audit.models.classifier import Outputs
from audit.models.torch_classifier import one_thread
from audit.prediction.pool import each_side_by_side
from audit.provenance import tool_version
from audit.run.recording import OnStage
from audit.store.results import SCHEMA_VERSION
from audit.store.serialise import plain, to_json

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large the networks' world is."""

    n_training: int = 900
    """Training images of each corpus."""
    n_test: int = 128
    """Images that a network is audited on."""
    n_folds: int = 1
    """Test sets; networks take turns."""
    n_backbones: int = 1
    """Backbones of each corpus; networks take turns."""
    input_px: int = 96
    """Side of the networks' input."""
    epochs: int = 12
    """Epochs of a backbone."""


SCALES: Mapping[str, Scale] = {"small": Scale(), "full": Scale(n_folds=4, n_backbones=2)}
_RADIOGRAPHS = Scale(n_training=640, n_folds=2)


def calibrate_zoo(zoo: str, out: Path, *, suite: str, workers: int, on_stage: OnStage) -> dict[str, Any]:
    """Build a zoo's networks, audit each, and write `calibration.json` and `calibration.html`; `zoo` is small or full.

    The rest: see `calibrate_cases`.
    """
    cases = make_zoo(zoo, radiographs=radiograph_folder() is not None)
    return calibrate_cases(cases, SCALES[zoo], out, suite=suite, workers=workers, on_stage=on_stage, about={"zoo": zoo})


def calibrate_cases(
    cases: Sequence[Case],
    scale: Scale,
    out: Path,
    *,
    suite: str,
    workers: int,
    on_stage: OnStage,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Build networks, audit each, and write `calibration.json` and `calibration.html`.

    Parameters
    ----------
    cases : sequence of Case
        The networks.
    scale : Scale
        Of their world.
    out : Path
        Everything goes here. What an earlier call of the same version finished is kept.
    suite : str
        Suite of the audits.
    workers : int
        Processes that audit.
    on_stage : callable
        Told of every stage, and of every step in it.
    about : mapping
        What stands at the head of the document.

    Returns
    -------
    dict
        The content of `calibration.json`.

    Raises
    ------
    UsageError
        If a setting is outside its range.
    """
    radiographs = radiograph_folder()

    def key(case: Case) -> tuple[CorpusName, int]:
        return case.corpus, case.seed % scale.n_backbones

    keys = list(dict.fromkeys(map(key, cases)))
    check_workers(workers)
    check_writable(out)
    begun, worked = time.monotonic(), time.process_time()
    step = on_stage("training backbones", len(keys))
    shops: dict[tuple[CorpusName, int], Workshop] = {}
    with one_thread():
        for name, number in keys:
            shops[name, number] = _workshop(name, number, scale, out, radiographs)
            step()
    return run_cases(
        cases,
        shops,
        key,
        out,
        suite=suite,
        workers=workers,
        on_stage=on_stage,
        about={**about, "scale": scale},
        spent=(time.monotonic() - begun, time.process_time() - worked),
    )


def check_workers(workers: int) -> None:
    """Refuse a number of processes that is none.

    Raises
    ------
    UsageError
        If it is below 1.
    """
    if workers < 1:
        raise UsageError(f"The number of workers must be at least 1, found {workers}.")


def run_cases(
    cases: Sequence[Case],
    shops: Mapping[K, Workshop],
    shop_of: Callable[[Case], K],
    out: Path,
    *,
    suite: str,
    workers: int,
    on_stage: OnStage,
    about: Mapping[str, Any],
    spent: tuple[float, float] = (0.0, 0.0),
    summary: Callable[[Sequence[Outcome]], Mapping[str, Any]] = lambda _: {},
) -> dict[str, Any]:
    """Build and audit cases, add them up and write the document and its page.

    Parameters
    ----------
    cases : sequence of Case
        The networks.
    shops : mapping
        What the networks are made from.
    shop_of : callable
        Case -> which of these its network is made from.
    out, suite, workers, on_stage
        See `calibrate_zoo`.
    about : mapping
        What stands at the head of the document.
    spent : tuple of float
        Wall-clock and processor time that preparing took, in seconds.
    summary : callable, optional
        Outcomes -> further entries of the document.
    """
    check_workers(workers)
    check_writable(out)
    begun, built = time.monotonic() - spent[0], spent[1]
    step = on_stage("building networks", len(cases))
    job = (cases, [shop_of(case) for case in cases], shops, out)
    for _, cpu_seconds in each_side_by_side(_build_one, job, len(cases), workers):
        built += cpu_seconds
        step()
    building = time.monotonic() - begun
    begun = time.monotonic()
    step = on_stage("auditing networks", len(cases))
    bodies = [_sent(shops[shop_of(case)]) for case in cases]
    for _ in each_side_by_side(_audit_one, (cases, bodies, out, suite), len(cases), workers):
        step()
    auditing = time.monotonic() - begun
    outcomes = [read_outcome(case, _folder(out, case)) for case in cases]
    document: dict[str, Any] = plain(
        {
            "schema_version": SCHEMA_VERSION,
            "tool_version": tool_version(),
            "suite": suite,
            **about,
            "networks": [
                {**asdict(o.case), "rank": o.truth.rank, "truth": o.truth, "finding": o.finding} for o in outcomes
            ],
            "table": make_table(outcomes),
            "seconds": {
                "building": round(building, 1),
                "building_cpu": round(built, 1),
                "auditing": round(auditing, 1),
                "auditing_cpu": round(sum(o.finding.cpu_seconds for o in outcomes), 1),
                "workers": workers,
            },
            **summary(outcomes),
        }
    )
    write_page(out / "calibration.html", document, outcomes)
    write_atomically(out / CALIBRATION_FILE, to_json(document).encode())
    return document


def outcomes_of(document: Mapping[str, Any]) -> list[Outcome]:
    """Read the outcomes back from a calibration's document."""
    names = {f.name for f in fields(Case)}
    return [
        Outcome(
            case=Case(**{key: value for key, value in row.items() if key in names}),
            truth=Truth(**row["truth"]),
            finding=finding_from_json(row["finding"]),
        )
        for row in document["networks"]
    ]


def _folder(out: Path, case: Case) -> Path:
    return out / "networks" / case.name


def _workshop(name: CorpusName, number: int, scale: Scale, out: Path, radiographs: Path | None) -> Workshop:
    if name == "phantoms":
        corpus = phantom_corpus(n_training=scale.n_training, n_test=scale.n_test, n_folds=scale.n_folds)
    else:
        assert radiographs is not None
        here = _RADIOGRAPHS
        corpus = radiograph_corpus(radiographs, n_training=here.n_training, n_test=here.n_test, n_folds=here.n_folds)
    file = out / "backbones" / f"{name}-{number}-{scale.n_training}-{scale.input_px}-{scale.epochs}.safetensors"
    body = backbone(corpus, file, input_px=scale.input_px, seed=number, epochs=scale.epochs)
    return make_workshop(corpus, body, made_by={"scale": asdict(scale), "corpus": name, "backbone": number})


def make_workshop(
    corpus: Corpus,
    body: Backbone,
    *,
    made_by: Mapping[str, Any],
    start: Head | None = None,
    outputs: Outputs | None = None,
) -> Workshop:
    """Compute the training images' features once, and those of their twins without text."""
    textless = [s.textless for s in corpus.training if s.textless is not None]
    return Workshop(
        corpus=corpus,
        body=body,
        clean=body.features([s.picture.image for s in corpus.training]),
        textless=body.features(textless) if len(textless) == len(corpus.training) else None,
        start=start,
        made_by=made_by,
        outputs=outputs or Outputs(names=corpus.classes, task="single-label"),
    )


def _build_one(job: tuple[Sequence[Case], Sequence[K], Mapping[K, Workshop], Path], number: int) -> float:
    """Build one network; return the processor's seconds that it took."""
    cases, chosen, shops, out = job
    begun = time.process_time()
    with one_thread():
        build(cases[number], shops[chosen[number]], _folder(out, cases[number]))
    return time.process_time() - begun


def _sent(shop: Workshop) -> Backbone | None:
    """Return the network that an audit needs beside the files of its case; None where these hold all of it."""
    return None if shop.body.request is None else shop.body


def _audit_one(job: tuple[Sequence[Case], Sequence[Backbone | None], Path, str], number: int) -> None:
    cases, bodies, out, suite = job
    with one_thread():
        audit_case(cases[number], _folder(out, cases[number]), suite, bodies[number])
