"""The chain's middle step: the findings of ChestX-ray14, kept on disk once it is done, for every network that shares it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from audit.data.records import Cohort, Record
from audit.errors import CohortError, ModelError
from audit.models.bundle import load_bundle
from audit.models.preprocessing import declared_steps
from audit.models.saving import save_bundle
from audit.store.serialise import plain
from audit.training.leaks import check_unseen
from audit.training.networks import FINDINGS
from audit.training.progress import Reporter
from audit.training.scores import mean_auc
from audit.training.splits import split_findings
from audit.training.steps import Setting, TrainedStep, fingerprint, run_step
from audit.training.transfer import start_network, torch_generator


def train_findings(
    cohort: Cohort,
    outputs: Sequence[str],
    setting: Setting,
    *,
    name: str,
    folder: Path | None,
    test_patients: Collection[str],
    validation_patients: Collection[str],
    kept: Collection[str],
    tested: Mapping[str, str],
) -> tuple[Path, TrainedStep]:
    """Train the outputs with binary cross entropy, or take them from an earlier run with the same inputs.

    A record takes part if it has findings and all of them are in the vocabulary of ChestX-ray14.

    Parameters
    ----------
    cohort : Cohort
        Records with findings; a split column is obeyed.
    outputs : sequence of str
        Finding of each output: all 15, or CheXNet's 14.
    setting : Setting
        Recipe, architecture, starting weights, seed.
    name : str
        Name of the bundle.
    folder : Path or None
        Where the bundle lies or will lie; None for a folder beside the network's own whose name holds the hash of
        everything that made it, so that networks which share the step share the folder.
    test_patients, validation_patients : collection of str
        Patients of the last step's splits: the first take no part, the second only validate.
    kept : collection of str
        Findings whose output neurons the network keeps; each needs a training image.
    tested : mapping
        Id of a test image of the last step -> its pixels: none may be learnt from here under another name.

    Returns
    -------
    Path, TrainedStep
        The step's bundle and its network.

    Raises
    ------
    CohortError
        If too few records qualify, none shows a finding of `kept`, or a test image would be learnt from.
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
    check_unseen(tested, (cohort.pixels[r.id] for r in by_split["train"]), cohort.manifest.name)
    counts = {s: Counter(f for r in rs for f in r.findings) for s, rs in by_split.items()}
    for finding in kept:
        if not counts["train"][finding]:
            raise CohortError(
                f"No training image of the findings step shows {finding!r}, but the network keeps its output neuron. "
                f"Add images with that finding to {cohort.manifest}."
            )
    made_by = _made_by(cohort, outputs, splits, setting)
    digest = fingerprint(made_by)
    folder = folder or setting.out.parent / f"findings-{digest[:8]}"
    done = _finished(folder, digest, setting)
    if done is not None:
        return folder, done
    network = start_network(
        setting.architecture, len(outputs), setting.start, torch_generator(setting.seed_of("backbone"))
    )
    trained = run_step(
        "findings",
        network,
        by_split,
        {s: _targets(rs, outputs) for s, rs in by_split.items()},
        setting.recipe.findings,
        setting,
        made_by=made_by,
        loss="binary cross entropy",
        score=mean_auc,
    )
    if setting.team.leads:
        save_bundle(
            folder,
            network,
            name=name,
            architecture=setting.architecture,
            classes=tuple(outputs),
            task="multi-label",
            preprocessing=setting.preprocessing,
            provenance={"fingerprint": digest, "starting_weights": setting.start.statement, "seed": setting.seed},
            metrics=plain(
                {
                    "curves": trained.curves,
                    "seconds": trained.seconds,
                    "counts": counts,
                    "images": {s: len(rs) for s, rs in by_split.items()},
                }
            ),
            splits=splits,
            pixels=cohort.pixels,
        )
    setting.team.wait()
    return folder, trained


def _targets(records: Sequence[Record], outputs: Sequence[str]) -> torch.Tensor:
    """Return float32 (n, k) of 0 and 1; an image without a finding has a row of zeros where no output stands for that."""
    return torch.tensor([[float(f in r.findings) for f in outputs] for r in records])


def _made_by(cohort: Cohort, outputs: Sequence[str], splits: Mapping[str, str], setting: Setting) -> Mapping[str, Any]:
    """Return everything that the step's weights depend on, except versions."""
    return {
        "cohort": cohort.content_hash,
        "findings": {r.id: r.findings for r in cohort.records if r.id in splits},
        "order": [r.id for r in cohort.records if r.id in splits],
        "outputs": list(outputs),
        "splits": splits,
        "architecture": setting.architecture,
        "preprocessing": declared_steps(setting.preprocessing),
        "step": setting.recipe.findings,
        "start": setting.start.digest,
        "seed": setting.seed,
        "processes": setting.team.size,
    }


def _finished(folder: Path, digest: str, setting: Setting) -> TrainedStep | None:
    """Return the step that an earlier run finished, if it was made of the same inputs."""
    if not (folder / "model.json").is_file():
        return None
    reporter = Reporter("findings", 0, setting.on_progress)
    try:
        bundle = load_bundle(folder)
    except ModelError as error:
        reporter.say(f"The findings step is trained again because its bundle cannot be used: {error}")
        return None
    if bundle.provenance.get("fingerprint") != digest:
        reporter.say("The findings step is trained again because its data, recipe, seed or versions changed.")
        return None
    reporter.say(f"The findings step of {folder}, trained with the same inputs, is reused.")
    network = bundle.network.requires_grad_(True)
    return TrainedStep(network=network, curves=bundle.metrics["curves"], seconds=bundle.metrics["seconds"], test={})
