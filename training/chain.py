"""Networks A to C of the paper, trained through the chain: backbone -> 15 findings -> 3 classes."""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import sklearn
import torch
import torchvision
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, roc_auc_score
from torch import nn

from audit.errors import CohortError, ModelError, StoreError, UnknownNameError
from audit.manifests import load_cohort
from audit.models.bundle import load_bundle, save_bundle
from audit.models.preprocessing import Preprocessing
from audit.randomness import generator_for
from audit.records import Cohort, Record
from audit.results import plain, to_json
from training.augmentation import Augmentation
from training.loop import EpochRow, Loss, predict, train
from training.recipes import Recipe, Step
from training.samples import Samples, resize_all
from training.splits import split_by_patient, split_findings
from training.transfer import (
    StartingWeights,
    head_of,
    imagenet_weights,
    keep_output_neurons,
    start_network,
    torch_generator,
)

CLASSES = ("normal", "pneumonia", "covid")
# The 14 findings of ChestX-ray14 in the order of CheXNet's outputs, and the paper's fifteenth label.
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia", "No Finding",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkPlan:
    """Which steps a network goes through (Bassi & Attux 2021, table 1)."""

    findings_step: bool
    """Trained on the 15 findings between ImageNet and the classes (twice transfer learning)?"""
    kept: Mapping[str, str]
    """Finding -> class for the output neurons that are kept."""


NETWORKS: Mapping[str, NetworkPlan] = MappingProxyType(
    {
        "A": NetworkPlan(findings_step=False, kept={}),
        "B": NetworkPlan(findings_step=True, kept={}),
        "C": NetworkPlan(findings_step=True, kept={"No Finding": "normal", "Pneumonia": "pneumonia"}),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where training is."""

    step: Literal["images", "backbone", "findings", "classes", "test"]
    """The step of the chain."""
    message: str
    """What happened, in words; empty while nothing but the count changed."""
    done: int = 0
    """Images visited in this step."""
    total: int = 0
    """Images that the step visits at most (early stopping may end it before); 0 where nothing is counted."""


@dataclass(frozen=True, kw_only=True)
class _Trained:
    """What a step hands to the next."""

    network: nn.Module
    rows: Sequence[Any]
    seconds: float


class _Reporter:
    """Counts the images of one step and tells the caller."""

    def __init__(self, step: Any, total: int, on_progress: Callable[[Progress], None] | None) -> None:
        self.step, self.total, self.on_progress, self.done = step, total, on_progress, 0

    def images(self, n: int) -> None:
        self.done += n
        self.say("")

    def epoch(self, row: EpochRow) -> None:
        self.say(
            f"{row.phase}, epoch {row.epoch}: loss {row.train_loss:.3f}, validation loss {row.validation_loss:.3f}, "
            f"score {row.validation_score:.3f}{' (best)' if row.best else ''}"
        )

    def say(self, message: str) -> None:
        if self.on_progress is not None:
            self.on_progress(Progress(step=self.step, message=message, done=self.done, total=self.total))


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
    on_progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Train a network of the paper and write its bundle.

    The splits come first, and no patient of the test split takes part in any step. The finished findings
    step is kept as a bundle in `out`/step2 and used again when everything that made it is the same.

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
        Cohort of the findings step, patients named as in `manifest`; `manifest` itself if omitted.
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
    network_plan = NETWORKS[name]
    for label in recipe.classes.copies:
        if label not in CLASSES:
            raise UnknownNameError(f"class in the copies of recipe {recipe.name}", label, CLASSES)
    _check_writable(out)
    preprocessing = Preprocessing(size_px=(recipe.input_px, recipe.input_px))
    cohort = load_cohort(manifest, classes=CLASSES, ignore_labels=ignore_labels, on_bad_image=on_bad_image)
    splits = split_by_patient(
        cohort.labelled(),
        CLASSES,
        test_per_class=recipe.test_per_class,
        validation_share=recipe.classes.validation_share,
        seed=seed,
    )
    start = imagenet_weights(recipe.architecture, backbone_weights)
    _Reporter("backbone", 0, on_progress).say(f"Starts from {start.statement}.")

    steps: dict[str, Any] = {}
    provenance: dict[str, Any] = {
        "network": name,
        "kept_output_neurons": network_plan.kept,
        "starting_weights": start.statement,
        "starting_weights_sha256": start.digest,
        "recipe": recipe,
        "seed": seed,
        "manifest": os.path.relpath(manifest, out),
        "cohort_hash": cohort.content_hash,
        "ignore_labels": sorted(ignore_labels),
        "on_bad_image": on_bad_image,
        "versions": _versions(),
        "torch_threads": torch.get_num_threads(),
    }
    generator = torch_generator(_number(seed, "initial weights"))
    if network_plan.findings_step:
        other = findings_manifest if findings_manifest is not None else manifest
        same = other.resolve() == manifest.resolve()
        findings_cohort = cohort if same else load_cohort(other, on_bad_image=on_bad_image)
        provenance["findings_manifest"] = os.path.relpath(other, out)
        provenance["findings_cohort_hash"] = findings_cohort.content_hash
        second = _findings_step(
            findings_cohort,
            cohort,
            splits,
            network_plan,
            recipe,
            start,
            preprocessing,
            out / "step2",
            seed,
            on_progress,
        )
        network, steps["findings"] = second.network, {"epochs": second.rows, "seconds": second.seconds}
        network.add_module(
            "classifier", keep_output_neurons(head_of(network), FINDINGS, CLASSES, network_plan.kept, generator)
        )
    else:
        network = start_network(recipe.architecture, len(CLASSES), start, generator)

    by_split = {s: [r for r in cohort.labelled() if splits[r.id] == s] for s in ("train", "validation", "test")}
    copies = tuple(recipe.classes.copies.get(c, 1) for c in CLASSES)
    with tempfile.TemporaryDirectory(dir=out, prefix=".images-") as scratch:
        pixels = _pixels(cohort.labelled(), preprocessing, Path(scratch), on_progress)
        sets = {
            s: _samples(rs, pixels, _class_targets(rs), preprocessing, recipe.classes.augmentation, copies)
            for s, rs in by_split.items()
        }
        third = _train_step(
            "classes", network, sets["train"], sets["validation"], recipe.classes, "cross entropy", _balanced_accuracy,
            _number(seed, "classes"), on_progress,
        )  # fmt: skip
        test = _test_metrics(predict(network, sets["test"], batch=recipe.classes.batch), sets["test"].targets)
    steps["classes"] = {"epochs": third.rows, "seconds": third.seconds}
    _Reporter("test", 0, on_progress).say(f"Test accuracy {test['accuracy']:.3f} on {test['n_images']} images.")
    metrics = {
        "steps": steps,
        "test": test,
        "counts": {s: {c: sum(r.label == c for r in rs) for c in CLASSES} for s, rs in by_split.items()},
        "patients": {s: len({r.patient for r in rs}) for s, rs in by_split.items()},
        "left_out": cohort.left_out,
    }
    return save_bundle(
        out,
        network.eval(),
        name=name,
        architecture=recipe.architecture,
        classes=CLASSES,
        preprocessing=preprocessing,
        provenance=plain(provenance),
        metrics=plain(metrics),
        splits=splits,
    )


def _findings_step(
    findings_cohort: Cohort,
    cohort: Cohort,
    class_splits: Mapping[str, str],
    network_plan: NetworkPlan,
    recipe: Recipe,
    start: StartingWeights,
    preprocessing: Preprocessing,
    folder: Path,
    seed: int,
    on_progress: Callable[[Progress], None] | None,
) -> _Trained:
    """Train the 15 outputs, or take them from an earlier run with the same inputs."""
    records = [r for r in findings_cohort.records if r.findings and set(r.findings) <= set(FINDINGS)]
    patients = {s: {r.patient for r in cohort.labelled() if class_splits[r.id] == s} for s in ("validation", "test")}
    splits = split_findings(
        records,
        test_patients=patients["test"],
        validation_patients=patients["validation"],
        validation_share=recipe.findings.validation_share,
        seed=seed,
    )
    chosen = [r for r in records if r.id in splits]
    seen = Counter(f for r in chosen if splits[r.id] == "train" for f in r.findings)
    for finding in network_plan.kept:
        if not seen[finding]:
            raise CohortError(
                f"No training image of the findings step shows {finding!r}, whose output neuron network "
                f"{'/'.join(n for n, p in NETWORKS.items() if p is network_plan)} keeps. Add images with that finding."
            )
    made_by = {
        "cohort": findings_cohort.content_hash,
        "splits": splits,
        "findings": {r.id: r.findings for r in chosen},
        "architecture": recipe.architecture,
        "preprocessing": preprocessing,
        "step": recipe.findings,
        "start": start.digest,
        "seed": seed,
        "versions": _versions(),
        "torch_threads": torch.get_num_threads(),
    }
    fingerprint = hashlib.sha256(to_json(made_by).encode("utf-8", "surrogateescape")).hexdigest()
    if (folder / "model.json").is_file():
        reporter = _Reporter("findings", 0, on_progress)
        try:
            bundle = load_bundle(folder)
        except ModelError as error:
            reporter.say(f"The findings step is trained again, since its bundle cannot be used: {error}")
        else:
            if bundle.provenance.get("fingerprint") == fingerprint:
                reporter.say(f"The findings step is taken from {folder}, trained before from the same inputs.")
                network = bundle.network.requires_grad_(True)
                return _Trained(network=network, rows=bundle.metrics["epochs"], seconds=bundle.metrics["seconds"])
            reporter.say("The findings step is trained again, since its data, recipe or seed changed.")

    generator = torch_generator(_number(seed, "backbone"))
    network = start_network(recipe.architecture, len(FINDINGS), start, generator)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".images-") as scratch:
        pixels = _pixels(chosen, preprocessing, Path(scratch), on_progress)
        sets = {}
        for split in ("train", "validation"):
            members = [r for r in chosen if splits[r.id] == split]
            targets = torch.tensor([[float(f in r.findings) for f in FINDINGS] for r in members])
            sets[split] = _samples(members, pixels, targets, preprocessing, recipe.findings.augmentation, ())
        trained = _train_step(
            "findings", network, sets["train"], sets["validation"], recipe.findings, "binary cross entropy", _mean_auc,
            _number(seed, "findings"), on_progress,
        )  # fmt: skip
    counts = {s: Counter(f for r in chosen if splits[r.id] == s for f in r.findings) for s in ("train", "validation")}
    save_bundle(
        folder,
        network.eval(),
        name="findings",
        architecture=recipe.architecture,
        classes=FINDINGS,
        preprocessing=preprocessing,
        provenance={"fingerprint": fingerprint, "starting_weights": start.statement, "seed": seed},
        metrics=plain({"epochs": trained.rows, "seconds": trained.seconds, "counts": counts}),
        splits=splits,
    )
    return trained


def _train_step(
    name: Literal["findings", "classes"],
    network: nn.Module,
    training: Samples,
    validation: Samples,
    step: Step,
    loss: Loss,
    score: Callable[[torch.Tensor, torch.Tensor], float],
    seed: int,
    on_progress: Callable[[Progress], None] | None,
) -> _Trained:
    total = sum(phase.epochs for phase in step.phases) * (training.epoch_size() + len(validation))
    reporter = _Reporter(name, total, on_progress)
    began = time.monotonic()
    rows = train(
        network, training, validation, step,
        loss=loss, score=score, seed=seed, on_images=reporter.images, on_epoch=reporter.epoch,
    )  # fmt: skip
    return _Trained(network=network, rows=rows, seconds=round(time.monotonic() - began, 1))


def _pixels(
    records: Sequence[Record],
    preprocessing: Preprocessing,
    scratch: Path,
    on_progress: Callable[[Progress], None] | None,
) -> Mapping[str, NDArray[np.uint8]]:
    return resize_all(records, preprocessing, scratch, _Reporter("images", len(records), on_progress).images)


def _samples(
    records: Sequence[Record],
    pixels: Mapping[str, NDArray[np.uint8]],
    targets: torch.Tensor,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    copies: tuple[int, ...],
) -> Samples:
    return Samples(
        ids=tuple(r.id for r in records),
        images=[pixels[r.id] for r in records],
        targets=targets,
        preprocessing=preprocessing,
        augmentation=augmentation,
        copies=copies,
    )


def _class_targets(records: Sequence[Record]) -> torch.Tensor:
    return torch.tensor([CLASSES.index(str(r.label)) for r in records])


def _balanced_accuracy(logits: torch.Tensor, targets: torch.Tensor) -> float:
    return float(balanced_accuracy_score(targets.numpy(), logits.argmax(dim=1).numpy()))


def _mean_auc(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the mean area under the ROC curve over the findings that occur and do not occur."""
    both = [k for k in range(targets.shape[1]) if 0 < targets[:, k].sum() < len(targets)]
    areas = [float(roc_auc_score(targets[:, k].numpy(), logits[:, k].numpy())) for k in both]
    return float(np.mean(areas)) if areas else float("nan")


def _test_metrics(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, Any]:
    predicted = logits.argmax(dim=1).numpy()
    matrix = confusion_matrix(targets.numpy(), predicted, labels=list(range(len(CLASSES))))
    return {
        "accuracy": float(np.mean(predicted == targets.numpy())),
        "n_images": len(targets),
        "confusion": {
            "rows": "true class",
            "columns": "predicted class",
            "classes": list(CLASSES),
            "counts": matrix.tolist(),
        },
    }


def _number(seed: int, name: str) -> int:
    """Return the seed of one step; it does not depend on the network's name, so that B and C share steps."""
    return int(generator_for(seed, "chain", name).integers(2**62))


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "scikit-learn": str(sklearn.__version__),
    }


def _check_writable(folder: Path) -> None:
    """Fail before hours of training, not after."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(
            f"Cannot write into {folder}: {error.strerror or error}. Choose a folder that can be written."
        ) from error
