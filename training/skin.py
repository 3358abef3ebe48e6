"""A small network that is shown colours: trained on phantoms of skin in one step from random weights."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch

from audit.data.manifests import load_cohort
from audit.data.records import SPLITS
from audit.models.preprocessing import declared_steps
from audit.models.saving import save_bundle
from audit.provenance import git_commit
from audit.store.serialise import plain
from audit.training.augmentation import Augmentation
from audit.training.phantom.skin import CLASSES
from audit.training.progress import OnProgress, Reporter
from audit.training.recipes import Phase, Recipe, Step, load_recipe
from audit.training.scores import balanced_accuracy, confusion
from audit.training.splits import split_by_patient
from audit.training.steps import Setting, run_step, versions, weights_sha256
from audit.training.team import Team
from audit.training.transfer import StartingWeights, start_network

_START = StartingWeights(state=None, statement="random weights, as the demo of skin always starts", digest="random")


def skin_recipe(*, input_px: int = 96, test_per_class: int = 60, epochs: int = 8) -> Recipe:
    """Return how the network of the demo is trained: as that of radiographs, without a step of findings."""
    step = Step(
        batch=16,
        optimiser="adamw",
        validation_share=0.15,
        augmentation=Augmentation(flip_share=0.0),
        phases=(Phase(name="all", trains="all", epochs=epochs, rate=2e-3),),
    )
    return replace(
        load_recipe("demo"),
        name="skin",
        about="Synthetic photographs of skin on a laptop, in colour.",
        input_px=input_px,
        test_per_class=test_per_class,
        classes=step,
    )


def train_skin(
    manifest: Path, out: Path, *, recipe: Recipe | None = None, seed: int = 0, on_progress: OnProgress = None
) -> Path:
    """Train a small DenseNet on benign and malignant lesions in colour, and write its bundle.

    Parameters
    ----------
    manifest : Path
        Cohort with the labels benign and malignant.
    out : Path
        Folder of the bundle.
    recipe : Recipe, optional
        Input size and phases; `skin_recipe` if omitted.
    seed : int
        Of splits, initial weights and order.
    on_progress : callable, optional
        Told of every batch and every epoch.

    Returns
    -------
    Path
        The bundle's folder.

    Raises
    ------
    CohortError, ImageError, StoreError
        The data or the folder cannot be used.
    """
    recipe = recipe or skin_recipe()
    out.mkdir(parents=True, exist_ok=True)
    cohort = load_cohort(manifest, classes=CLASSES, colour=True)
    splits = split_by_patient(
        cohort.labelled(),
        CLASSES,
        test_per_class=recipe.test_per_class,
        validation_share=recipe.classes.validation_share,
        seed=seed,
    )
    by_split = {s: [r for r in cohort.labelled() if splits[r.id] == s] for s in SPLITS}
    targets = {s: torch.tensor([CLASSES.index(str(r.label)) for r in rs]) for s, rs in by_split.items()}
    setting = Setting(
        recipe=recipe,
        architecture="densenet-small",
        start=_START,
        out=out,
        seed=seed,
        on_progress=on_progress,
        team=Team(),
        checkpoint_batches=200,
        colour="rgb",
    )
    network = start_network(setting.architecture, len(CLASSES), setting.start, setting.generator("head"))
    trained = run_step(
        "classes",
        network,
        by_split,
        targets,
        recipe.classes,
        setting,
        made_by={
            "cohort": cohort.content_hash,
            "splits": splits,
            "step": recipe.classes,
            "preprocessing": declared_steps(setting.preprocessing),
            "start": weights_sha256(network),
            "seed": seed,
        },
        loss="cross entropy",
        score=balanced_accuracy,
        test_metrics=lambda logits: confusion(logits, targets["test"], CLASSES),
    )
    test = trained.test
    Reporter("test", 0, on_progress).say(f"Test accuracy {test['accuracy']:.3f} on {test['n_images']} images.")
    return save_bundle(
        out,
        network,
        name="skin",
        architecture=setting.architecture,
        classes=CLASSES,
        task="binary",
        preprocessing=setting.preprocessing,
        provenance=plain(
            {
                "network": "skin",
                "manifest": os.path.relpath(manifest, out),
                "starting_weights": setting.start.statement,
                "recipe": recipe,
                "seed": seed,
                "cohort_hash": cohort.content_hash,
                "git_commit": git_commit(),
                "versions": versions(),
            }
        ),
        metrics=plain({"curves": trained.curves, "test": test}),
        splits=splits,
        pixels=cohort.pixels,
    )
