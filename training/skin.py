"""A small network that is shown colours: trained on phantoms of skin in one step from random weights."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from audit.data.manifests import load_cohort
from audit.data.records import SPLITS
from audit.training.augmentation import Augmentation
from audit.training.classes import train_classes
from audit.training.phantom.skin import CLASSES
from audit.training.progress import OnProgress
from audit.training.recipes import Phase, Recipe, Step, load_recipe
from audit.training.splits import split_by_patient
from audit.training.steps import Setting
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
    provenance = {"network": "skin", "manifest": os.path.relpath(manifest, out)}
    train_classes(
        "skin", network, cohort, by_split, splits, setting, classes=CLASSES, task="binary", provenance=provenance
    )
    return out
