"""Networks A to E of the paper, trained through the chain: backbone -> findings -> 3 classes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from audit.data.input_words import greyed_in_words
from audit.data.layouts.guess import AUTO
from audit.data.manifests import load_cohort
from audit.data.reading import GUESSED, TableOptions, TableReading
from audit.data.records import SPLITS
from audit.errors import CohortError, ModelError, StoreError, UnknownNameError
from audit.models.bundle import Bundle, load_bundle
from audit.training.classes import train_classes
from audit.training.findings import train_findings
from audit.training.leaks import check_unseen
from audit.training.networks import CLASSES, FINDINGS, NETWORKS, NetworkPlan
from audit.training.progress import OnProgress, Progress, Reporter
from audit.training.recipes import Recipe
from audit.training.splits import split_by_patient
from audit.training.steps import KeepEvery, Setting, weights_sha256
from audit.training.team import Team
from audit.training.transfer import StartingWeights, head_of, imagenet_weights, keep_output_neurons, start_network

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
    checkpoint: Path | None = None,
    seed: int = 0,
    team: Team | None = None,
    checkpoint_batches: int = 200,
    tensorboard: Path | None = None,
    keep_every: KeepEvery = None,
    on_progress: OnProgress = None,
    how: TableOptions = GUESSED,
    on_table: Callable[[TableReading], None] | None = None,
) -> Path:
    """Train a network of the paper and write its bundle.

    The splits come first, and no patient of the test split takes part in any step. A finished findings step is kept as
    a bundle beside `out`, and used again when everything that made it is the same: B and C share it. A training that
    was killed goes on from its last checkpoint when the same call is made again.

    Parameters
    ----------
    name : str
        A key of `NETWORKS`.
    manifest : Path
        Cohort with the labels normal, pneumonia and covid.
    recipe : Recipe
        Input size, phases, perhaps an architecture.
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
    checkpoint : Path, optional
        Bundle that D and E start from; `chexnet` beside `out` if omitted.
    seed : int
        Of splits, initial weights, order and augmentation. Same seed, same machine, same number of torch threads and of
        processes: same weights.
    team : Team, optional
        The processes that train; this one alone if omitted.
    checkpoint_batches : int
        Batches between checkpoints.
    tensorboard : Path, optional
        Folder for TensorBoard's files.
    keep_every : "phase", int or None
        Keep the best network of every phase of the last step, or that of every so many epochs, in `epochs/` of `out`.
    on_progress : callable, optional
        Told of every batch and every epoch.
    how : TableOptions
        How `manifest` is to be read; the columns of the findings' are recognised.
    on_table : callable, optional
        Told what was read from which column.

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
    architecture = recipe.architecture or plan.architecture
    earlier = (
        _earlier_bundle(checkpoint or out.parent / "chexnet", architecture, plan) if _starts_trained(plan) else None
    )
    cohort = load_cohort(
        manifest, classes=CLASSES, ignore_labels=ignore_labels, on_bad_image=on_bad_image, how=how, on_table=on_table
    )
    if cohort.left_out:
        counted = ", ".join(f"{n} {reason}" for reason, n in sorted(cohort.left_out.items()))
        Reporter("images", 0, on_progress).say(f"Left out of {manifest.name}: {counted}.")
    if cohort.n_greyed:
        Reporter("images", 0, on_progress).say(greyed_in_words(cohort.n_greyed))
    splits = split_by_patient(
        cohort.labelled(),
        CLASSES,
        test_per_class=recipe.test_per_class,
        validation_share=recipe.classes.validation_share,
        seed=seed,
    )
    by_split = {s: [r for r in cohort.labelled() if splits[r.id] == s] for s in SPLITS}
    tested = {r.id: cohort.pixels[r.id] for r in by_split["test"]}
    setting = Setting(
        recipe=recipe,
        architecture=architecture,
        start=imagenet_weights(architecture, backbone_weights) if earlier is None else _started(earlier, tested),
        out=out,
        seed=seed,
        on_progress=on_progress,
        team=team or Team(),
        checkpoint_batches=checkpoint_batches,
        tensorboard=tensorboard,
        keep_every=keep_every,
    )
    Reporter("backbone", 0, on_progress).say(f"Starting weights of the backbone: {setting.start.statement}.")
    provenance: dict[str, Any] = {}
    if earlier is not None:
        setting = replace(setting, mean=earlier.preprocessing.mean, std=earlier.preprocessing.std)
        network, old_classes = earlier.network.requires_grad_(True), earlier.classes
    elif plan.findings:
        patients = {s: {r.patient for r in rs} for s, rs in by_split.items()}
        other = findings_manifest or manifest
        same = other.resolve() == manifest.resolve()
        findings_cohort = cohort if same else load_cohort(other, on_bad_image=on_bad_image)
        folder, second = train_findings(
            findings_cohort,
            plan.findings,
            setting,
            name="findings" if plan.classes else name,
            folder=None if plan.classes else out,
            test_patients=patients["test"],
            validation_patients=patients["validation"],
            kept=plan.kept,
            # Within one manifest copies are told when it is loaded.
            tested={} if same else tested,
        )
        if not plan.classes:
            return folder
        network, old_classes = second.network, plan.findings
        provenance["findings_bundle"] = os.path.relpath(folder, out)
        provenance["findings_manifest"] = os.path.relpath(other, out)
        provenance["findings_cohort_hash"] = findings_cohort.content_hash
        provenance["findings_weights_sha256"] = weights_sha256(network)
    else:
        network, old_classes = start_network(architecture, len(CLASSES), setting.start, setting.generator("head")), ()
    if old_classes:
        head = keep_output_neurons(head_of(network), old_classes, CLASSES, plan.kept, setting.generator("head"))
        network.add_module("classifier", head)
    provenance |= {
        "network": name,
        "kept_output_neurons": plan.kept,
        "manifest": os.path.relpath(manifest, out),
        "ignore_labels": sorted(ignore_labels),
        "on_bad_image": on_bad_image,
        # The audit reads the same manifest in the same way.
        **({"columns": dict(sorted(how.columns.items()))} if how.columns else {}),
        **({"layout": how.layout} if how.layout != AUTO else {}),
        "left_out": dict(sorted(cohort.left_out.items())),
    }
    train_classes(
        name, network, cohort, by_split, splits, setting, classes=CLASSES, task="single-label", provenance=provenance
    )
    return out


def _starts_trained(plan: NetworkPlan) -> bool:
    return plan.start == "checkpoint"


def _earlier_bundle(folder: Path, architecture: str, plan: NetworkPlan) -> Bundle:
    """Load the bundle that D and E start from, and check that it fits."""
    if not (folder / "model.json").is_file():
        raise ModelError(
            f"This network starts from a CheXNet bundle, but {folder} contains none. Convert a checkpoint with `audit import "
            f"FILE --as {architecture} --out {folder}`, train one with `audit train chexnet`, or name one with --checkpoint."
        )
    bundle = load_bundle(folder)
    if bundle.architecture != architecture:
        raise ModelError(
            f"The checkpoint {folder} has the architecture {bundle.architecture}, but {architecture} is required. Use a checkpoint of "
            "that architecture, or a recipe with the checkpoint's architecture."
        )
    for finding in plan.kept:
        if finding not in bundle.classes:
            raise UnknownNameError(f"output of the checkpoint {folder}", finding, bundle.classes)
    return bundle


def _started(bundle: Bundle, tested: Mapping[str, str]) -> StartingWeights:
    """Say what a network starts from that was trained before, and make sure that it never saw the test images."""
    check_unseen(tested, (p for p, split in bundle.seen.items() if split == "train"), f"the checkpoint {bundle.folder}")
    # A bundle that does not know the pixels it was trained on is believed by its names.
    named = [] if bundle.seen else [name for name in tested if bundle.splits.get(name) == "train"]
    if named:
        raise CohortError(
            f"The checkpoint {bundle.folder} was trained on {len(named)} images that have the names of test images, first {named[0]!r}, so "
            "test accuracy would measure memorisation. Train it with the same manifest and seed, which separates them."
        )
    return StartingWeights(state=None, statement=f"the bundle {bundle.name}", digest=bundle.digest)


def _check_writable(folder: Path) -> None:
    """Fail before the training, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(f"Cannot write into {folder}: {error.strerror or error}. Choose a writable folder.") from error
