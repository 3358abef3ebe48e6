"""Networks A to C of the paper, trained through the chain: backbone -> 15 findings -> 3 classes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import torch

from audit.errors import StoreError, UnknownNameError
from audit.manifests import load_cohort
from audit.models.bundle import save_bundle
from audit.results import plain
from training.findings import train_findings
from training.networks import CLASSES, FINDINGS, NETWORKS
from training.progress import OnProgress, Progress, Reporter
from training.recipes import Recipe
from training.scores import balanced_accuracy, confusion
from training.splits import SPLITS, split_by_patient
from training.steps import Setting, run_step, versions, weights_sha256
from training.transfer import head_of, imagenet_weights, keep_output_neurons, start_network, torch_generator

__all__ = ["CLASSES", "FINDINGS", "NETWORKS", "Progress", "train_network"]


def train_network(
    name: str,
    manifest: Path,
    recipe: Recipe,
    out: Path,
    *,
    findings_manifest: Path | None = None,
    ignore_labels: Collection[str] = (),
    on_bad_image: Literal["fail", "skip"] = "fail",
    backbone_weights: Path | None = None,
    seed: int = 0,
    on_progress: OnProgress = None,
) -> Path:
    """Train a network of the paper and write its bundle.

    The splits come first, and no patient of the test split takes part in any step. The finished findings
    step is kept as a bundle in `out`/step2, and used again when everything that made it is the same.

    Parameters
    ----------
    name : str
        A key of `NETWORKS`.
    manifest : Path
        Cohort with the labels normal, pneumonia and covid.
    recipe : Recipe
        Architecture, input size, phases.
    out : Path
        Folder of the bundle.
    findings_manifest : Path, optional
        Cohort of the findings step; `manifest` itself if omitted. An equal patient name means the same person.
    ignore_labels : collection of str
        Labels of `manifest` outside the task.
    on_bad_image : {"fail", "skip"}
        What to do with an image that cannot be read.
    backbone_weights : Path, optional
        ImageNet weights on disk; torch's cache or a download otherwise, random weights if neither works.
    seed : int
        Of splits, initial weights, order and augmentation. Same seed, same machine and same number of torch
        threads: same weights.
    on_progress : callable, optional
        Told of every batch and every epoch.

    Returns
    -------
    Path
        The bundle's folder.

    Raises
    ------
    UnknownNameError, CohortError, ImageError, ModelError, StoreError
        The name, the data, the starting weights or the folder cannot be used.
    """
    if name not in NETWORKS:
        raise UnknownNameError("network", name, NETWORKS)
    plan = NETWORKS[name]
    for label in recipe.classes.copies:
        if label not in CLASSES:
            raise UnknownNameError(f"class in the copies of recipe {recipe.name}", label, CLASSES)
    _check_writable(out)
    cohort = load_cohort(manifest, classes=CLASSES, ignore_labels=ignore_labels, on_bad_image=on_bad_image)
    splits = split_by_patient(
        cohort.labelled(),
        CLASSES,
        test_per_class=recipe.test_per_class,
        validation_share=recipe.classes.validation_share,
        seed=seed,
    )
    by_split = {s: [r for r in cohort.labelled() if splits[r.id] == s] for s in SPLITS}
    patients = {s: {r.patient for r in rs} for s, rs in by_split.items()}

    start = imagenet_weights(recipe.architecture, backbone_weights)
    Reporter("backbone", 0, on_progress).say(f"The backbone starts from {start.statement}.")
    setting = Setting(recipe=recipe, start=start, out=out, seed=seed, on_progress=on_progress)
    generator = torch_generator(setting.seed_of("head"))

    provenance = {}
    steps = {}
    if plan.findings_step:
        other = findings_manifest or manifest
        same = other.resolve() == manifest.resolve()
        findings_cohort = cohort if same else load_cohort(other, on_bad_image=on_bad_image)
        second = train_findings(
            findings_cohort,
            out / "step2",
            setting,
            test_patients=patients["test"],
            validation_patients=patients["validation"],
            kept=plan.kept,
        )
        steps["findings"] = {"epochs": second.epochs, "seconds": second.seconds}
        provenance["findings_manifest"] = os.path.relpath(other, out)
        provenance["findings_cohort_hash"] = findings_cohort.content_hash
        provenance["findings_weights_sha256"] = weights_sha256(second.network)
        network = second.network
        network.add_module("classifier", keep_output_neurons(head_of(network), FINDINGS, CLASSES, plan.kept, generator))
    else:
        network = start_network(recipe.architecture, len(CLASSES), start, generator)

    targets = {s: torch.tensor([CLASSES.index(str(r.label)) for r in rs]) for s, rs in by_split.items()}
    third = run_step(
        "classes",
        network,
        by_split,
        targets,
        recipe.classes,
        setting,
        loss="cross entropy",
        score=balanced_accuracy,
        copies=tuple(recipe.classes.copies.get(label, 1) for label in CLASSES),
    )
    assert third.test_logits is not None
    test = confusion(third.test_logits, targets["test"], CLASSES)
    Reporter("test", 0, on_progress).say(f"Test accuracy {test['accuracy']:.3f} on {test['n_images']} images.")
    return save_bundle(
        out,
        network,
        name=name,
        architecture=recipe.architecture,
        classes=CLASSES,
        preprocessing=setting.preprocessing,
        provenance=plain(
            {
                **provenance,
                "network": name,
                "kept_output_neurons": plan.kept,
                "starting_weights": start.statement,
                "starting_weights_sha256": start.digest,
                "recipe": recipe,
                "seed": seed,
                "manifest": os.path.relpath(manifest, out),
                "cohort_hash": cohort.content_hash,
                "ignore_labels": sorted(ignore_labels),
                "on_bad_image": on_bad_image,
                "versions": versions(),
                "torch_threads": torch.get_num_threads(),
            }
        ),
        metrics=plain(
            {
                "steps": {**steps, "classes": {"epochs": third.epochs, "seconds": third.seconds}},
                "test": test,
                "counts": {s: {c: sum(r.label == c for r in rs) for c in CLASSES} for s, rs in by_split.items()},
                "patients": {s: len(names) for s, names in patients.items()},
                "left_out": cohort.left_out,
            }
        ),
        splits=splits,
    )


def _check_writable(folder: Path) -> None:
    """Fail before the training, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(
            f"Cannot write into {folder}: {error.strerror or error}. Choose a folder that can be written."
        ) from error
