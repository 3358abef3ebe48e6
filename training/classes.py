"""The last step of every training: the classes, the measures on the test split, and the bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from audit.data.records import Cohort, Record
from audit.data.tasks import Task
from audit.files import write_atomically
from audit.models.preprocessing import declared_steps
from audit.models.saving import save_bundle
from audit.provenance import git_commit
from audit.store.serialise import plain
from audit.training.curves import Curves, curves_csv
from audit.training.kept import keeps_networks
from audit.training.progress import Reporter
from audit.training.scores import balanced_accuracy, confusion
from audit.training.steps import Setting, run_step, versions, weights_sha256


def train_classes(
    name: str,
    network: torch.nn.Module,
    cohort: Cohort,
    by_split: Mapping[str, list[Record]],
    splits: Mapping[str, str],
    setting: Setting,
    *,
    classes: Sequence[str],
    task: Task,
    provenance: Mapping[str, Any],
) -> None:
    """Train the last step by cross entropy, and write the bundle and its curves into the setting's folder.

    Parameters
    ----------
    name : str
        Of the bundle.
    network : nn.Module
        With an output for each class; trained in place.
    cohort : Cohort
        That the records are of.
    by_split : mapping
        `train`, `validation` and `test` -> records.
    splits : mapping
        Record id -> split.
    setting : Setting
        What all steps share.
    classes : sequence of str
        In the order of the outputs.
    task : Task
        What the outputs mean.
    provenance : mapping
        What the caller knows of where the network comes from.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    """
    recipe = setting.recipe
    keep = keeps_networks(name, cohort, splits, setting, classes=classes, task=task, provenance=provenance)
    targets = {s: torch.tensor([classes.index(str(r.label)) for r in rs]) for s, rs in by_split.items()}
    started_from = weights_sha256(network)
    third = run_step(
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
            "start": started_from,
            "seed": setting.seed,
            "processes": setting.team.size,
        },
        loss="cross entropy",
        score=balanced_accuracy,
        copies=tuple(recipe.classes.copies.get(label, 1) for label in classes),
        test_figures=lambda logits: confusion(logits, targets["test"], classes),
        keep=keep,
    )
    test = third.test
    Reporter("test", 0, setting.on_progress).say(f"Test accuracy {test['accuracy']:.3f} on {test['n_images']} images.")
    if setting.team.leads:
        if isinstance(third.curves, Curves):
            write_atomically(setting.out / "curves.csv", curves_csv(third.curves))
        save_bundle(
            setting.out,
            network,
            name=name,
            architecture=setting.architecture,
            classes=classes,
            task=task,
            preprocessing=setting.preprocessing,
            provenance=plain(
                {
                    **provenance,
                    "starting_weights": setting.start.statement,
                    "starting_weights_sha256": setting.start.digest,
                    "recipe": recipe,
                    "seed": setting.seed,
                    "cohort_hash": cohort.content_hash,
                    "git_commit": git_commit(),
                    "versions": versions(),
                    "torch_threads": torch.get_num_threads(),
                    "processes": setting.team.size,
                    "hours": round(third.seconds / 3600, 3),
                }
            ),
            metrics=plain(
                {
                    "curves": third.curves,
                    "test": test,
                    "counts": {s: {c: sum(r.label == c for r in rs) for c in classes} for s, rs in by_split.items()},
                    "patients": {s: len({r.patient for r in rs}) for s, rs in by_split.items()},
                    "left_out": cohort.left_out,
                }
            ),
            splits=splits,
            pixels=cohort.pixels,
        )
    setting.team.wait()
