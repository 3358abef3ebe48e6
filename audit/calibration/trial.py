"""One case of a zoo: its network and planted test images are written, its truth measured, and then it is audited like any other."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from torch import nn

from audit.calibration.cohort_files import write_cohort
from audit.calibration.corpus import Corpus, Specimen
from audit.calibration.kinds import find_kind
from audit.calibration.outcomes import Estimate, Finding, Outcome, finding_from_json, first_sentence
from audit.calibration.sightings import plant_spots, shares_on_plant
from audit.calibration.truth import Truth, draw_carriers, measure_truth, planted
from audit.calibration.zoo import Case
from audit.errors import StoreError
from audit.files import write_atomically
from audit.models.bodies import Backbone, Features, Head, with_head
from audit.models.classifier import Outputs
from audit.models.fitting import fit_head
from audit.models.prepared_input import declaring
from audit.models.saving import save_bundle
from audit.provenance import tool_version
from audit.store.documents import read_json
from audit.store.folder import RunFolder
from audit.store.group import ALL, Group, parse_group
from audit.store.results import SCHEMA_VERSION
from audit.store.serialise import to_json
from audit.store.suspects import SuspectsDocument

_BUILT, _FOUND = "truth.json", "finding.json"
_HEAD, _OUTPUTS = "head.safetensors", "outputs.json"
_FAILED = 1
BUILD_VERSION = 4
"""Raised whenever plants, fitting or the truth change: what an earlier version built is built again."""


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What the networks of one corpus share."""

    corpus: Corpus
    """Pictures."""
    body: Backbone
    """Whose head is exchanged."""
    clean: Features
    """Features of the training images without a plant, computed once."""
    textless: Features | None
    """Features of their twins without any text; None where there are none."""
    start: Head | None = None
    """Head that fitting starts at; None for zero."""
    outputs: Outputs
    """What the networks answer."""
    made_by: Mapping[str, Any]
    """Everything else that the results depend on."""


def build(case: Case, shop: Workshop, folder: Path) -> float:
    """Fit the case's head, write its bundle and its planted test images, and measure its truth; return the seconds it took.

    A case that was built before, of the same everything, is left as it is: `truth.json` is written last.
    """
    made_by = {**shop.made_by, "case": asdict(case), "version": BUILD_VERSION}
    if (built := _read(folder / _BUILT)) is not None and built.get("made_by") == json.loads(to_json(made_by)):
        return 0.0
    begun = time.monotonic()
    (folder / _FOUND).unlink(missing_ok=True)
    kind, classes = find_kind(case.kind), shop.corpus.classes
    head = _fitted(case, shop)
    fold = shop.corpus.folds[case.seed % len(shop.corpus.folds)]
    carried = draw_carriers(case, fold, training=False)
    pictures = planted(case, kind, fold, carried)
    truth = measure_truth(
        case, kind, fold, carried, lambda images: head.probabilities(shop.body.features(images)), len(classes)
    )
    columns = {} if case.design == "none" else kind.columns
    write_cohort(folder, fold, pictures, classes, columns, carried, boxes=case.finder == "annotated")
    _write_network(case, shop, head, folder)
    seconds = time.monotonic() - begun
    spots = plant_spots(fold, pictures) if kind.local else {}
    _write(folder / _BUILT, {"made_by": made_by, "truth": truth, "spots": spots, "seconds": seconds})
    return seconds


def _write_network(case: Case, shop: Workshop, head: Head, folder: Path) -> None:
    """Write the network as a bundle; of one that no architecture's name builds, its head and what it answers."""
    if shop.body.request is not None:
        write_atomically(folder / _HEAD, safetensors.numpy.save({"weight": head.weight, "bias": head.bias}))
        _write(folder / _OUTPUTS, asdict(shop.outputs))
        return
    save_bundle(
        folder / "bundle",
        with_head(shop.body, head),
        name=case.name,
        architecture=shop.body.architecture,
        classes=shop.outputs.names,
        task=shop.outputs.task or "single-label",
        preprocessing=shop.body.preprocessing,
        provenance={},
        metrics={},
        splits={},
        operating_points=shop.outputs.points,
    )


def _fitted(case: Case, shop: Workshop) -> Head:
    """Fit a head on the training images with the case's plants."""
    training = shop.corpus.training
    carried = draw_carriers(case, training, training=True)
    pictures = planted(case, find_kind(case.kind), training, carried)
    changed = [i for i, (p, s) in enumerate(zip(pictures, training, strict=True)) if p is not s.picture]
    features = shop.clean.copy()
    features[changed] = shop.body.features([pictures[i].image for i in changed])
    # Each network sees another nine tenths of the patients, so that networks differ as trainings differ.
    kept = _most_patients(training, case.seed)
    labels = np.array([s.label for s in training], dtype=np.int64)
    # Faint findings leave room for chance: without this a network would read its images' own markers. Where both classes carry the
    # plant alike, training shows both twins too.
    twins = [] if shop.textless is None else [(shop.clean - shop.textless)[kept]]
    if case.design in ("alike", "unlearnt"):
        twins.append((features - shop.clean)[kept & np.isin(np.arange(len(kept)), changed)])
    nuisance = np.concatenate(twins) if twins else None
    return fit_head(features[kept], labels[kept], len(shop.corpus.classes), start=shop.start, nuisance=nuisance)


def _most_patients(training: Sequence[Specimen], seed: int) -> NDArray[np.bool_]:
    names = sorted({s.patient for s in training})
    left_out = set(names[seed % 10 :: 10]) if len(names) >= 20 else set()
    return np.array([s.patient not in left_out for s in training], dtype=np.bool_)


def audit_case(case: Case, folder: Path, suite: str, body: Backbone | None = None) -> Finding:
    """Audit a case's network on its images, by the usual pipeline and the default gates; `body` is what its head belongs to.

    An audit of this version that was finished before is read back; one that was interrupted goes on.
    """
    stamp = {"tool_version": tool_version(), "suite": suite}
    if (done := _read(folder / _FOUND)) is not None and done.get("stamp") == stamp:
        return finding_from_json(done["finding"])
    from audit.gates.judging import exit_code
    from audit.reports.findings.headline import headline
    from audit.reports.reading.folder import read_run
    from audit.run.pipeline import run_audit
    from audit.run.settings import Settings

    begun, worked = time.monotonic(), time.process_time()
    network, told = (None, {"model": str(folder / "bundle")}) if body is None else _as_owner_has_it(case, folder, body)
    settings = Settings(
        **told,
        data=str(folder / "manifest.csv"),
        split="all",
        suite=suite,
        detector=case.finder,
        boxes=str(folder / "boxes.json") if case.finder == "annotated" else "",
        judge_images=0,
        relevance_images=0,
        seed=case.seed,
        runs=str(folder / "runs"),
        cache=str(folder.parent / "text-cache"),
        workers=1,
        plain_ids=True,
    )
    path, verdict = run_audit(
        settings, judge_gates=True, command=["audit", "calibrate"], on_stage=_silent, live=network
    )
    run = read_run(path)
    plan = {c["name"]: c for c in read_json(path / "plan.json")["suite"]["conditions"]}
    effects = read_json(path / "effects.json")["effects"]
    code = exit_code(verdict.status)
    if case.output:
        effects = _of_output(effects, case.output)
        # Another output may rely on something of its own: a failure counts where this output's effect is one.
        read = any(e["verdict"] == "sensitive" and e["condition"] in plan for e in effects)
        code = code if code != _FAILED or read else 0
    found = Finding(
        exit_code=code,
        sentence=first_sentence(headline(run)),
        sensitive=tuple(
            sorted(
                {
                    str(plan[e["condition"]]["suspect"])
                    for e in effects
                    if e["verdict"] == "sensitive" and e["condition"] in plan
                }
            )
        ),
        estimates=tuple(_estimates(effects, plan, _on_plant(path, folder))),
        seconds=round(time.monotonic() - begun, 1),
        cpu_seconds=round(time.process_time() - worked, 1),
    )
    _write(folder / _FOUND, {"stamp": stamp, "finding": found})
    return found


def _as_owner_has_it(case: Case, folder: Path, body: Backbone) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network with the case's head, and the settings that say what it answers and wants."""
    head, outputs = safetensors.numpy.load_file(folder / _HEAD), _read(folder / _OUTPUTS)
    assert outputs is not None
    settings = {
        "model": case.name,
        "classes": tuple(outputs["names"]),
        "task": outputs["task"] or "",
        "answers": "logits",
        "operating_points": () if None in outputs["points"] else tuple(outputs["points"]),
        **declaring(body.preprocessing),
    }
    return with_head(body, Head(weight=head["weight"], bias=head["bias"])), settings


def _of_output(effects: Sequence[Mapping[str, Any]], output: str) -> list[dict[str, Any]]:
    """Return the effects on one output as those on all images: to this output the plant belongs."""
    own = str(Group(kind="output", value=output))
    return [{**e, "group": str(ALL)} for e in effects if e["group"] == own]


def _on_plant(run: Path, folder: Path) -> tuple[float, ...]:
    """Return how far each object that the audit proposed is the plant, by its number."""
    if not (run / SuspectsDocument.FILE).is_file():
        return ()
    spots = (_read(folder / _BUILT) or {}).get("spots", {})
    return shares_on_plant(RunFolder(run).read(SuspectsDocument), spots)


def _estimates(
    effects: Sequence[Mapping[str, Any]], plan: Mapping[str, Mapping[str, Any]], on_plant: Sequence[float]
) -> list[Estimate]:
    wanted = [
        e
        for e in effects
        if e["measure"] == "shortcut_sensitivity" and e["placebo"] is not None and e["tolerance"] is not None
        if e["estimate"] is not None and e["low"] is not None
        if e["group"] == "all" or parse_group(e["group"]).kind == "word"
    ]
    return [
        Estimate(
            suspect=str(plan[e["condition"]]["suspect"]),
            removes=bool(plan[e["condition"]]["declared"]["removes"]),
            adds=bool(plan[e["condition"]]["declared"]["adds"]),
            on_plant=_of_suspect(plan[e["condition"]], on_plant),
            **{
                key: e[key]
                for key in ("condition", "group", "estimate", "low", "high", "tolerance", "verdict", "n_images")
            },
        )
        for e in wanted
    ]


def _of_suspect(condition: Mapping[str, Any], on_plant: Sequence[float]) -> float | None:
    """Return how far the object that a condition tests is the plant; None where it tests none."""
    number = condition["parameters"].get("suspect") if condition["perturbation"] == "object" else None
    return None if number is None else on_plant[number - 1]


def read_outcome(case: Case, folder: Path) -> Outcome:
    """Read back what was built and audited.

    Raises
    ------
    StoreError
        If a file is missing or damaged.
    """
    built, found = _read(folder / _BUILT), _read(folder / _FOUND)
    try:
        assert built is not None
        assert found is not None
        return Outcome(case=case, truth=Truth(**built["truth"]), finding=finding_from_json(found["finding"]))
    except (AssertionError, KeyError, TypeError) as error:
        raise StoreError(
            f"The results in {folder} are incomplete or damaged. Remove the folder and repeat `audit calibrate`."
        ) from error


def _silent(_name: str, _steps: int) -> Any:
    return lambda: None


def _write(path: Path, document: Mapping[str, Any]) -> None:
    write_atomically(path, to_json({"schema_version": SCHEMA_VERSION, **document}).encode())


def _read(path: Path) -> dict[str, Any] | None:
    """Return a document; None where there is none, or what is there is no document."""
    try:
        found: dict[str, Any] = read_json(path)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
