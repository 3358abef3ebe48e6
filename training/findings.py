"""The chain's middle step: 15 findings of ChestX-ray14, kept on disk once it is done."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import torch

from audit.errors import CohortError, ModelError
from audit.models.bundle import load_bundle, save_bundle
from audit.records import Cohort
from audit.results import plain, to_json
from training.networks import FINDINGS
from training.progress import Reporter
from training.scores import mean_auc
from training.splits import split_findings
from training.steps import Setting, TrainedStep, run_step, versions
from training.transfer import start_network, torch_generator


def train_findings(
    cohort: Cohort,
    folder: Path,
    setting: Setting,
    *,
    test_patients: Collection[str],
    validation_patients: Collection[str],
    kept: Collection[str],
) -> TrainedStep:
    """Train the 15 outputs with binary cross entropy, or take them from an earlier run with the same inputs.

    A record takes part if it has findings and all of them are in the vocabulary.

    Parameters
    ----------
    cohort : Cohort
        Records with findings.
    folder : Path
        Where the step's own bundle lies or will lie.
    setting : Setting
        Recipe, starting weights, seed.
    test_patients, validation_patients : collection of str
        Patients of the last step's splits: the first take no part, the second only validate.
    kept : collection of str
        Findings whose output neurons the network keeps; each needs a training image.

    Raises
    ------
    CohortError
        If too few records qualify, or none shows a finding of `kept`.
    """
    records = [r for r in cohort.records if r.findings and set(r.findings) <= set(FINDINGS)]
    splits = split_findings(
        records,
        test_patients=test_patients,
        validation_patients=validation_patients,
        validation_share=setting.recipe.findings.validation_share,
        seed=setting.seed,
    )
    by_split = {s: [r for r in records if splits.get(r.id) == s] for s in ("train", "validation")}
    counts = {s: Counter(f for r in rs for f in r.findings) for s, rs in by_split.items()}
    for finding in kept:
        if not counts["train"][finding]:
            raise CohortError(
                f"No training image of the findings step shows {finding!r}, but the network keeps its output neuron. "
                f"Add images with that finding to {cohort.manifest}."
            )
    fingerprint = _fingerprint(cohort, splits, setting)
    done = _finished(folder, fingerprint, setting)
    if done is not None:
        return done
    network = start_network(
        setting.recipe.architecture, len(FINDINGS), setting.start, torch_generator(setting.seed_of("backbone"))
    )
    targets = {s: torch.tensor([[float(f in r.findings) for f in FINDINGS] for r in rs]) for s, rs in by_split.items()}
    trained = run_step(
        "findings",
        network,
        by_split,
        targets,
        setting.recipe.findings,
        setting,
        loss="binary cross entropy",
        score=mean_auc,
    )
    save_bundle(
        folder,
        network,
        name="findings",
        architecture=setting.recipe.architecture,
        classes=FINDINGS,
        preprocessing=setting.preprocessing,
        provenance={"fingerprint": fingerprint, "starting_weights": setting.start.statement, "seed": setting.seed},
        metrics=plain(
            {
                "epochs": trained.epochs,
                "seconds": trained.seconds,
                "counts": counts,
                "images": {s: len(rs) for s, rs in by_split.items()},
            }
        ),
        splits=splits,
    )
    return trained


def _fingerprint(cohort: Cohort, splits: Mapping[str, str], setting: Setting) -> str:
    """Return a hash of everything that the step's weights depend on."""
    made_by = {
        "cohort": cohort.content_hash,
        "findings": {r.id: r.findings for r in cohort.records if r.id in splits},
        "order": [r.id for r in cohort.records if r.id in splits],
        "splits": splits,
        "architecture": setting.recipe.architecture,
        "preprocessing": setting.preprocessing,
        "step": setting.recipe.findings,
        "start": setting.start.digest,
        "seed": setting.seed,
        "versions": versions(),
        "threads": torch.get_num_threads(),
    }
    return hashlib.sha256(to_json(made_by).encode("utf-8", "surrogateescape")).hexdigest()


def _finished(folder: Path, fingerprint: str, setting: Setting) -> TrainedStep | None:
    """Return the step that an earlier run finished, if it was made of the same inputs."""
    if not (folder / "model.json").is_file():
        return None
    reporter = Reporter("findings", 0, setting.on_progress)
    try:
        bundle = load_bundle(folder)
    except ModelError as error:
        reporter.say(f"The findings step is trained again, since its bundle cannot be used: {error}")
        return None
    if bundle.provenance.get("fingerprint") != fingerprint:
        reporter.say("The findings step is trained again, since its data, recipe, seed or versions changed.")
        return None
    reporter.say(f"The findings step is taken from {folder}, trained before from the same inputs.")
    network = bundle.network.requires_grad_(True)
    return TrainedStep(network=network, epochs=bundle.metrics["epochs"], seconds=bundle.metrics["seconds"])
